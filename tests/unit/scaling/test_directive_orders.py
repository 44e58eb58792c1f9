"""What the gateways are told: the brown-out and its limits, the ceiling, the cordon."""

import dataclasses
from datetime import timedelta

from tests.unit.scaling.builders import at, make_fleet, make_intent, make_signals, observe
from tests.unit.scaling.narration import Story
from thinkscale.model.directive import effective_max_tokens
from thinkscale.model.intent import Budget
from thinkscale.model.reading import Absent, Failed

OPTED_IN = Budget(max_tokens=16_384, floor_tokens=4096)


def test_a_brown_out_is_allowed_while_replicas_warm_and_load_is_above_the_seats():
    story = Story(make_intent(budget=OPTED_IN))
    decision = story.tick(0, make_fleet(2, warming=2), make_signals(thinking=20))
    rule = decision.directive.budget
    assert rule.until == at(0) + timedelta(seconds=60)
    assert rule.reaches_in_flight
    assert effective_max_tokens(rule, 1.5, at(1)) == 8192
    renewed = story.tick(2, make_fleet(2, warming=2), make_signals(thinking=20))
    assert renewed.directive.budget.until == at(62)


def test_a_brown_out_is_allowed_at_the_maximum():
    story = Story(make_intent(budget=OPTED_IN, high=2))
    decision = story.tick(0, 2, make_signals(thinking=20))
    assert decision.directive.budget.until is not None


def test_there_is_no_brown_out_while_seats_suffice_or_the_fleet_is_large_enough():
    assert (
        Story(make_intent(budget=OPTED_IN))
        .tick(0, make_fleet(2, warming=2), make_signals(thinking=15))
        .directive.budget.until
        is None
    )
    assert (
        Story(make_intent(budget=OPTED_IN))
        .tick(0, 4, make_signals(thinking=20))
        .directive.budget.until
        is None
    )


def test_there_is_no_brown_out_that_the_user_did_not_opt_in_to():
    for budget in (Budget(), Budget(max_tokens=4096), Budget(max_tokens=4096, floor_tokens=4096)):
        decision = Story(make_intent(budget=budget)).tick(0, 1, make_signals(thinking=50))
        assert decision.directive.budget.until is None
        assert not decision.directive.budget.reaches_in_flight
        assert decision.directive.budget.max_tokens == budget.max_tokens


def test_the_request_that_wakes_a_service_is_not_cut():
    story = Story(make_intent(budget=OPTED_IN, low=0, idle_seconds=60.0))
    decision = story.tick(0, make_fleet(0), make_signals(queued=3))
    assert decision.directive.budget.until is None
    decision = story.tick(2, make_fleet(0, warming=1), make_signals(queued=30))
    assert decision.directive.budget.until is not None


def test_without_signals_no_brown_out_is_ordered():
    story = Story(make_intent(budget=OPTED_IN))
    story.tick(0, 1, make_signals(thinking=50))
    decision = story.tick(2, 1, Absent(reason="gone"))
    assert decision.directive.budget.until is None


def test_cordoned_replicas_do_not_count_as_seats():
    story = Story(make_intent(budget=OPTED_IN, high=1, down_window=0.0))
    decision = story.tick(0, 2, make_signals(thinking=10))
    assert len(decision.cordon) == 1
    assert decision.directive.budget.until is not None


def test_the_directive_carries_the_decision_the_ceiling_and_the_cordon():
    decision = Story(make_intent(down_window=0.0)).tick(0, 3, make_signals(thinking=1))
    assert decision.directive.id == decision.id
    assert decision.directive.admission_ceiling == 9
    assert set(decision.directive.cordoned) == decision.cordon
    assert decision.numbers["admission_ceiling"] == 9


def test_the_gateways_are_told_how_many_share_the_replicas():
    def shared(expected: int, heard: int) -> int:
        fleet = make_fleet(2)
        seen = observe(fleet, make_signals(thinking=1), expected=expected, heard=heard)
        return Story().see(0, seen).directive.gateways

    assert shared(3, 3) == 3
    assert shared(3, 2) == 3
    assert shared(0, 0) == 1
    lost = observe(Failed(error="timeout", age_seconds=1.0, source="kubernetes"), make_signals())
    blind = dataclasses.replace(lost, gateways_expected=2)
    assert Story().see(0, blind).directive.gateways == 2


def test_ids_differ_from_tick_to_tick_and_are_the_same_for_the_same_tick():
    def first() -> str:
        return Story().tick(0, 1, make_signals()).id

    assert first() == first()
    assert Story().tick(1, 1, make_signals()).id != first()
