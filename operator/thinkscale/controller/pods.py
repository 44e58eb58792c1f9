"""What a pod says, cut down to what the operator needs, and the replica that the law sees in it.

A pod that is not ready is warming until something is plainly wrong with it: an image that cannot be
pulled, a crash loop, no node for it, or no readiness for longer than the declared start-up. Then it
is stuck: perhaps paid for, but not supply.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from thinkscale.api import names
from thinkscale.api.conditions import ConditionReason
from thinkscale.model.observation import ReplicaState, ReplicaView

IMAGE_REASONS: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
)
CRASH_REASONS: Final = frozenset(
    {"CrashLoopBackOff", "RunContainerError", "CreateContainerConfigError", "CreateContainerError"}
)
UNSCHEDULABLE_GRACE_SECONDS: Final = 5.0
"""A pod that waits for the node of one that is just going is not in trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One model or gateway pod."""

    name: str
    uid: str
    component: str
    ip: str
    created: datetime
    deleting: bool
    ended: bool
    """Phase Succeeded or Failed: it will never serve again."""
    ready: bool
    since: datetime
    """When it became ready, or stopped being it (created, if neither ever happened)."""
    first_ready: datetime | None
    """When it became ready for the first time, as far as that is known: Kubernetes tells only of
    the last time.
    """
    running_since: datetime
    """When the last of its containers started (created, if none runs)."""
    restarts: int
    trouble_reason: str
    trouble: str
    unschedulable_since: datetime | None
    deletion_cost: str


def pod_of(manifest: Mapping[str, Any], before: Pod | None = None) -> Pod:
    """A pod as the API server tells it; `before`: what was known of the pod of this name."""
    metadata, status = manifest["metadata"], manifest.get("status", {})
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    created = instant(metadata["creationTimestamp"])
    ready = conditions.get("Ready", {})
    containers = status.get("containerStatuses") or ()
    waiting = _first_trouble(c.get("state", {}).get("waiting") for c in containers)
    scheduled = conditions.get("PodScheduled", {})
    unschedulable = scheduled.get("reason") == "Unschedulable"
    since = _instant_or(ready.get("lastTransitionTime"), created)
    first_ready = since if ready.get("status") == "True" else None
    if before is not None and before.uid == metadata["uid"]:
        first_ready = before.first_ready or first_ready
    reason, message = waiting
    if unschedulable:
        reason, message = ConditionReason.UNSCHEDULABLE, str(scheduled.get("message", ""))
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        component=metadata.get("labels", {}).get(names.COMPONENT_LABEL, ""),
        ip=status.get("podIP", ""),
        created=created,
        deleting="deletionTimestamp" in metadata,
        ended=status.get("phase") in ("Succeeded", "Failed"),
        ready=ready.get("status") == "True",
        since=since,
        first_ready=first_ready,
        running_since=max(_started(containers), default=created),
        restarts=sum(int(c.get("restartCount", 0)) for c in containers),
        trouble_reason=str(reason),
        trouble=message,
        unschedulable_since=_instant_or(scheduled.get("lastTransitionTime"), created)
        if unschedulable
        else None,
        deletion_cost=metadata.get("annotations", {}).get(names.POD_DELETION_COST, ""),
    )


def instant(text: str) -> datetime:
    """A Kubernetes time stamp."""
    return datetime.fromisoformat(text)


def _instant_or(text: str | None, otherwise: datetime) -> datetime:
    return instant(text) if text else otherwise


def _started(containers: Iterable[Mapping[str, Any]]) -> list[datetime]:
    running = (c.get("state", {}).get("running") or {} for c in containers)
    return [instant(state["startedAt"]) for state in running if state.get("startedAt")]


def _first_trouble(waiting: Iterable[Mapping[str, Any] | None]) -> tuple[str, str]:
    """(our reason, Kubernetes' words) of the first container that waits for something that does not
    come by itself.
    """
    for state in waiting:
        reason = (state or {}).get("reason", "")
        words = f"{reason}: {(state or {}).get('message', '')}".removesuffix(": ")
        if reason in IMAGE_REASONS:
            return ConditionReason.IMAGE_PULL_FAILED, words
        if reason in CRASH_REASONS:
            return ConditionReason.CRASH_LOOPING, words
    return "", ""


def in_trouble(pod: Pod, now: datetime) -> bool:
    """Whether something stands between this pod and readiness that will not go away by itself."""
    if pod.ready or pod.deleting or not pod.trouble_reason:
        return False
    if pod.unschedulable_since is None:
        return True
    return (now - pod.unschedulable_since).total_seconds() >= UNSCHEDULABLE_GRACE_SECONDS


def replica_of(pod: Pod, now: datetime, startup_seconds: float) -> ReplicaView:
    """The replica that a model pod is."""
    state, reason, words = _state(pod, now, startup_seconds)
    return ReplicaView(
        name=pod.name,
        state=state,
        age_seconds=max(0.0, (now - pod.created).total_seconds()),
        state_seconds=None if pod.deleting else max(0.0, (now - pod.since).total_seconds()),
        warmed_in_seconds=_warmed_in(pod, startup_seconds),
        trouble=words,
        trouble_reason=reason,
    )


def _warmed_in(pod: Pod, startup_seconds: float) -> float | None:
    """Created to first ready; None: not ready yet, or restarted, or that moment is not known.

    A start that took longer than `startup_seconds` would have been restarted. So a later readiness
    is not the first one: the pod stopped being ready before this process saw it.
    """
    if pod.first_ready is None or pod.restarts:
        return None
    if (pod.first_ready - pod.running_since).total_seconds() > startup_seconds:
        return None
    return (pod.first_ready - pod.created).total_seconds()


def _state(pod: Pod, now: datetime, startup_seconds: float) -> tuple[ReplicaState, str, str]:
    if pod.deleting:
        return ReplicaState.DRAINING, "", ""
    if pod.ready:
        return ReplicaState.READY, "", ""
    if in_trouble(pod, now):
        return ReplicaState.STUCK, pod.trouble_reason, pod.trouble
    waited = (now - pod.since).total_seconds()
    if waited > startup_seconds:
        words = f"not ready for {waited:.0f} s; spec.engine.startupSeconds is {startup_seconds:.0f}"
        return ReplicaState.STUCK, str(ConditionReason.STARTUP_TOO_LONG), words
    return ReplicaState.WARMING, "", ""
