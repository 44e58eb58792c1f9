"""What the gateways are told: the brown-out and its limits, the ceiling, the cordon."""

import dataclasses
import math
from datetime import timedelta

import pytest

from tests.unit.scaling.builders import at, make_fleet, make_intent, make_signals, observe
from tests.unit.scaling.narration import Story
from thinkscale.fleet.profile import REFERENCE
from thinkscale.model.admission import Ceiling
from thinkscale.model.intent import Budget
from thinkscale.model.queueing import QueueRule
from thinkscale.model.reading import Absent, Failed
from thinkscale.model.signals import BudgetSignals
from thinkscale.scaling import brownout, order
from thinkscale.scaling.allowance import Allowance
from thinkscale.scaling.capacity import Bounds

OPTED_IN = Budget(max_tokens=16_384, floor_tokens=4096)


def learnt(budget: Budget, **changes) -> Story:
    """A service whose lengths are known."""
    return Story(make_intent(budget=budget, **changes))


def test_who_opted_in_gets_a_rule_that_is_renewed_and_ends_a_minute_after_the_law():
    story = learnt(OPTED_IN)
    rule = story.tick(0, 2, make_signals(thinking=4)).directive.brownout
    assert rule is not None
    assert rule.floor_tokens == 4096
    assert rule.until == at(0) + timedelta(seconds=60)
    renewed = story.tick(15, 2, make_signals(thinking=4)).directive.brownout
    assert renewed is not None
    assert renewed.until == at(75)


def test_there_is_no_rule_that_the_user_did_not_opt_in_to():
    for budget in (Budget(), Budget(max_tokens=4096), Budget(max_tokens=4096, floor_tokens=4096)):
        assert learnt(budget).tick(0, 1, make_signals(thinking=50)).directive.brownout is None
    story = learnt(OPTED_IN)
    story.intent = dataclasses.replace(story.intent, truncation_allowance=0.0)
    assert story.tick(0, 1, make_signals(thinking=50)).directive.brownout is None


def test_a_floor_without_a_maximum_is_an_opt_in_too():
    rule = learnt(Budget(floor_tokens=1024)).tick(0, 2, make_signals()).directive.brownout
    assert rule is not None
    assert rule.floor_tokens == 1024


def test_signals_that_are_missing_for_a_minute_end_the_brown_out_and_one_lost_reading_does_not():
    story = learnt(OPTED_IN)
    story.tick(0, 1, make_signals(thinking=50))
    assert story.tick(15, 1, Absent(reason="gone")).directive.brownout is not None
    assert story.tick(61, 1, Absent(reason="gone")).directive.brownout is None
    assert learnt(OPTED_IN).tick(0, 1, Absent(reason="gone")).directive.brownout is None


def test_the_rule_knows_what_a_request_takes_under_each_budget():
    story = learnt(Budget(max_tokens=8192, floor_tokens=1000))
    story.intent = dataclasses.replace(story.intent, step_time=REFERENCE.step_time)
    rule = story.tick(0, 2, make_signals(thinking=4, mean_tokens=3000)).directive.brownout
    assert rule is not None
    budgets = [point.budget_tokens for point in rule.carried]
    assert budgets == [1000, 1024, 1448, 2048, 2896, 4096, 5793, 8192]
    seconds = [point.replica_seconds for point in rule.carried]
    assert seconds == sorted(seconds)
    assert seconds[-1] > 2 * seconds[0]


def test_an_allowance_that_is_used_up_raises_the_floor_and_allows_no_cut():
    story = learnt(Budget(max_tokens=8192, floor_tokens=1024))
    for i in range(40):
        signals = make_signals(thinking=4, arrivals=10 * i)
        cut = dataclasses.replace(signals, budget=BudgetSignals(cut_by_load=8 * i))
        rule = story.tick(i * 15, 2, cut).directive.brownout
        assert rule is not None
        assert 1024 <= rule.floor_tokens <= 8192
    assert rule.cuts_allowed == 0
    assert rule.floor_tokens == 4096


def test_what_a_replica_may_hold_follows_the_pace_of_the_objectives():
    story = Story(make_intent(seats=128))
    plain = story.tick(0, 2, make_signals(thinking=4)).directive.ceiling
    assert plain is not None
    assert (plain.seats, plain.step_time, plain.step_limit_seconds) == (136, None, None)
    story.intent = dataclasses.replace(
        story.intent, step_time=REFERENCE.step_time, kv_tokens=290_000
    )
    paced = story.tick(15, 2, make_signals(thinking=4)).directive.ceiling
    assert paced is not None
    assert paced.seats == 128
    assert paced.kv_tokens == 290_000
    assert paced.step_limit_seconds == 0.0427
    assert paced.step_time.base_seconds == pytest.approx(0.0155, rel=0.02)


def test_a_step_time_without_a_pace_to_keep_is_no_bound_of_the_ceiling():
    bounds = Bounds(seats=128, step_time=REFERENCE.step_time)
    assert order.ceiling(bounds) == Ceiling(seats=136)


def test_what_an_engine_does_for_nothing_stays_nothing():
    free = REFERENCE.step_time.model_copy(update={"prompt_token_seconds": 0.0})
    told = order.ceiling(Bounds(seats=8, pace_limit_seconds=0.045, step_time=free))
    assert told.step_time is not None
    assert told.step_time.prompt_token_seconds == 0.0
    assert told.step_time.base_seconds > 0


def test_a_floor_that_is_a_step_of_three_percent_is_told_as_it_is():
    intent = make_intent(budget=Budget(max_tokens=32_768, floor_tokens=10_000))
    for less, floor in ((0.0, 10_300), (1e-4, 10_609)):
        level = 1.0 - math.log(1.03, 4) - less
        told = brownout.rule(intent, Allowance(level=level), (), at(0))
        assert told is not None
        assert told.floor_tokens == floor


def test_the_queue_serves_those_first_who_can_still_be_in_time():
    directive = Story().tick(0, 2, make_signals()).directive
    assert directive.queue.fresh_seconds == 7.44
    assert Story(make_intent(objectives=[])).tick(0, 2, make_signals()).directive.queue == (
        QueueRule()
    )


def test_the_directive_does_not_change_while_nothing_does():
    story = learnt(OPTED_IN)
    told = []
    for i in range(4):
        directive = story.tick(i * 15, 2, make_signals(thinking=12)).directive
        told.append(directive.model_copy(update={"id": "", "brownout": None}))
    assert all(one == told[0] for one in told)


def test_the_directive_carries_the_decision_the_ceiling_and_the_cordon():
    decision = Story(make_intent(down_window=0.0)).tick(0, 3, make_signals(thinking=1))
    assert decision.directive.id == decision.id
    assert decision.directive.ceiling.seats == 9
    assert set(decision.directive.cordoned) == decision.cordon


def test_the_gateways_are_told_how_many_share_the_replicas():
    def shared(expected: int, heard: int) -> int:
        fleet = make_fleet(2)
        seen = observe(fleet, make_signals(thinking=1), expected=expected, heard=heard)
        return Story().see(0, seen).directive.gateways

    assert shared(3, 3) == 3
    assert shared(3, 2) == 3
    assert shared(0, 0) == 1
    draining = observe(make_fleet(2), make_signals(thinking=1), expected=3, heard=3)
    draining = dataclasses.replace(draining, gateways_leaving=1)
    assert Story().see(0, draining).directive.gateways == 2
    lost = observe(Failed(error="timeout", age_seconds=1.0, source="kubernetes"), make_signals())
    blind = dataclasses.replace(lost, gateways_expected=2)
    assert Story().see(0, blind).directive.gateways == 2


def test_ids_differ_from_tick_to_tick_and_are_the_same_for_the_same_tick():
    def first() -> str:
        return Story().tick(0, 1, make_signals()).id

    assert first() == first()
    assert Story().tick(1, 1, make_signals()).id != first()
