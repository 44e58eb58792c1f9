"""The rule that turns load into an effective thinking budget, the same in gateway and operator."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.model.directive import BudgetRule, effective_max_tokens

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SOON = NOW + timedelta(seconds=60)


def rule(**changes) -> BudgetRule:
    return BudgetRule(**({"max_tokens": 16_384, "floor_tokens": 4096, "until": SOON} | changes))


@pytest.mark.parametrize(
    ("load", "tokens"),
    [(0.0, 16_384), (1.0, 16_384), (1.5, 8192), (2.0, 4096), (50.0, 4096)],
)
def test_between_the_two_loads_the_budget_falls_geometrically(load: float, tokens: int):
    assert effective_max_tokens(rule(), load, NOW) == tokens


def test_without_a_maximum_thinking_is_not_bounded():
    assert effective_max_tokens(rule(max_tokens=None), 9.0, NOW) is None


@pytest.mark.parametrize(
    "changes",
    [{"floor_tokens": None}, {"until": None}, {"until": NOW}, {"floor_tokens": 20_000}],
    ids=["no floor", "not allowed", "expired", "floor above the maximum"],
)
def test_the_declared_maximum_holds_when_no_brown_out_is_in_force(changes: dict[str, object]):
    assert effective_max_tokens(rule(**changes), 9.0, NOW) == 16_384


def test_an_order_dies_with_its_author():
    assert effective_max_tokens(rule(), 2.0, SOON - timedelta(seconds=1)) == 4096
    assert effective_max_tokens(rule(), 2.0, SOON) == 16_384


def test_a_floor_of_nothing_is_reached_without_a_logarithm_of_zero():
    assert effective_max_tokens(rule(floor_tokens=0), 2.0, NOW) == 0
    assert effective_max_tokens(rule(floor_tokens=0), 1.5, NOW) == 128


@given(
    st.integers(0, 40_000),
    st.integers(0, 40_000),
    st.floats(0, 10, allow_nan=False),
    st.floats(0, 10, allow_nan=False),
)
def test_more_load_never_gives_more_and_never_less_than_the_floor(low, high, one, other):
    floor, maximum = min(low, high), max(low, high)
    bounded = rule(max_tokens=maximum, floor_tokens=floor)
    light = effective_max_tokens(bounded, min(one, other), NOW)
    heavy = effective_max_tokens(bounded, max(one, other), NOW)
    assert light is not None
    assert heavy is not None
    assert floor <= heavy <= light <= maximum
