"""What a request takes of a replica under each budget, as the gateways are told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scaling.builders import at, make_intent
from tests.unit.scaling.tables import exactly, memoryless
from thinkscale.fleet.profile import REFERENCE
from thinkscale.model.brownout import Pressure, carried_budget
from thinkscale.model.intent import Budget
from thinkscale.scaling import brownout
from thinkscale.scaling.allowance import Allowance
from thinkscale.scaling.capacity import Bounds
from thinkscale.scaling.life_table import Table
from thinkscale.scaling.survival import Survival

BOUNDS = Bounds(seats=128, kv_tokens=290_000, step_time=REFERENCE.step_time)
INTENT = make_intent(budget=Budget(floor_tokens=1000))


def test_replica_seconds_follow_from_the_design_point_under_the_budget():
    points = brownout.carried(INTENT, BOUNDS, exactly(20_000), 1000.0, 0.0)
    assert points[0].budget_tokens == 1000
    assert points[0].replica_seconds == pytest.approx(0.313, rel=0.02)
    assert points[-1].budget_tokens == 16_384


def test_nothing_is_told_before_anything_is_learnt():
    assert brownout.carried(INTENT, BOUNDS, Survival(Table(), None), 1000.0, 0.0) == ()
    unknown = Bounds(seats=8)
    assert brownout.carried(INTENT, unknown, memoryless(300), 0.0, 0.0) == ()
    assert len(brownout.carried(INTENT, unknown, memoryless(300), 0.0, 0.0, 0.03)) > 5


def test_numbers_are_rounded_so_that_the_directive_rarely_changes():
    assert brownout.rounded(1.6) == 1.605
    assert brownout.rounded(1.61) == 1.605
    assert all(abs(brownout.rounded(x / 100) / (x / 100) - 1) < 0.016 for x in range(1, 500))


def test_cuts_are_told_in_two_digits_downwards():
    full = Allowance(day_seconds=86_400.0, day_arrivals=8 * 86_400.0)
    rule = brownout.rule(INTENT, full, (), at(0))
    assert rule is not None
    assert rule.cuts_allowed == 3400
    empty = brownout.rule(INTENT, Allowance(level=0.0), (), at(0))
    assert empty is not None
    assert empty.cuts_allowed == 0
    assert empty.floor_tokens == 4000


@settings(max_examples=150, deadline=None)
@given(
    floor=st.integers(0, 8192),
    room=st.one_of(st.none(), st.integers(1, 30_000)),
    level=st.floats(0, 1),
    mean=st.floats(20, 8000),
    answer=st.floats(0, 1000),
    rate=st.floats(0.01, 50),
    replicas=st.floats(0, 40),
)
def test_the_effective_budget_stays_between_the_declared_floor_and_the_maximum(
    floor, room, level, mean, answer, rate, replicas
):
    most = None if room is None else floor + room
    intent = make_intent(budget=Budget(max_tokens=most, floor_tokens=floor))
    points = brownout.carried(intent, BOUNDS, memoryless(mean), 500.0, answer)
    seconds = [p.replica_seconds for p in points]
    assert seconds == sorted(seconds)
    rule = brownout.rule(intent, Allowance(level=level), points, at(0))
    assert rule is not None
    assert floor <= rule.floor_tokens
    assert most is None or rule.floor_tokens <= most
    pressure = Pressure(
        fresh_wait_seconds=5.0, fresh=10, arrivals_per_second=rate, replicas=replicas
    )
    budget = carried_budget(rule, pressure)
    assert budget is None or floor <= max(rule.floor_tokens, budget)
    assert budget is None or most is None or budget <= most
