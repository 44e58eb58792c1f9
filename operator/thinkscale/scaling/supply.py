"""What the fleet is, in the law's words: ready, coming, stuck.

Coming is supply that was ordered and is not there yet: it is not ordered twice. Stuck is not
supply, whatever it costs: a replica that cannot start, or that has been warming for longer than any
before it should, may be replaced. One that no node has room for is not replaced, though: its copy
would wait in the same queue. One that was ready and misses its probes is coming again, by a clock
that starts when it stopped being ready.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from thinkscale.model.observation import FleetView, ReplicaState, ReplicaView

UNSCHEDULABLE: Final = "Unschedulable"
BLIP_SECONDS: Final = 15.0
"""A replica that stopped being ready so recently may well be ready when Kubernetes next looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """The replicas by what they are good for."""

    size: int
    """What the workload was told to be."""
    ready: tuple[ReplicaView, ...]
    coming: int
    """Warming, or ordered and not created yet."""
    warming: tuple[ReplicaView, ...]
    """Those of the coming that exist."""
    stuck: tuple[ReplicaView, ...]
    draining: int
    rolling: bool

    def serving(self, cordon: Mapping[str, float]) -> int:
        """Ready replicas that take new requests."""
        return sum(replica.name not in cordon for replica in self.ready)

    def coming_in(self, lead_seconds: float) -> tuple[float, ...]:
        """For each of the coming: seconds until it is ready, if it takes as long as most."""
        created = [max(0.0, lead_seconds - in_state_seconds(r)) for r in self.warming]
        return (*created, *(lead_seconds,) * (self.coming - len(created)))

    @property
    def existing(self) -> int:
        """Replicas that are there and stay, ready or not."""
        return len(self.ready) + len(self.warming) + len(self.stuck)

    @property
    def replaceable(self) -> int:
        """Stuck replicas that a new one could make good."""
        return sum(replica.trouble_reason != UNSCHEDULABLE for replica in self.stuck)


def count(fleet: FleetView, stuck_after_seconds: float) -> Supply:
    """Sort the replicas. One that warms for longer than `stuck_after_seconds` is stuck.

    With 120 s: created 600 s ago, not ready for 5 s: warming. Not ready for 121 s: stuck.
    """
    ready: list[ReplicaView] = []
    stuck: list[ReplicaView] = []
    warming: list[ReplicaView] = []
    draining = 0
    for replica in fleet.replicas:
        match replica.state:
            case ReplicaState.READY:
                ready.append(replica)
            case ReplicaState.STUCK:
                stuck.append(replica)
            case ReplicaState.DRAINING:
                draining += 1
            case ReplicaState.WARMING if in_state_seconds(replica) > stuck_after_seconds:
                stuck.append(replica)
            case ReplicaState.WARMING:
                warming.append(replica)
    uncreated = max(0, fleet.desired - len(ready) - len(stuck) - len(warming))
    return Supply(
        size=fleet.desired,
        ready=tuple(ready),
        coming=len(warming) + uncreated,
        warming=tuple(warming),
        stuck=tuple(stuck),
        draining=draining,
        rolling=fleet.rolling,
    )


def in_state_seconds(replica: ReplicaView) -> float:
    """Since the replica is what it is; not known: since it was created."""
    return replica.age_seconds if replica.state_seconds is None else replica.state_seconds


def just_changed(replica: ReplicaView) -> bool:
    """It was something else a moment ago, and is not new: ready, most likely."""
    since = in_state_seconds(replica)
    return since <= BLIP_SECONDS and since < replica.age_seconds - BLIP_SECONDS
