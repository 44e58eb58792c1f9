"""Thoughts of a tier that is far dearer than another are closed one after the other."""

import pytest

from thinkscale.model.cutting import CutLimits, Thought
from thinkscale.model.tier_budgets import TierBudgets, TierTerms


def budgets(name: str, price: float, *, dear: bool) -> TierBudgets:
    return TierBudgets(
        name=name,
        budget_tokens=(100,),
        lost_points=(price,),
        points_per_second=(price,),
        dear=dear,
    )


TIERS = (budgets("cheap", 1.0, dear=False), budgets("dear", 40.0, dear=True))


def closed(limits: CutLimits, now: float, per_second: float, *tiers: str) -> list[str]:
    """Tiers of the thoughts that are closed out of one for each of these, all at other replicas."""
    terms = TierTerms(
        ages=(100,),
        tiers=TIERS,
        tokens={"cheap": 100, "dear": 100},
        dear_cuts_per_second=per_second,
    )
    thoughts = [Thought(at, f"r{at}", 500, tier) for at, tier in enumerate(tiers)]
    return [thought.tier for thought in limits.choose(thoughts, 100, now, terms)]


def limits() -> CutLimits:
    made = CutLimits()
    made.renew(cuts_allowed=1000, per_replica_second=2.0)
    return made


def test_all_of_the_cheap_go_at_once_and_of_the_dear_a_seconds_worth() -> None:
    some = limits()
    assert closed(some, 0.0, 1.0, *["dear"] * 5, *["cheap"] * 5) == ["cheap"] * 5 + ["dear"] * 2
    assert closed(some, 1.0, 1.0, *["dear"] * 5) == ["dear"]
    assert closed(some, 1.0, 1.0, *["dear"] * 5) == []
    assert closed(some, 1.0, 1.0, "cheap", "dear") == ["cheap"]


@pytest.mark.parametrize(("rate", "seconds"), [(0.2, 5), (0.4, 2.5), (2.0, 0.5)])
def test_in_the_long_run_as_many_are_closed_as_the_rate_says(rate: float, seconds: float) -> None:
    some = limits()
    made = sum(len(closed(some, at / 2, rate, *["dear"] * 9)) for at in range(200))
    assert made == pytest.approx(100 / seconds, abs=3)


def test_who_has_no_price_is_not_dear() -> None:
    assert len(closed(limits(), 0.0, 0.0, *["unknown"] * 7, "")) == 8
