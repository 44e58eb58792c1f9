"""What the fleet is, in the law's words: ready, coming, stuck.

Coming is supply that was ordered and is not there yet: it is not ordered twice. Stuck is not
supply, whatever it costs: a replica that cannot start, or that has been warming for longer than any
before it should, may be replaced. One that no node has room for is not replaced, though: its copy
would wait in the same queue.
"""

from dataclasses import dataclass
from typing import Final

from thinkscale.model.observation import FleetView, ReplicaState, ReplicaView

UNSCHEDULABLE: Final = "Unschedulable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """The replicas by what they are good for."""

    size: int
    """What the workload was told to be."""
    ready: tuple[ReplicaView, ...]
    coming: int
    """Warming, or ordered and not created yet."""
    stuck: tuple[ReplicaView, ...]
    draining: int
    rolling: bool

    @property
    def replaceable(self) -> int:
        """Stuck replicas that a new one could make good."""
        return sum(replica.trouble_reason != UNSCHEDULABLE for replica in self.stuck)


def count(fleet: FleetView, stuck_after_seconds: float) -> Supply:
    """Sort the replicas. One that warms for longer than `stuck_after_seconds` is stuck."""
    ready: list[ReplicaView] = []
    stuck: list[ReplicaView] = []
    warming = draining = 0
    for replica in fleet.replicas:
        match replica.state:
            case ReplicaState.READY:
                ready.append(replica)
            case ReplicaState.STUCK:
                stuck.append(replica)
            case ReplicaState.DRAINING:
                draining += 1
            case ReplicaState.WARMING if replica.age_seconds > stuck_after_seconds:
                stuck.append(replica)
            case ReplicaState.WARMING:
                warming += 1
    uncreated = max(0, fleet.desired - len(ready) - len(stuck) - warming)
    return Supply(
        size=fleet.desired,
        ready=tuple(ready),
        coming=warming + uncreated,
        stuck=tuple(stuck),
        draining=draining,
        rolling=fleet.rolling,
    )
