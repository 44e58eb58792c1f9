"""What stands in the way of a service and will not go away by itself, in order of what to mend
first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from thinkscale.api.conditions import ConditionReason
from thinkscale.controller.known import Rollout
from thinkscale.controller.pods import Pod, in_trouble
from thinkscale.model.observation import ReplicaState, ReplicaView


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Reason and message of the Stalled condition and of the Warning event."""

    reason: str
    message: str


def worst(
    met: Sequence[Trouble],
    rollouts: Iterable[Rollout | None],
    replicas: Iterable[ReplicaView],
    gateways: Iterable[Pod],
    now: datetime,
) -> Trouble | None:
    """The trouble to show: first what writing ran into, then refused pods, then pods that do not
    come up.
    """
    if met:
        return met[0]
    for rollout in rollouts:
        if rollout is not None and rollout.failure:
            return Trouble(reason=ConditionReason.OBJECT_REFUSED, message=rollout.failure)
    stuck = [r for r in replicas if r.state is ReplicaState.STUCK]
    if stuck:
        return _of_replicas(stuck)
    for pod in gateways:
        if in_trouble(pod, now):
            return Trouble(
                reason=pod.trouble_reason, message=f"gateway pod {pod.name}: {pod.trouble}"
            )
    return None


def _of_replicas(stuck: Sequence[ReplicaView]) -> Trouble:
    first = stuck[0]
    others = f" (and {len(stuck) - 1} more)" if len(stuck) > 1 else ""
    return Trouble(
        reason=first.trouble_reason,
        message=f"model pod {first.name}{others}: {first.trouble}",
    )
