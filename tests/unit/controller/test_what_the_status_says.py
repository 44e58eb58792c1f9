"""The status out of one tick: conditions, words, and what is worth a write."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from thinkscale.api.conditions import ConditionType, get
from thinkscale.api.status import LastDecision, ReasoningServiceStatus
from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.controller.debt import Owed
from thinkscale.controller.known import Rollout
from thinkscale.controller.status import Seen, has_moved, is_urgent, status_of
from thinkscale.controller.trouble import Trouble
from thinkscale.model.ages import BINS
from thinkscale.model.brownout import BrownoutRule, Carried
from thinkscale.model.decision import Decision, Hold, LimitedBy, Reason
from thinkscale.model.directive import Directive
from thinkscale.model.intent import QualityPoint, Tier
from thinkscale.model.observation import (
    FleetView,
    MergedSignals,
    Observation,
    ReplicaState,
    ReplicaView,
)
from thinkscale.model.reading import Absent, Failed, Reading, Value
from thinkscale.model.signals import (
    BudgetSignals,
    Counters,
    Histogram,
    LifeTableCounts,
    PhaseCounts,
)
from thinkscale.resources.intent import intent_of

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
SLO = {
    "name": "first",
    "indicator": "TimeToFirstAnswer",
    "thresholdMilliseconds": 9000,
    "objectivePercent": "99",
}
SERVICE = ReasoningService.model_validate(
    {
        "metadata": {"name": "r1", "namespace": "ns", "uid": "u", "generation": 4},
        "spec": {
            "model": {"uri": "hf://a/b"},
            "engine": {"image": "e", "contextTokens": 4096, "gpus": {"count": 2}},
            "thinking": {"budget": {"maxTokens": 1000, "floorTokens": 200}},
            "slos": [SLO],
            "scaling": {"maxReplicas": 9},
        },
    }
)


def signals(depth: int = 5, effective: int | None = None) -> Value[MergedSignals]:
    merged = MergedSignals(
        phases=PhaseCounts(thinking=depth),
        held=0,
        oldest_held_seconds=0,
        thinking_ages=(0,) * BINS,
        life_table=LifeTableCounts(),
        slos={},
        counters=Counters(),
        ttfa_seconds=Histogram(),
        ttft_seconds=Histogram(),
        fastest_token_seconds=None,
        replicas={},
        budget=BudgetSignals(effective_max_tokens=effective),
    )
    return Value(value=merged, age_seconds=1, source="gateways")


def fleet(*states: ReplicaState, desired: int | None = None) -> FleetView:
    replicas = tuple(
        ReplicaView(name=f"p{i}", state=state, age_seconds=9) for i, state in enumerate(states)
    )
    return FleetView(
        replicas=replicas, desired=len(states) if desired is None else desired, rolling=False
    )


def decision(**fields: Any) -> Decision:
    base: dict[str, Any] = {
        "id": "d1",
        "replicas": Hold(at=2),
        "wanted": 2,
        "cordon": frozenset(),
        "retire": (),
        "directive": Directive(id="d1"),
        "next_tick_seconds": 15,
        "reason": Reason.STEADY,
        "message": "all is well",
        "limited_by": LimitedBy.NONE,
        "numbers": {"backlog_seconds": 6.234, "first_answer_p95_seconds": 3.4567},
        "attained": {"first": 0.995},
    }
    return Decision(**(base | fields))


def seen(reading: Reading[MergedSignals] | None = None, **fields: Any) -> Seen:
    view = fields.get("fleet", fleet(ReplicaState.READY, ReplicaState.READY))
    base: dict[str, Any] = {
        "service": SERVICE,
        "intent": intent_of(SERVICE),
        "observation": Observation(
            fleet=Value(value=view, age_seconds=0, source="kubernetes"),
            signals=reading or signals(),
            epoch="e",
            gateways_expected=1,
            gateways_heard=1,
        ),
        "fleet": view,
        "decision": decision(),
        "rollout": Rollout(replicas=2, existing=2, updated=2, current=True, failure=""),
        "gateways_wanted": 1,
        "gateways_ready": 1,
        "troubles": (),
        "unattainable": "",
        "scaled": None,
    }
    return Seen(**(base | fields))


def told(made: Seen, type_: ConditionType) -> tuple[str, str]:
    condition = get(status_of(made, ReasoningServiceStatus(), NOW).conditions, type_)
    assert condition is not None
    return condition.status, condition.reason


def test_numbers_are_rounded_and_in_the_units_of_their_names() -> None:
    status = status_of(seen(), ReasoningServiceStatus(), NOW)
    assert (status.replicas, status.ready_replicas, status.desired_replicas) == (2, 2, 2)
    assert (status.gpus, status.thinking_depth, status.backlog_seconds) == (4, 5, 6)
    assert status.first_answer_p95_milliseconds == 3500
    assert status.effective_max_tokens == 1000
    assert [(s.name, s.attained_percent) for s in status.slos] == [("first", "99.5")]
    assert (status.url, status.observed_generation) == ("http://r1.ns/v1", 4)


def test_every_condition_is_always_there() -> None:
    status = status_of(seen(), ReasoningServiceStatus(), NOW)
    assert {c.type for c in status.conditions} == {str(t) for t in ConditionType}
    assert {c.observed_generation for c in status.conditions} == {4}


@pytest.mark.parametrize(
    ("made", "type_", "expected"),
    [
        (seen(), ConditionType.READY, ("True", "Serving")),
        (seen(gateways_ready=0), ConditionType.READY, ("False", "GatewayNotReady")),
        (
            seen(fleet=fleet(ReplicaState.WARMING)),
            ConditionType.READY,
            ("False", "NoReadyReplica"),
        ),
        (seen(fleet=fleet()), ConditionType.READY, ("True", "Asleep")),
        (seen(), ConditionType.RECONCILING, ("False", "Reconciled")),
        (seen(rollout=None), ConditionType.RECONCILING, ("True", "Creating")),
        (
            seen(rollout=Rollout(replicas=2, existing=3, updated=1, current=True, failure="")),
            ConditionType.RECONCILING,
            ("True", "Rolling"),
        ),
        (
            seen(fleet=fleet(ReplicaState.READY, ReplicaState.WARMING)),
            ConditionType.RECONCILING,
            ("True", "Scaling"),
        ),
        (
            seen(troubles=(Trouble(reason="Unschedulable", message="no node"),)),
            ConditionType.STALLED,
            ("True", "Unschedulable"),
        ),
        (seen(), ConditionType.STALLED, ("False", "Progressing")),
        (seen(), ConditionType.SCALING_ACTIVE, ("True", "Steady")),
        (
            seen(Failed(error="x", age_seconds=20, source="gateways")),
            ConditionType.SCALING_ACTIVE,
            ("False", "SignalsStale"),
        ),
        (
            seen(decision=decision(limited_by=LimitedBy.MAX_REPLICAS)),
            ConditionType.SCALING_LIMITED,
            ("True", "MaxReplicas"),
        ),
        (seen(), ConditionType.SCALING_LIMITED, ("False", "WithinLimits")),
        (seen(), ConditionType.SLOS_MET, ("True", "Attained")),
        (
            seen(decision=decision(attained={"first": 0.98})),
            ConditionType.SLOS_MET,
            ("False", "Missed"),
        ),
        (seen(decision=decision(attained={})), ConditionType.SLOS_MET, ("Unknown", "NoRequests")),
        (seen(unattainable="never"), ConditionType.SLOS_MET, ("False", "Unattainable")),
        (seen(), ConditionType.BUDGET_REDUCED, ("False", "Declared")),
        (seen(signals(effective=300)), ConditionType.BUDGET_REDUCED, ("True", "BrownOut")),
        (
            seen(limited_by_pool="GPUPool h100 grants 1 of 2"),
            ConditionType.SCALING_LIMITED,
            ("True", "GPUPool"),
        ),
        (seen(), ConditionType.SIGNALS_AVAILABLE, ("True", "Fresh")),
        (
            seen(replace(signals(), complete=False)),
            ConditionType.SIGNALS_AVAILABLE,
            ("False", "SignalsPartial"),
        ),
        (
            seen(Absent(reason="no gateway is running yet")),
            ConditionType.SIGNALS_AVAILABLE,
            ("False", "SignalsAbsent"),
        ),
    ],
)
def test_what_a_condition_says(made: Seen, type_: ConditionType, expected: tuple[str, str]) -> None:
    assert told(made, type_) == expected


def test_stalled_tells_all_troubles_under_the_reason_of_the_first() -> None:
    troubles = (
        Trouble(reason="NameConflict", message="Service r1 exists"),
        Trouble(reason="Unschedulable", message="no node"),
    )
    stalled = get(
        status_of(seen(troubles=troubles), ReasoningServiceStatus(), NOW).conditions,
        ConditionType.STALLED,
    )
    assert stalled is not None
    assert stalled.reason == "NameConflict"
    assert stalled.message == "Service r1 exists; Unschedulable: no node"


def test_a_roll_says_how_far_it_is_and_what_it_holds_up() -> None:
    halfway = Rollout(replicas=2, existing=3, updated=1, current=True, failure="")
    status = status_of(seen(rollout=halfway), ReasoningServiceStatus(), NOW)
    rolling = get(status.conditions, ConditionType.RECONCILING)
    assert rolling is not None
    assert rolling.message == (
        "1 of 3 pods run the new revision; the fleet does not shrink before all do."
    )


def test_a_condition_keeps_the_time_of_its_last_flip() -> None:
    first = status_of(seen(), ReasoningServiceStatus(), NOW)
    later = NOW + timedelta(seconds=30)
    same = status_of(seen(decision=decision(reason=Reason.OCCUPANCY)), first, later)
    active = get(same.conditions, ConditionType.SCALING_ACTIVE)
    assert active is not None
    assert (active.reason, active.last_transition_time) == ("ThinkingOccupancy", NOW)


def test_a_decision_that_changed_something_stays_until_the_next_that_does() -> None:
    scaled = LastDecision(
        id="d0", from_=1, to=2, reason="ThinkingBacklog", limited_by="None", message="m", time=NOW
    )
    first = status_of(seen(scaled=scaled), ReasoningServiceStatus(), NOW)
    assert status_of(seen(), first, NOW).last_decision == scaled


def test_numbers_that_always_move_are_not_urgent_and_a_replica_is() -> None:
    before = status_of(seen(), ReasoningServiceStatus(), NOW)
    ripple = status_of(seen(signals(depth=50)), before, NOW)
    assert ripple != before
    assert not is_urgent(before, ripple)
    assert is_urgent(before, status_of(seen(fleet=fleet(ReplicaState.READY)), before, NOW))
    stalled = seen(troubles=(Trouble(reason="Unschedulable", message="no node"),))
    assert is_urgent(before, status_of(stalled, before, NOW))


def test_a_ripple_is_no_other_picture_and_a_fifth_is() -> None:
    def depth(value: int) -> ReasoningServiceStatus:
        return status_of(seen(signals(depth=value)), ReasoningServiceStatus(), NOW)

    assert not has_moved(depth(3), depth(5)), "two requests"
    assert has_moved(depth(3), depth(6))
    assert not has_moved(depth(100), depth(119))
    assert has_moved(depth(100), depth(126))
    silent = status_of(seen(Absent(reason="none")), ReasoningServiceStatus(), NOW)
    assert has_moved(silent, depth(0)), "a number where there was none"


def message(made: Seen, type_: ConditionType) -> str:
    condition = get(status_of(made, ReasoningServiceStatus(), NOW).conditions, type_)
    assert condition is not None
    return condition.message


def test_what_load_has_cost_is_told_with_the_budget_and_as_numbers() -> None:
    made = seen(signals(effective=300), owed=Owed(cut=12, withheld_tokens=4321))
    debt = status_of(made, ReasoningServiceStatus(), NOW).quality_debt
    assert debt is not None
    assert (debt.requests_cut, debt.tokens_withheld) == (12, 4300)
    assert message(made, ConditionType.BUDGET_REDUCED) == (
        "300 of 1000 thinking tokens while load is high. "
        "In the last day 12 requests were cut, by 4321 tokens."
    )


def test_the_expected_score_that_was_lost_is_told_in_points() -> None:
    made = seen(signals(effective=300), owed=Owed(cut=12, withheld_tokens=4321, points=48.25))
    debt = status_of(made, ReasoningServiceStatus(), NOW).quality_debt
    assert debt is not None
    assert debt.points_withheld == 48
    assert message(made, ConditionType.BUDGET_REDUCED).endswith(
        "12 requests were cut, by 4321 tokens; "
        "they lost about 48.2 percent points of expected score together."
    )


def scored(name: str, *scores: float) -> Tier:
    """A tier with these scores at 250, 500 and 1,000 tokens."""
    points = zip((250, 500, 1000), scores, strict=True)
    quality = tuple(QualityPoint(max_tokens=b, score_percent=s) for b, s in points)
    return Tier(name=name, max_tokens=1000, quality=quality)


TIERS = (scored("deep", 30.0, 55.0, 80.0), scored("quick", 70.0, 74.0, 75.0))
RULE = BrownoutRule(
    floor_tokens=200,
    carried=tuple(
        Carried(budget_tokens=b, replica_seconds=r)
        for b, r in ((200, 1.0), (250, 1.5), (500, 2.5), (1000, 4.5))
    ),
    until=NOW + timedelta(seconds=60),
)


def test_a_lowered_budget_is_told_by_tier_with_the_reason_for_the_order() -> None:
    told = signals(effective=400)
    budget = told.value.budget.model_copy(update={"tier_max_tokens": {"quick": 200, "deep": 1000}})
    made = seen(
        replace(told, value=replace(told.value, budget=budget)),
        intent=replace(intent_of(SERVICE), tiers=TIERS),
        decision=decision(directive=Directive(id="d1", brownout=RULE)),
        owed=Owed(cut=9, withheld_tokens=3000, points=12.5),
    )
    # Down from 1,000 tokens a step saves 2 replica-seconds of 2 GPUs: 1 and 25 points for 4.
    assert message(made, ConditionType.BUDGET_REDUCED) == (
        "400 of 1000 thinking tokens while load is high. "
        "By tier: quick 200 of 1000 (its floor), deep 1000 of 1000. "
        "quick is lowered first: a GPU-second saved there costs 0.25 percent points of expected "
        "score, in deep 6.2. In the last day 9 requests were cut, by 3000 tokens; "
        "they lost about 12.5 percent points of expected score together."
    )
    status = status_of(made, ReasoningServiceStatus(), NOW)
    assert [(t.name, t.effective_max_tokens) for t in status.tiers] == [
        ("quick", 200),
        ("deep", 1000),
    ]
    calm = status_of(replace(made, observation=seen().observation), ReasoningServiceStatus(), NOW)
    assert {t.effective_max_tokens for t in calm.tiers} == {1000}
    assert has_moved(calm, status)


def test_points_are_told_only_where_a_tier_tells_its_quality() -> None:
    plain = status_of(seen(), ReasoningServiceStatus(), NOW).quality_debt
    assert plain is not None
    assert plain.points_withheld is None
    known = replace(intent_of(SERVICE), tiers=TIERS)
    told = status_of(seen(intent=known), ReasoningServiceStatus(), NOW).quality_debt
    assert told is not None
    assert told.points_withheld == 0


def test_who_allows_no_cut_owes_nothing() -> None:
    never = seen(intent=replace(intent_of(SERVICE), truncation_allowance=0.0))
    assert status_of(never, ReasoningServiceStatus(), NOW).quality_debt is None
    once = replace(never, owed=Owed(cut=1, withheld_tokens=10))
    assert status_of(once, ReasoningServiceStatus(), NOW).quality_debt is not None


def test_a_pool_that_limits_is_named() -> None:
    words = "GPUPool h100 grants 1 of 2 wished replicas"
    assert message(seen(limited_by_pool=words), ConditionType.SCALING_LIMITED) == words


def test_a_debt_that_grows_is_another_picture() -> None:
    before = status_of(seen(owed=Owed(cut=10, withheld_tokens=1000)), ReasoningServiceStatus(), NOW)
    assert not is_urgent(
        before, status_of(seen(owed=Owed(cut=20, withheld_tokens=2000)), before, NOW)
    )
    assert has_moved(before, status_of(seen(owed=Owed(cut=20, withheld_tokens=2000)), before, NOW))
    assert not has_moved(
        before, status_of(seen(owed=Owed(cut=11, withheld_tokens=1000)), before, NOW)
    )


def test_the_gateways_that_the_operator_wants_are_told() -> None:
    status = status_of(seen(gateways_wanted=3), ReasoningServiceStatus(), NOW)
    assert status.gateway_replicas == 3
