"""The brown-out: early and mild, never under the floor or over its allowance, and it ends."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinkscale.model.brownout import (
    DEAR_CUTS_PER_REPLICA_SECOND,
    STAYS_ON_SECONDS,
    Brownout,
    BrownoutRule,
    Carried,
    Pressure,
    carried_budget,
    evaluate,
    terms,
)
from thinkscale.model.cutting import CutLimits, Thought
from thinkscale.model.tier_budgets import TierBudgets

UNTIL = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def rule(*points: tuple[int, float], floor: int = 512) -> BrownoutRule:
    carried = tuple(Carried(budget_tokens=b, replica_seconds=r) for b, r in points)
    return BrownoutRule(floor_tokens=floor, carried=carried, until=UNTIL)


TWO = rule((1024, 1.0), (4096, 2.0))


def pressure(
    wait: float = 5.0, fresh: int = 60, arrivals: float = 2.0, replicas: float = 4.0
) -> Pressure:
    return Pressure(
        fresh_wait_seconds=wait, fresh=fresh, arrivals_per_second=arrivals, replicas=replicas
    )


PRESSURES = st.builds(
    pressure, st.floats(0, 20), st.integers(0, 500), st.floats(0, 50), st.floats(0, 20)
)


@st.composite
def rules(draw: st.DrawFn) -> BrownoutRule:
    budgets = sorted(draw(st.sets(st.integers(0, 40_000), max_size=8)))
    seconds = sorted(draw(st.lists(st.floats(0.01, 50), min_size=8, max_size=8, unique=True)))
    return rule(*zip(budgets, seconds, strict=False), floor=draw(st.integers(0, 5000)))


@pytest.mark.parametrize(
    ("seen", "budget"),
    [
        (pressure(), 1625),  # 4 replicas for 2 + 60/60 a second: 1.33, a third of the way in logs
        (pressure(arrivals=1.0), None),
        (pressure(replicas=3.0), 1024),
        (pressure(replicas=0.5), 1024),
        (pressure(fresh=0, arrivals=0.0), None),
        (pressure(fresh=30, arrivals=0.0, replicas=0.75), 2048),  # r(B) may be .75/.5 = 1.5
        (pressure(fresh=0, arrivals=0.5, replicas=0.75), 2048),
    ],
)
def test_the_budget_is_the_largest_that_the_replicas_carry(
    seen: Pressure, budget: int | None
) -> None:
    assert carried_budget(TWO, seen) == budget


def test_dear_thoughts_are_closed_as_fast_as_the_replicas_are_many() -> None:
    tier = TierBudgets(
        name="dear", budget_tokens=(1024, 4096), lost_points=(1, 0), points_per_second=(1, 0)
    )
    known = TWO.model_copy(update={"tiers": (tier,)})
    made = evaluate(known, Brownout(), pressure(arrivals=4.0, replicas=4.0), 0.0, expired=False)
    assert made.tokens_by_tier == {"dear": 1024}
    found = terms(known, made)
    assert found is not None
    assert found.dear_cuts_per_second == pytest.approx(4 * DEAR_CUTS_PER_REPLICA_SECOND)


def test_before_anything_was_learnt_the_floor_holds() -> None:
    assert carried_budget(rule(), pressure()) == 512


@given(rules(), PRESSURES, st.floats(0, 20), st.integers(0, 100), st.floats(0, 10))
def test_more_pressure_never_raises_the_budget(
    some: BrownoutRule, seen: Pressure, fewer: float, more: int, faster: float
) -> None:
    worse = Pressure(
        fresh_wait_seconds=seen.fresh_wait_seconds,
        fresh=seen.fresh + more,
        arrivals_per_second=seen.arrivals_per_second + faster,
        replicas=max(0.0, seen.replicas - fewer),
    )
    free = float("inf")
    before, after = carried_budget(some, seen), carried_budget(some, worse)
    assert (free if after is None else after) <= (free if before is None else before)


@settings(max_examples=200)
@given(rules(), st.lists(st.tuples(st.floats(0.5, 2), PRESSURES, st.booleans()), max_size=20))
def test_in_any_history_it_is_never_under_the_floor_and_off_when_nobody_waits(
    some: BrownoutRule, seconds: list[tuple[float, Pressure, bool]]
) -> None:
    state, now = Brownout(), 0.0
    for elapsed, seen, expired in seconds:
        now += elapsed
        state = evaluate(some, state, seen, now, expired=expired)
        if state.effective_tokens is not None:
            assert state.last_on is not None
            assert state.effective_tokens >= some.floor_tokens
        if expired:
            assert state == Brownout()
        elif seen.fresh_wait_seconds > some.wait_on_seconds:
            assert state.last_on == now
        elif seen.fresh == 0 and state.last_on is not None:
            assert now - state.last_on <= STAYS_ON_SECONDS


def test_it_stays_on_while_somebody_fresh_waits_and_a_second_longer() -> None:
    on = evaluate(TWO, Brownout(), pressure(wait=2.1), 10.0, expired=False)
    assert on == Brownout(last_on=10.0, effective_tokens=1625)
    assert evaluate(TWO, on, pressure(wait=0.1), 15.0, expired=False).effective_tokens == 1625
    nobody = pressure(wait=0.0, fresh=0)
    assert evaluate(TWO, on, nobody, 11.0, expired=False).last_on == 10.0
    assert evaluate(TWO, on, nobody, 11.1, expired=False) == Brownout()
    assert evaluate(TWO, Brownout(), pressure(wait=2.0), 10.0, expired=False) == Brownout()
    assert evaluate(None, on, pressure(), 11.0, expired=False) == Brownout()


thoughts = st.lists(
    st.builds(
        Thought, st.integers(), st.sampled_from(["a", "b", "c"]), st.integers(0, 10_000)
    ),
    max_size=30,
)  # fmt: skip


@given(
    st.lists(st.tuples(thoughts, st.integers(0, 10_000)), max_size=12),
    st.integers(0, 20), st.sampled_from([0.0, 0.5, 1.0, 2.5]), st.integers(1, 4),
)  # fmt: skip
def test_the_limits_of_cuts_hold_in_any_history(
    seconds: list[tuple[list[Thought[int]], int]], allowed: int, rate: float, gateways: int
) -> None:
    limits = CutLimits()
    limits.renew(cuts_allowed=allowed, per_replica_second=rate, gateways=gateways)
    cut: list[tuple[int, str]] = []
    for second, (there, effective) in enumerate(seconds):
        chosen = limits.choose(there, effective, float(second))
        ages = [thought.age_tokens for thought in chosen]
        assert all(one >= other for one, other in pairwise(ages))
        assert all(age >= effective for age in ages)
        cut += [(second, thought.replica) for thought in chosen]
        for name in ("a", "b", "c"):
            spared = [t.age_tokens for t in there if t.replica == name and t not in chosen]
            taken = [t.age_tokens for t in chosen if t.replica == name]
            assert not taken or max(spared, default=0) <= min(taken), "the longest go first"
    assert len(cut) <= allowed // gateways
    share = rate / gateways
    for name in ("a", "b", "c"):
        at = [second for second, replica in cut if replica == name]
        for i, first in enumerate(at):
            for j, last in enumerate(at[i:]):
                assert j + 1 <= max(1.0, share) + share * (last - first) + 0.02


def test_a_thought_is_closed_at_the_very_age_of_the_budget() -> None:
    limits = CutLimits()
    limits.renew(cuts_allowed=5, per_replica_second=5.0)
    there = [Thought(0, "a", 999), Thought(1, "a", 1000), Thought(2, "a", 1001)]
    assert [t.item for t in limits.choose(there, 1000, 0.0)] == [2, 1]


def test_a_new_directive_brings_a_new_allowance_and_no_burst() -> None:
    limits = CutLimits()
    ten = [Thought(i, "a", 1000 + i) for i in range(10)]
    limits.renew(cuts_allowed=1, per_replica_second=1.0)
    assert [t.item for t in limits.choose(ten, 1000, 0.0)] == [9]
    assert limits.choose(ten, 1000, 1.0) == []
    limits.renew(cuts_allowed=5, per_replica_second=1.0)
    assert [t.item for t in limits.choose(ten, 1000, 1.0)] == [9]
    limits.renew(cuts_allowed=5, per_replica_second=1.0)
    assert limits.choose(ten, 1000, 1.1) == []
    limits.forget([])
    assert len(limits.choose(ten, 1000, 1.1)) == 1
