"""The conditions of a `ReasoningService`, and the one way to change them.

`lastTransitionTime` moves only when `status` flips: a new reason or message alone says nothing
about since when something has been true. A condition that nobody knows yet is `Unknown`, never
left out, so that waiting for it works from the first second.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from thinkscale.api.status import Condition

ConditionStatus = Literal["True", "False", "Unknown"]

MESSAGE_LIMIT: Final = 1024


class ConditionType(StrEnum):
    """What is said of every service, always."""

    READY = "Ready"
    """Clients are served: a gateway and a replica are ready, or the service sleeps on purpose."""
    RECONCILING = "Reconciling"
    """The cluster does not yet look as the spec says: objects are being made, pods roll."""
    STALLED = "Stalled"
    """It will not get there without somebody's help."""
    SCALING_ACTIVE = "ScalingActive"
    """The operator sets the replicas, and can."""
    SCALING_LIMITED = "ScalingLimited"
    """A limit keeps the replicas from what is wished."""
    SLOS_MET = "SLOsMet"
    """Every objective holds over its window."""
    BUDGET_REDUCED = "BudgetReduced"
    """Load has pushed the thinking budget below its declared maximum."""
    SIGNALS_AVAILABLE = "SignalsAvailable"
    """What the gateways say is known and fresh."""


class ConditionReason(StrEnum):
    """Reasons that are not a decision's (those are `model.decision.Reason`)."""

    PENDING = "Pending"
    """Not looked at yet."""
    SERVING = "Serving"
    ASLEEP = "Asleep"
    """No replica, on purpose; the first request wakes one."""
    NO_READY_REPLICA = "NoReadyReplica"
    GATEWAY_NOT_READY = "GatewayNotReady"
    RECONCILED = "Reconciled"
    CREATING = "Creating"
    ROLLING = "Rolling"
    SCALING = "Scaling"
    PROGRESSING = "Progressing"
    """Nothing stands in the way."""
    SPEC_INVALID = "SpecInvalid"
    NAME_CONFLICT = "NameConflict"
    """An object of that name exists and is not ours."""
    OBJECT_REFUSED = "ObjectRefused"
    """The API server refused an object that the spec asks for (quota, admission)."""
    LEAVING = "Leaving"
    """An object of that name is being removed, and something holds it (a finalizer)."""
    IMAGE_PULL_FAILED = "ImagePullFailed"
    UNSCHEDULABLE = "Unschedulable"
    CRASH_LOOPING = "CrashLooping"
    STARTUP_TOO_LONG = "StartupTooLong"
    WITHIN_LIMITS = "WithinLimits"
    LIMIT_REACHED = "LimitReached"
    """Of a GPUPool: somebody gets less than it wishes."""
    MINIMUMS_EXCEED_LIMIT = "MinimumsExceedLimit"
    """Of a GPUPool: not even the members' minimums fit."""
    LIMIT_EXCEEDED = "LimitExceeded"
    """Of a GPUPool: more is held than the limit allows, until replicas have drained."""
    ATTAINED = "Attained"
    MISSED = "Missed"
    UNATTAINABLE = "Unattainable"
    """No number of replicas can meet this objective."""
    NO_OBJECTIVES = "NoObjectives"
    NO_REQUESTS = "NoRequests"
    DECLARED = "Declared"
    """The declared budget is in force."""
    BROWN_OUT = "BrownOut"
    NO_BUDGET = "NoBudget"
    FRESH = "Fresh"


def initial(generation: int, now: datetime) -> tuple[Condition, ...]:
    """Every condition as `Unknown`: what is true of a resource that was only just seen."""
    return tuple(
        Condition(
            type=type_,
            status="Unknown",
            reason=ConditionReason.PENDING,
            message="Not looked at yet.",
            observed_generation=generation,
            last_transition_time=now,
        )
        for type_ in ConditionType
    )


def get(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """The condition of this type, if it was ever set."""
    return next((c for c in conditions if c.type == type_), None)


def put(
    conditions: Sequence[Condition],
    type_: str,
    status: ConditionStatus | bool,
    reason: str,
    message: str,
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """The conditions with this one set, in the order of `ConditionType`; the others untouched.

    The time of the last transition is kept unless `status` flips. Messages are cut at 1,024
    characters, as the CRD does not take more.
    """
    state: ConditionStatus
    state = ("True" if status else "False") if isinstance(status, bool) else status
    before = get(conditions, type_)
    flipped = before is None or before.status != state
    new = Condition(
        type=type_,
        status=state,
        reason=str(reason),
        message=_fitting(message),
        observed_generation=generation,
        last_transition_time=now if flipped or before is None else before.last_transition_time,
    )
    rest = [c for c in conditions if c.type != type_]
    return tuple(sorted([*rest, new], key=lambda c: _rank(c.type)))


def _fitting(message: str) -> str:
    return message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"


def _rank(type_: str) -> tuple[int, str]:
    known = [str(t) for t in ConditionType]
    return (known.index(type_) if type_ in known else len(known), type_)
