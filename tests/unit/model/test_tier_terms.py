"""What is in force for tiers that tell their quality, and who is closed first among them."""

from dataclasses import replace

import pytest

from tests.unit.model.test_brownout_rule import TWO, pressure
from thinkscale.model.brownout import Brownout, evaluate, terms
from thinkscale.model.cutting import CutLimits, Thought
from thinkscale.model.tier_budgets import Place, TierBudgets, TierTerms, place_of

FLAT = TierBudgets(
    name="flat", budget_tokens=(600, 4096), lost_points=(4.0, 1.0), points_per_second=(2.0, 1.0)
)
STEEP = TierBudgets(
    name="steep", budget_tokens=(2048, 8192), lost_points=(40.0, 20.0), points_per_second=(9.0, 9.0)
)
RULE = TWO.model_copy(update={"tiers": (FLAT, STEEP)})


def in_force(state: Brownout) -> TierTerms:
    found = terms(RULE, state)
    assert found is not None
    return found


def test_each_tier_has_its_budget_a_third_of_the_way_in_log_tokens_like_everybody() -> None:
    state = evaluate(RULE, Brownout(), pressure(), 0.0, expired=False)
    assert state.effective_tokens == 1625
    third = round(600 * (4096 / 600) ** (1 / 3))
    assert state.tokens_by_tier == {"flat": third, "steep": round(2048 * 4 ** (1 / 3))}


def test_a_floor_that_has_risen_holds_for_tiers_too() -> None:
    risen = RULE.model_copy(update={"floor_tokens": 3000})
    state = evaluate(risen, Brownout(), pressure(replicas=0.1), 0.0, expired=False)
    assert state.tokens_by_tier == {"flat": 3000, "steep": 3000}


@pytest.mark.parametrize("seen", [pressure(arrivals=0.0, fresh=0), pressure(replicas=90.0)])
def test_nobody_has_a_budget_while_the_replicas_carry_all(seen: object) -> None:
    state = evaluate(RULE, Brownout(), seen, 0.0, expired=False)  # type: ignore[arg-type]
    assert state.effective_tokens is None
    assert state.tokens_by_tier == {}


def test_before_anything_was_learnt_the_floor_holds_for_everybody() -> None:
    unlearnt = RULE.model_copy(update={"carried": (), "tiers": ()})
    state = evaluate(unlearnt, Brownout(), pressure(), 0.0, expired=False)
    assert state == Brownout(last_on=0.0, effective_tokens=512)
    assert terms(unlearnt, state) is terms(None, state) is None


def test_a_score_is_looked_up_at_the_age_of_the_cut() -> None:
    known = in_force(Brownout())
    assert known.lost_points("steep", 2048) == pytest.approx(30.0), "half-way in log tokens"
    assert known.lost_points("steep", 100) == 40.0
    assert known.lost_points("steep", 90_000) == 20.0
    assert known.lost_points("other", 2048) == 0.0
    assert known.points_per_second("flat", 1024) == 2.0
    assert known.points_per_second("", 1024) == pytest.approx(5.5), "the mean of those known"
    assert TierTerms().points_per_second("", 1024) == 0.0


def test_who_loses_least_for_each_second_saved_is_closed_first() -> None:
    state = Brownout(
        last_on=0.0, effective_tokens=1000, tokens_by_tier={"flat": 900, "steep": 2000}
    )
    thoughts = [
        Thought("flat, young", "a", 899, "flat"),
        Thought("flat", "a", 950, "flat"),
        Thought("flat, older", "a", 1400, "flat"),
        Thought("steep, young", "a", 1999, "steep"),
        Thought("steep", "a", 3000, "steep"),
        Thought("plain, young", "a", 999),
        Thought("plain", "a", 1200),
    ]
    limits = CutLimits()
    limits.renew(cuts_allowed=9, per_replica_second=9.0)
    chosen = limits.choose(thoughts, 1000, 0.0, in_force(state))
    assert [t.item for t in chosen] == ["flat, older", "flat", "plain", "steep"]
    limits.renew(cuts_allowed=2, per_replica_second=9.0)
    chosen = limits.choose(thoughts, 1000, 9.0, in_force(state))
    assert [t.item for t in chosen] == ["flat, older", "flat"]


def test_without_tiers_the_longest_goes_first_whatever_its_tier() -> None:
    limits = CutLimits()
    limits.renew(cuts_allowed=9, per_replica_second=9.0)
    thoughts = [Thought(age, "a", age, "flat") for age in (1200, 3000, 900)]
    assert [t.item for t in limits.choose(thoughts, 1000, 0.0)] == [3000, 1200]


def test_a_place_is_between_two_points_in_log_tokens() -> None:
    ages = (0, 1024, 4096)
    assert place_of(2048, ages).index == 1
    assert place_of(2048, ages).tokens((0, 1000, 4000)) == 2000
    assert place_of(0, ages) == Place(index=0)
    assert place_of(1024, ages).tokens((7, 8, 9)) == 8
    assert place_of(9999, ages) == Place(index=2)
    assert place_of(3, (5, 9)) == Place(index=0)
    assert place_of(32, ages).value((0.0, 10.0, 20.0)) == pytest.approx(5.0)
    assert replace(Place(index=2), share=0.5).value((1.0, 2.0, 3.0)) == 3.0
