"""Which tier load lowers first, and the words for it: the same facts that the budgets come from."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.scaling.builders import make_intent
from tests.unit.scaling.tables import memoryless
from thinkscale.model.brownout import BrownoutRule, Carried
from thinkscale.model.intent import Budget, Intent, QualityPoint, Tier
from thinkscale.scaling import tier_budgets
from thinkscale.scaling.tier_standing import budgets_in_words, standings, why_first

BUDGETS = (1024, 2048, 4096)
CARRIED = tuple(
    Carried(budget_tokens=b, replica_seconds=r)
    for b, r in zip(BUDGETS, (1.0, 2.0, 3.0), strict=True)
)
RULE = BrownoutRule(
    floor_tokens=1024, carried=CARRIED, until=datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
)


def tier(name: str, *scores: float, floor: int = 0) -> Tier:
    points = zip(BUDGETS, scores, strict=True)
    quality = tuple(QualityPoint(max_tokens=b, score_percent=s) for b, s in points)
    return Tier(name=name, max_tokens=4096, floor_tokens=floor, quality=quality)


def intent_with(*tiers: Tier, gpus: int = 2) -> Intent:
    made = make_intent(budget=Budget(max_tokens=4096, floor_tokens=1024))
    return replace(made, tiers=tiers, gpus_per_replica=gpus)


STEEP, FLAT = tier("steep", 40.0, 60.0, 80.0), tier("flat", 70.0, 79.0, 80.0)


def test_the_cheaper_step_down_comes_first_with_its_price_for_a_gpu_second() -> None:
    flat, steep = standings(intent_with(STEEP, FLAT), RULE, {"flat": 1024, "steep": 2048})
    assert (flat.name, flat.budget_tokens, flat.max_tokens, flat.floor_tokens) == (
        "flat",
        1024,
        4096,
        1024,
    )
    assert (flat.score_percent, flat.declared_score_percent) == (70.0, 80.0)
    assert (flat.points_per_gpu_second, steep.points_per_gpu_second) == (0.5, 10.0)
    assert (steep.budget_tokens, steep.score_percent) == (2048, 60.0)
    assert budgets_in_words((flat, steep)) == "flat 1024 of 4096 (its floor), steep 2048 of 4096"
    assert why_first((flat, steep), 2) == (
        "flat is lowered first: a GPU-second saved there costs 0.5 percent points of expected "
        "score, in steep 10."
    )


def test_replicas_without_a_gpu_are_paid_by_the_second_themselves() -> None:
    made = standings(intent_with(FLAT, STEEP, gpus=0), RULE, {})
    assert [one.points_per_gpu_second for one in made] == [1.0, 20.0]
    assert "a replica-second saved there costs 1 percent" in why_first(made, 0)


def test_nothing_is_said_to_be_first_where_nothing_is_cheaper_or_known() -> None:
    twins = standings(intent_with(FLAT, replace(FLAT, name="twin")), RULE, {})
    assert why_first(twins, 2) == ""
    assert why_first(standings(intent_with(FLAT), RULE, {}), 2) == ""
    unlearnt = standings(intent_with(FLAT, STEEP), replace_carried(), {})
    assert why_first(unlearnt, 2) == ""
    assert {one.points_per_gpu_second for one in unlearnt} == {None}


def replace_carried() -> BrownoutRule:
    return RULE.model_copy(update={"carried": ()})


def test_without_a_rule_every_tier_has_its_maximum_and_load_may_not_lower_it() -> None:
    made = standings(intent_with(FLAT, STEEP), None, {})
    assert {(one.budget_tokens, one.floor_tokens) for one in made} == {(4096, 4096)}
    assert "floor" not in budgets_in_words(made)


@pytest.mark.parametrize("floor", [0, 2048])
@given(data=st.data())
def test_what_is_said_to_be_first_never_has_more_left_than_the_dearer_ones(
    floor: int, data: st.DataObject
) -> None:
    """As long as the first is not at its floor, no other is lowered in the directive."""
    scores = st.lists(st.integers(0, 100), min_size=3, max_size=3).map(sorted)
    tiers = [tier(name, *map(float, data.draw(scores)), floor=floor) for name in "abc"]
    intent = intent_with(*tiers)
    rendered = tier_budgets.render(intent, CARRIED, memoryless(2000), {}, 1024)
    made = standings(intent, RULE, {})
    assert made == tuple(sorted(made, key=lambda one: one.points_per_gpu_second or 0.0))
    tables = {one.name: one.budget_tokens for one in rendered}
    for (first, second), at in ((pair, at) for pair in pairwise(made) for at in range(3)):
        dearer = (second.points_per_gpu_second or 0.0) > (first.points_per_gpu_second or 0.0)
        untouched = tables[first.name][at] == first.max_tokens
        if dearer and untouched:
            assert tables[second.name][at] == second.max_tokens
