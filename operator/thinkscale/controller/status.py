"""The status and its conditions, out of what one tick saw and decided. Pure.

The status mirrors: numbers are rounded, the words are the decision's own. What changed decides how
soon it is written: a condition, a replica or a decision at once, a number that always moves only
every few seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from thinkscale.api import conditions, names
from thinkscale.api.conditions import ConditionReason, ConditionStatus, ConditionType
from thinkscale.api.status import (
    Condition,
    LastDecision,
    QualityDebt,
    ReasoningServiceStatus,
    SloStatus,
    TierStatus,
)
from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.controller.debt import Owed
from thinkscale.controller.known import Rollout
from thinkscale.controller.trouble import Trouble
from thinkscale.model.decision import Blocked, Decision, LimitedBy, Reason
from thinkscale.model.intent import Intent, Mode
from thinkscale.model.observation import FleetView, MergedSignals, Observation, ReplicaState
from thinkscale.model.reading import Absent, Failed, Value
from thinkscale.scaling import tier_standing
from thinkscale.scaling.tier_standing import Standing

MOVING: Final = (
    "thinking_depth",
    "backlog_seconds",
    "lead_time_seconds",
    "first_answer_p95_milliseconds",
    "effective_max_tokens",
    "tiers",
    "quality_debt",
    "slos",
)
"""Fields that move all the time, and are worth a write only when they have moved far."""

COUNTED: Final = tuple(name for name in MOVING if name not in ("slos", "tiers", "quality_debt"))

Verdict = tuple[bool | None, str, str]
"""Status (None: Unknown), reason, message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One tick, as far as the status tells of it."""

    service: ReasoningService
    intent: Intent
    observation: Observation
    fleet: FleetView
    decision: Decision
    rollout: Rollout | None
    """Of the model Deployment."""
    gateways_wanted: int
    gateways_ready: int
    troubles: tuple[Trouble, ...]
    unattainable: str
    """Why an SLO cannot be met by any number of replicas; empty: no such SLO."""
    scaled: LastDecision | None
    """The decision of this tick, if it changed the replicas."""
    owed: Owed = field(default_factory=Owed)
    """What load has cost over the last day."""
    limited_by_pool: str = ""
    """Why a GPU pool grants less than was wished, by its name; empty: none does."""

    @property
    def signals(self) -> MergedSignals | None:
        """What the gateways said, if anything."""
        reading = self.observation.signals
        return reading.value if isinstance(reading, Value) else None

    def standings(self) -> tuple[Standing, ...]:
        """The tiers that tell their quality, first the one that load lowers first."""
        told = self.signals.budget.tier_max_tokens if self.signals else {}
        return tier_standing.standings(self.intent, self.decision.directive.brownout, told)

    def count(self, state: ReplicaState) -> int:
        """Replicas in this state."""
        return sum(replica.state is state for replica in self.fleet.replicas)


def status_of(seen: Seen, before: ReasoningServiceStatus, now: datetime) -> ReasoningServiceStatus:
    """The status after this tick."""
    metadata = seen.service.metadata
    numbers = seen.decision.numbers
    signals = seen.signals
    p95 = numbers.get("first_answer_p95_seconds")
    return ReasoningServiceStatus(
        observed_generation=metadata.generation,
        url=f"http://{metadata.name}.{metadata.namespace}/v1",
        replicas=len(seen.fleet.replicas),
        ready_replicas=seen.count(ReplicaState.READY),
        desired_replicas=seen.decision.wanted,
        selector=",".join(
            f"{key}={value}"
            for key, value in names.selector(metadata.name, names.COMPONENT_MODEL).items()
        ),
        gpus=len(seen.fleet.replicas) * seen.intent.gpus_per_replica,
        effective_max_tokens=_effective_max_tokens(seen),
        tiers=tuple(
            TierStatus(name=one.name, effective_max_tokens=one.budget_tokens)
            for one in seen.standings()
        ),
        native_budgets_doubted=doubted(signals),
        gateway_replicas=seen.gateways_wanted,
        thinking_depth=None if signals is None else signals.phases.depth,
        backlog_seconds=_rounded(numbers.get("backlog_seconds")),
        lead_time_seconds=_rounded(numbers.get("lead_time_seconds")),
        first_answer_p95_milliseconds=None if p95 is None else _rounded(p95 * 1000),
        slos=tuple(
            SloStatus(name=name, attained_percent=f"{100 * share:.1f}")
            for name, share in sorted(seen.decision.attained.items())
        ),
        quality_debt=_quality_debt(seen),
        last_decision=seen.scaled or before.last_decision,
        conditions=_conditions(seen, before.conditions, now),
    )


def broken_status(
    generation: int, before: ReasoningServiceStatus, trouble: Trouble, now: datetime
) -> ReasoningServiceStatus:
    """The status of a resource that cannot even be acted upon."""
    known = before.conditions or conditions.initial(generation, now)
    for type_, status in ((ConditionType.STALLED, True), (ConditionType.READY, False)):
        known = conditions.put(
            known, type_, status, trouble.reason, trouble.message, generation=generation, now=now
        )
    return before.model_copy(update={"observed_generation": generation, "conditions": known})


def is_urgent(before: ReasoningServiceStatus, after: ReasoningServiceStatus) -> bool:
    """Whether anything but the always moving numbers differs (messages may carry numbers too)."""
    return _steady(before) != _steady(after)


def has_moved(before: ReasoningServiceStatus, after: ReasoningServiceStatus) -> bool:
    """Whether a number differs so much that somebody who looks would see another picture: by a
    fifth, and by more than 2.
    """
    if before.slos != after.slos:
        return True
    pairs = [(getattr(before, name), getattr(after, name)) for name in COUNTED]
    tiers = [{t.name: t.effective_max_tokens for t in each.tiers} for each in (before, after)]
    pairs += [(tiers[0].get(name), tiers[1].get(name)) for name in {**tiers[0], **tiers[1]}]
    pairs += [
        (getattr(before.quality_debt, name, None), getattr(after.quality_debt, name, None))
        for name in QualityDebt.model_fields
    ]
    return any(_differs(one, other) for one, other in pairs)


def _differs(one: int | None, other: int | None) -> bool:
    if one is None or other is None:
        return one is not other
    return abs(one - other) > max(2, 0.2 * max(one, other))


def _steady(status: ReasoningServiceStatus) -> tuple[object, ...]:
    rest = status.model_dump(exclude={*MOVING, "conditions"})
    return (rest, [(c.type, c.status, c.reason, c.observed_generation) for c in status.conditions])


def _rounded(value: float | None) -> int | None:
    """Two significant digits: more would change, and be written, all the time."""
    return None if value is None else int(float(f"{value:.2g}"))


def _effective_max_tokens(seen: Seen) -> int | None:
    signals = seen.signals
    told = signals.budget.effective_max_tokens if signals else None
    return seen.intent.budget.max_tokens if told is None else told


def doubted(signals: MergedSignals | None) -> int | None:
    """Replicas whose native thinking budget is not relied on; None: there are none."""
    replicas = signals.replicas.values() if signals else ()
    return sum(replica.budget_doubted for replica in replicas) or None


def _quality_debt(seen: Seen) -> QualityDebt | None:
    """None where load may cut nobody and has cut nobody."""
    owed, budget = seen.owed, seen.intent.budget
    never = budget.floor_tokens == budget.max_tokens or seen.intent.truncation_allowance == 0
    if not owed.cut and never:
        return None
    return QualityDebt(
        requests_cut=owed.cut,
        tokens_withheld=_rounded(owed.withheld_tokens) or 0,
        points_withheld=_rounded(owed.points) if seen.intent.tiers or owed.points else None,
    )


def _conditions(seen: Seen, before: Sequence[Condition], now: datetime) -> tuple[Condition, ...]:
    generation = seen.service.metadata.generation
    known = tuple(before) or conditions.initial(generation, now)
    verdicts: dict[ConditionType, Verdict] = {
        ConditionType.READY: _ready(seen),
        ConditionType.RECONCILING: _reconciling(seen),
        ConditionType.STALLED: _stalled(seen),
        ConditionType.SCALING_ACTIVE: _scaling_active(seen),
        ConditionType.SCALING_LIMITED: _scaling_limited(seen),
        ConditionType.SLOS_MET: _slos_met(seen),
        ConditionType.BUDGET_REDUCED: _budget_reduced(seen),
        ConditionType.SIGNALS_AVAILABLE: _signals_available(seen),
    }
    for type_, (status, reason, message) in verdicts.items():
        state: ConditionStatus | bool = "Unknown" if status is None else status
        known = conditions.put(known, type_, state, reason, message, generation=generation, now=now)
    return known


def _ready(seen: Seen) -> Verdict:
    ready = seen.count(ReplicaState.READY)
    if seen.gateways_ready == 0:
        return False, ConditionReason.GATEWAY_NOT_READY, "No gateway is ready yet."
    if ready:
        return True, ConditionReason.SERVING, f"{ready} of {seen.fleet.desired} replicas are ready."
    if seen.fleet.desired == 0:
        return True, ConditionReason.ASLEEP, "No replica runs; the first request wakes one."
    return False, ConditionReason.NO_READY_REPLICA, "The gateway holds requests until one is ready."


def _reconciling(seen: Seen) -> Verdict:
    fleet, rollout = seen.fleet, seen.rollout
    if rollout is None:
        return True, ConditionReason.CREATING, "The model servers are being created."
    if rollout.current and rollout.updated < rollout.existing:
        message = (
            f"{rollout.updated} of {rollout.existing} pods run the new revision; "
            f"the fleet does not shrink before all do."
        )
        return True, ConditionReason.ROLLING, message
    ready = seen.count(ReplicaState.READY)
    if len(fleet.replicas) != fleet.desired or ready != fleet.desired:
        message = f"{ready} ready of {fleet.desired} desired replicas."
        return True, ConditionReason.SCALING, message
    return False, ConditionReason.RECONCILED, "The cluster is as the spec says."


def _stalled(seen: Seen) -> Verdict:
    if seen.troubles:
        first, *others = seen.troubles
        words = "; ".join([first.message, *(other.in_full for other in others)])
        return True, first.reason, words
    return False, ConditionReason.PROGRESSING, "Nothing stands in the way."


def _scaling_active(seen: Seen) -> Verdict:
    decision = seen.decision
    if seen.intent.mode is not Mode.AUTO:
        return False, seen.intent.mode.value, decision.message
    if isinstance(decision.replicas, Blocked) or seen.signals is None:
        return False, _signals_available(seen)[1], decision.message
    return True, decision.reason.value, decision.message


def _scaling_limited(seen: Seen) -> Verdict:
    if seen.limited_by_pool:
        return True, LimitedBy.GPU_POOL.value, seen.limited_by_pool
    limit = seen.decision.limited_by
    if limit is LimitedBy.NONE:
        return False, ConditionReason.WITHIN_LIMITS, "No limit is in the way."
    return True, limit.value, seen.decision.message


def _slos_met(seen: Seen) -> Verdict:
    objectives, attained = seen.intent.objectives, seen.decision.attained
    if not objectives:
        return None, ConditionReason.NO_OBJECTIVES, "spec.slos is empty."
    if seen.unattainable:
        return False, ConditionReason.UNATTAINABLE, seen.unattainable
    if not attained:
        return None, ConditionReason.NO_REQUESTS, "No request within the window."
    words = [
        f"{o.name}: {100 * attained[o.name]:.1f} % of {100 * o.objective:g} %"
        for o in objectives
        if o.name in attained
    ]
    missed = any(attained.get(o.name, 1.0) < o.objective for o in objectives)
    reason = ConditionReason.MISSED if missed else ConditionReason.ATTAINED
    return not missed, reason, "; ".join(words)


def _budget_reduced(seen: Seen) -> Verdict:
    declared, effective = seen.intent.budget.max_tokens, _effective_max_tokens(seen)
    if declared is None or effective is None:
        return False, ConditionReason.NO_BUDGET, "No thinking budget is declared."
    tiers, owed = seen.standings(), _owed_in_words(seen)
    if effective < declared:
        message = f"{effective} of {declared} thinking tokens while load is high."
        if tiers:
            message += f" By tier: {tier_standing.budgets_in_words(tiers)}."
        if why := tier_standing.why_first(tiers, seen.intent.gpus_per_replica):
            message += f" {why}"
        return True, ConditionReason.BROWN_OUT, message + owed
    return False, ConditionReason.DECLARED, f"{declared} thinking tokens.{owed}"


def _owed_in_words(seen: Seen) -> str:
    """Cut 40 thoughts with 120 points: each of these has lost 3 points on average."""
    owed = seen.owed
    if not owed.cut:
        return ""
    words = f" In the last day {owed.cut} requests were cut, by {owed.withheld_tokens} tokens"
    if owed.points:
        words += f"; they lost about {owed.points:.3g} percent points of expected score together"
    return words + "."


def _signals_available(seen: Seen) -> Verdict:
    observation = seen.observation
    heard = f"{observation.gateways_heard} of {observation.gateways_expected} gateways heard"
    match observation.signals:
        case Value(complete=True):
            return True, ConditionReason.FRESH, f"{heard}."
        case Value():
            return False, Reason.SIGNALS_PARTIAL.value, f"{heard}: a lower bound."
        case Failed(error=error):
            return False, Reason.SIGNALS_STALE.value, f"{heard}: {error}"
        case Absent(reason=why):
            return False, Reason.SIGNALS_ABSENT.value, why
