"""What misses and cuts cost: the integrator on the fleet, and the bucket of cuts."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scaling.builders import FIRST_ANSWER, make_intent, make_signals
from thinkscale.model.intent import Budget, Indicator, Intent, Objective
from thinkscale.model.observation import MergedSignals
from thinkscale.model.signals import BudgetSignals, SloCounts
from thinkscale.scaling import allowance, margin
from thinkscale.scaling.allowance import Allowance
from thinkscale.scaling.margin import Margin


def slo(name: str, indicator: Indicator, objective: float = 0.99) -> Objective:
    return dataclasses.replace(FIRST_ANSWER, name=name, indicator=indicator, objective=objective)


WAIT = slo("wait", Indicator.TIME_TO_FIRST_TOKEN)
PACE = slo("pace", Indicator.TIME_PER_OUTPUT_TOKEN)
WHOLE = slo("whole", Indicator.END_TO_END)
THREE = (WAIT, PACE, WHOLE)


def counted(arrivals: int, bad: dict[str, int], cuts: int = 0) -> MergedSignals:
    slos = {name: SloCounts(good=arrivals - n, bad=n) for name, n in bad.items()}
    signals = make_signals(arrivals=arrivals, slos=slos)
    return dataclasses.replace(signals, budget=BudgetSignals(cut_by_load=cuts))


def test_the_cost_is_what_was_spent_of_what_the_objectives_allow():
    assert margin.cost(THREE, {"wait": 1, "pace": 1, "whole": 2}, 0, 120) == pytest.approx(
        1.67, 0.01
    )
    assert margin.cost(THREE, {"whole": 3}, 3, 120) == pytest.approx(5.0)
    lax = [slo("wait", Indicator.TIME_TO_FIRST_ANSWER, 0.95)]
    assert margin.cost(lax, {"wait": 6}, 0, 120) == pytest.approx(1.0)
    assert margin.cost(THREE, {"whole": 10_000}, 0, 120) == 40.0
    assert margin.cost(THREE, {"wait": 1}, 0, 0) == 40.0
    assert margin.cost((), {}, 0, 120) == 0.0


def after(samples: int, bad_each: int, *, step: float = 15.0, frozen: bool = False) -> float:
    """The margin after so many times 15 s, 150 arrivals in each."""
    intent = make_intent(objectives=THREE)
    state = Margin()
    ticks = round(samples * 15 / step)
    for i in range(ticks + 1):
        share = i * step / 15
        signals = counted(round(150 * share), {"wait": round(bad_each * share)})
        state = margin.observe(state, i * step, signals, intent, frozen=frozen)
    return margin.value(state, cutting=False, level=1.0)


def test_six_tenths_of_what_is_allowed_are_the_set_point():
    assert after(100, 0) == pytest.approx(0.95 - 100 * 2e-4 * 0.6)
    assert after(100, 3) == pytest.approx(0.95 + 100 * 2e-4 * 1.4)
    assert after(100, 3, frozen=True) == 0.95
    assert after(3000, 0) == 0.85
    assert after(3000, 150) == 1.6


def test_looking_more_often_moves_the_margin_as_fast():
    assert after(100, 3, step=3.0) == pytest.approx(after(100, 3), abs=0.002)
    assert after(100, 3, step=1.0) == pytest.approx(after(100, 3), abs=0.002)


def test_an_empty_allowance_asks_for_more_margin():
    state = Margin(value=0.95)
    assert margin.value(state, cutting=True, level=1.0) == 0.95
    assert margin.value(state, cutting=True, level=0.25) == pytest.approx(1.05)
    assert margin.value(state, cutting=True, level=0.0) == pytest.approx(1.15)
    assert margin.value(state, cutting=False, level=0.0) == 0.95


def test_new_totals_are_a_baseline_and_a_new_objective_begins_at_its_own():
    intent = make_intent(objectives=(WAIT,))
    state = margin.observe(Margin(), 0.0, counted(100, {"wait": 50}), intent, frozen=False)
    assert state.value == 0.95
    both = make_intent(objectives=(WAIT, PACE))
    signals = counted(200, {"wait": 50, "pace": 90})
    state = margin.observe(state, 15.0, signals, both, frozen=False)
    assert state.value == pytest.approx(0.95 - 1.2e-4)
    fallen = margin.observe(state, 30.0, counted(5, {"wait": 1}), both, frozen=False)
    assert fallen.value == state.value


def test_the_margin_stands_still_after_a_jump_at_the_limit_and_without_trust():
    def still(**changes) -> bool:
        given = {"trusted": True, "at_limit": False} | changes
        return margin.frozen(1000.0, given.pop("jumped_at", None), 255.0, **given)

    assert not still()
    assert still(jumped_at=700.0)
    assert not still(jumped_at=680.0)
    assert still(at_limit=True)
    assert still(trusted=False)


CUTTING = make_intent(budget=Budget(max_tokens=16_384, floor_tokens=1024))


def test_the_bucket_holds_half_a_days_allowance():
    state = Allowance(day_seconds=86_400.0, day_arrivals=8 * 86_400.0)
    assert allowance.capacity(state, 0.01) == pytest.approx(3456)
    assert allowance.cuts_left(state, 0.01) == 3456
    assert allowance.capacity(Allowance(), 0.01) == 1.0


def test_cuts_empty_the_bucket_and_arrivals_fill_it():
    state = allowance.observe(Allowance(), 0.0, 0, 0, 0.01)
    state = allowance.observe(state, 1000.0, 8000, 0, 0.01)
    assert state.level == 1.0
    state = allowance.observe(state, 1100.0, 8800, 1728, 0.01)
    assert state.level == pytest.approx(0.5, abs=0.01)
    later = allowance.observe(state, 2100.0, 16_800, 1728, 0.01)
    assert later.level == pytest.approx(state.level + 0.005 * 8000 / 3456, abs=0.001)
    assert allowance.observe(later, 2100.0, 99_999, 99_999, 0.01) is later


def test_the_floor_rises_as_the_bucket_empties_and_never_above_the_maximum():
    def floor(level: float, intent: Intent = CUTTING) -> int:
        return allowance.floor_tokens(Allowance(level=level), intent)

    assert [floor(level) for level in (1.0, 0.5, 0.0)] == [1024, 2048, 4096]
    small = make_intent(budget=Budget(max_tokens=1500, floor_tokens=1024))
    assert floor(0.0, small) == 1500
    assert floor(0.0, make_intent(budget=Budget(floor_tokens=1024))) == 4096


def test_only_who_declared_a_floor_and_an_allowance_is_cut():
    assert allowance.opted_in(CUTTING)
    assert allowance.opted_in(make_intent(budget=Budget(floor_tokens=1024)))
    assert not allowance.opted_in(make_intent(budget=Budget(max_tokens=1024, floor_tokens=1024)))
    assert not allowance.opted_in(make_intent(budget=Budget(max_tokens=1024)))
    assert not allowance.opted_in(dataclasses.replace(CUTTING, truncation_allowance=0.0))


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.floats(1, 600), st.integers(0, 500), st.integers(0, 100)), max_size=40
    )
)
def test_the_level_and_the_floor_stay_within_their_bounds(steps):
    state, now, arrivals, cuts = Allowance(), 0.0, 0, 0
    for seconds, came, cut in steps:
        now, arrivals, cuts = now + seconds, arrivals + came, cuts + cut
        state = allowance.observe(state, now, arrivals, cuts, 0.01)
        assert 0.0 <= state.level <= 1.0
        assert 1024 <= allowance.floor_tokens(state, CUTTING) <= 16_384
        assert allowance.cuts_left(state, 0.01) >= 0
