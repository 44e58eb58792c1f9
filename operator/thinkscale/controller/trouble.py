"""What stands in the way of a service and will not go away by itself, in order of what to mend
first.

Each trouble has a subject that stays while its words change, so that it is told once, also by a
process that has just started: the conditions in the status say what was told already.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from thinkscale.api.conditions import ConditionReason
from thinkscale.api.status import Condition
from thinkscale.controller.known import Rollout
from thinkscale.controller.pods import Pod, in_trouble
from thinkscale.model.observation import ReplicaState, ReplicaView

MODEL_PODS: Final = "model pod"
GATEWAY_PODS: Final = "gateway pod"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Reason and message of the Stalled condition and of the Warning event."""

    reason: str
    message: str
    subject: str = ""
    """What is in trouble, as the message names it; empty: the resource itself."""

    @property
    def key(self) -> tuple[str, str]:
        """The same trouble has the same key, whatever its words."""
        return str(self.reason), self.subject

    @property
    def in_full(self) -> str:
        """Reason and message, for a place whose reason is another's."""
        return f"{self.reason}: {self.message}"

    def told_by(self, conditions: Iterable[Condition]) -> bool:
        """Whether these conditions tell of it already."""
        return any(
            f"{self.reason}: {self.subject}" in condition.message
            or (condition.reason == self.reason and self.subject in condition.message)
            for condition in conditions
        )


def all_of(
    met: Sequence[Trouble],
    rollouts: Iterable[Rollout | None],
    replicas: Sequence[ReplicaView],
    overdue: Sequence[str],
    gateways: Iterable[Pod],
    now: datetime,
) -> list[Trouble]:
    """All troubles: first what writing ran into, then refused pods, then pods that do not come up.

    `overdue`: replicas that warm for longer than the law waits for them.
    """
    refused = [
        Trouble(reason=ConditionReason.OBJECT_REFUSED, message=rollout.failure)
        for rollout in rollouts
        if rollout is not None and rollout.failure
    ]
    return [*met, *refused, *_of_replicas(replicas, overdue), *_of_gateways(gateways, now)]


def _of_replicas(replicas: Sequence[ReplicaView], overdue: Sequence[str]) -> list[Trouble]:
    stuck: dict[str, list[tuple[str, str]]] = {}
    for replica in replicas:
        if replica.state is ReplicaState.STUCK:
            stuck.setdefault(replica.trouble_reason, []).append((replica.name, replica.trouble))
        elif replica.state is ReplicaState.WARMING and replica.name in overdue:
            waited = replica.age_seconds if replica.state_seconds is None else replica.state_seconds
            words = f"not ready for {waited:.0f} s, much longer than the replicas before it took"
            stuck.setdefault(ConditionReason.STARTUP_TOO_LONG, []).append((replica.name, words))
    return [_of_pods(MODEL_PODS, reason, pods) for reason, pods in stuck.items()]


def _of_gateways(gateways: Iterable[Pod], now: datetime) -> list[Trouble]:
    stuck: dict[str, list[tuple[str, str]]] = {}
    for pod in gateways:
        if in_trouble(pod, now):
            stuck.setdefault(pod.trouble_reason, []).append((pod.name, pod.trouble))
    return [_of_pods(GATEWAY_PODS, reason, pods) for reason, pods in stuck.items()]


def _of_pods(subject: str, reason: str, pods: Sequence[tuple[str, str]]) -> Trouble:
    name, words = pods[0]
    others = f" (and {len(pods) - 1} more)" if len(pods) > 1 else ""
    return Trouble(reason=reason, message=f"{subject} {name}{others}: {words}", subject=subject)
