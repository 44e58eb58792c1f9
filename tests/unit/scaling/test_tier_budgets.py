"""Where thinking is withheld: from the tiers that lose least by it, never under a floor."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.unit.scaling.builders import at, make_intent
from tests.unit.scaling.tables import memoryless
from thinkscale.fleet.profile import REFERENCE
from thinkscale.model.brownout import Carried
from thinkscale.model.intent import Budget, Intent, QualityPoint, Tier
from thinkscale.scaling import brownout, tier_budgets
from thinkscale.scaling.allowance import Allowance
from thinkscale.scaling.capacity import Bounds
from thinkscale.scaling.tier_budgets import FAR_DEARER, score_percent

THOUGHTS = memoryless(2000)
CARRIED = tuple(
    Carried(budget_tokens=b, replica_seconds=r) for b, r in ((1024, 1.0), (2048, 2.0), (4096, 3.0))
)
BOUNDS = Bounds(seats=128, kv_tokens=290_000, step_time=REFERENCE.step_time)


def tier(name: str, *points: tuple[int, float], most: int = 4096, floor: int = 0) -> Tier:
    quality = tuple(QualityPoint(max_tokens=b, score_percent=s) for b, s in points)
    return Tier(name=name, max_tokens=most, floor_tokens=floor, quality=quality)


def intent_with(*tiers: Tier, floor: int = 1024) -> Intent:
    return replace(make_intent(budget=Budget(max_tokens=4096, floor_tokens=floor)), tiers=tiers)


FLAT = tier("flat", (1024, 70.0), (2048, 79.0), (4096, 80.0))
STEEP = tier("steep", (1024, 40.0), (2048, 60.0), (4096, 80.0))


def test_the_tier_that_loses_least_saves_for_both() -> None:
    flat, steep = tier_budgets.render(intent_with(FLAT, STEEP), CARRIED, THOUGHTS, {}, 1024)
    assert (flat.name, steep.name) == ("flat", "steep")
    assert flat.budget_tokens == (1024, 1024, 4096)
    assert steep.budget_tokens == (1024, 4096, 4096)
    assert flat.points_per_second == (5.0, 1.0, 0.0)
    assert steep.points_per_second == (20.0, 20.0, 0.0)


def test_a_cut_costs_what_all_lose_shared_by_those_who_think_that_long() -> None:
    flat, steep = tier_budgets.render(intent_with(FLAT, STEEP), CARRIED, THOUGHTS, {}, 1024)
    alive = THOUGHTS.longer_than(2048)
    assert flat.lost_points[1] == pytest.approx(1 / alive, rel=0.01)
    assert steep.lost_points[1] == pytest.approx(20 / alive, rel=0.01)
    assert steep.lost_points[0] == pytest.approx(40 / THOUGHTS.longer_than(1024), rel=0.01)
    rare = tier_budgets.render(intent_with(STEEP), CARRIED, memoryless(20), {}, 1024)
    assert rare[0].lost_points[0] == 100.0, "nobody loses more than an answer"


def test_a_tier_of_which_few_come_cannot_save_for_the_other() -> None:
    few = {"flat": 10.0, "steep": 90.0}
    flat, steep = tier_budgets.render(intent_with(FLAT, STEEP), CARRIED, THOUGHTS, few, 1024)
    assert flat.budget_tokens[1] == 1024
    assert 2048 < steep.budget_tokens[1] < 4096
    none = {"steep": 90.0}
    flat, steep = tier_budgets.render(intent_with(FLAT, STEEP), CARRIED, THOUGHTS, none, 1024)
    assert flat.budget_tokens == steep.budget_tokens == (1024, 2048, 4096)


def test_a_tier_that_next_to_nobody_is_of_is_not_closed_for_a_rounding_error() -> None:
    rare = {"flat": 1.0, "steep": 4.5e-94}
    _, steep = tier_budgets.render(intent_with(FLAT, STEEP), CARRIED, THOUGHTS, rare, 1024)
    assert steep.budget_tokens == (1024, 2048, 4096)


def test_where_one_tier_is_far_dearer_more_is_saved_on_the_other() -> None:
    points = (*CARRIED, Carried(budget_tokens=8192, replica_seconds=4.0))
    curves = {"cheap": (77.0, 78.0, 79.0, 80.0), "dear": (20.0, 40.0, 60.0, 80.0)}
    ages = (1024, 2048, 4096, 8192)
    pair = [tier(n, *zip(ages, s, strict=True), most=8192) for n, s in curves.items()]
    intent = replace(make_intent(budget=Budget(max_tokens=8192, floor_tokens=1024)), tiers=pair)
    cheap, dear = tier_budgets.render(intent, points, THOUGHTS, {}, 1024)
    # One second each is short at 4,096: the cheap one could save both, and saves all its three.
    assert cheap.budget_tokens == (1024, 1024, 1024, 8192)
    assert dear.budget_tokens == (1024, 4096, 8192, 8192)
    assert (cheap.dear, dear.dear) == (False, True)
    near = replace(pair[1], name="near", quality=pair[0].quality)
    alike = tier_budgets.render(replace(intent, tiers=(pair[0], near)), points, THOUGHTS, {}, 1024)
    assert not any(each.dear for each in alike)
    assert min(alike[1].budget_tokens[1:]) > 1024, "no more is saved than is short"


def test_a_dear_tier_of_which_nobody_comes_makes_nobody_save_more() -> None:
    made = tier_budgets.render(intent_with(FLAT, STEEP), CARRIED, THOUGHTS, {"flat": 9.0}, 1024)
    assert [each.budget_tokens for each in made] == [(1024, 2048, 4096)] * 2
    assert not any(each.dear for each in made)


def test_one_tier_alone_has_the_common_budget() -> None:
    (alone,) = tier_budgets.render(intent_with(STEEP), CARRIED, THOUGHTS, {}, 1024)
    assert alone.budget_tokens == (1024, 2048, 4096)


def test_a_floor_of_a_tier_holds_and_the_other_saves_what_it_can() -> None:
    spared = replace(FLAT, floor_tokens=2048)
    flat, steep = tier_budgets.render(intent_with(spared, STEEP), CARRIED, THOUGHTS, {}, 1024)
    assert flat.budget_tokens == (2048, 2048, 4096)
    assert steep.budget_tokens[0] == 1024
    assert 1024 < steep.budget_tokens[1] < 4096


def test_a_score_is_read_off_in_log_tokens_and_never_falls_with_more_thinking() -> None:
    overthinking = tier("t", (1024, 60.0), (4096, 80.0), (8192, 70.0))
    assert score_percent(overthinking, 2048) == pytest.approx(70.0)
    assert score_percent(overthinking, 8192) == score_percent(overthinking, 90_000) == 80.0
    assert score_percent(overthinking, 512) == pytest.approx(54.0)
    assert score_percent(overthinking, 0) == 0.0
    assert score_percent(tier("t", (0, 30.0), (1024, 60.0)), 0) == 30.0


def test_without_quality_the_rule_is_byte_for_byte_what_it_was() -> None:
    intent = intent_with()
    points = brownout.carried(intent, BOUNDS, THOUGHTS, 500.0, 100.0)
    assert tier_budgets.render(intent, points, THOUGHTS, {"flat": 5.0}, 1024) == ()
    rule = brownout.rule(intent, Allowance(), points, at(0), ())
    assert rule is not None
    assert set(rule.model_dump()) == {
        "floor_tokens", "carried", "wait_on_seconds", "drain_seconds", "cuts_allowed",
        "cuts_per_replica_second", "until",
    }  # fmt: skip
    assert "tiers" not in rule.model_dump_json(by_alias=True)


def test_before_anything_was_learnt_no_tier_is_told_apart() -> None:
    assert tier_budgets.render(intent_with(FLAT, STEEP), (), THOUGHTS, {}, 1024) == ()


@st.composite
def tiers(draw: st.DrawFn, name: str) -> Tier:
    budgets = sorted(draw(st.sets(st.integers(0, 20_000), min_size=2, max_size=6)))
    scores = draw(st.lists(st.floats(0, 100), min_size=len(budgets), max_size=len(budgets)))
    most = draw(st.integers(1, 16_000))
    return tier(
        name,
        *zip(budgets, scores, strict=True),
        most=most,
        floor=draw(st.integers(0, most)),
    )


@settings(max_examples=150, deadline=None)
@example(
    some=(
        tier("a", (0, 0.0), (1, 0.0), most=492),
        tier("b", (0, 0.0), (1, 0.0), most=2),
        tier("c", (0, 0.0), (1, 0.0), most=1),
    ),
    mean=168.0,
    floor=0,
    arrivals={"a": 1.0, "b": 4.5189610976248605e-94},
)
@given(
    some=st.tuples(tiers("a"), tiers("b"), tiers("c")),
    mean=st.floats(50, 8000),
    floor=st.integers(0, 4000),
    arrivals=st.dictionaries(st.sampled_from("abc"), st.floats(0, 1e4)),
)
def test_no_budget_is_under_the_floor_or_over_the_maximum_and_less_room_gives_no_tier_more(
    some: tuple[Tier, ...], mean: float, floor: int, arrivals: dict[str, float]
) -> None:
    intent = replace(make_intent(budget=Budget(max_tokens=16_000, floor_tokens=floor)), tiers=some)
    lengths = memoryless(mean)
    points = brownout.carried(intent, BOUNDS, lengths, 500.0, 100.0)
    for declared, made in zip(
        some, tier_budgets.render(intent, points, lengths, arrivals, floor), strict=True
    ):
        lowest = min(declared.max_tokens, max(declared.floor_tokens, floor))
        assert all(lowest <= tokens <= declared.max_tokens for tokens in made.budget_tokens)
        assert all(less <= more for less, more in pairwise(made.budget_tokens))
        assert len(made.budget_tokens) == len(made.lost_points) == len(points)
        assert all(0 <= lost <= 100 for lost in made.lost_points)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(0.5, 40), min_size=3, max_size=3),
    st.lists(st.floats(0.5, 40), min_size=3, max_size=3),
    st.floats(0.05, 0.95),
    st.integers(0, 2),
)
def test_where_no_tier_is_far_dearer_they_lose_no_more_than_under_a_common_budget(
    one: list[float], other: list[float], share: float, at_point: int
) -> None:
    points = tuple(
        Carried(budget_tokens=b, replica_seconds=r)
        for b, r in ((512, 1.0), (1024, 2.0), (2048, 3.0), (4096, 4.0))
    )
    falls = [sorted(one), sorted(other)]  # points lost by the first step down, the second, ...
    assume(all(sum(fall) <= 100 for fall in falls))
    cheapest, dearest = sorted(fall[0] for fall in falls)
    assume(dearest <= FAR_DEARER * cheapest)
    pair = [
        tier(name, (512, 100 - sum(f)), (1024, 100 - sum(f[:2])), (2048, 100 - f[0]), (4096, 100.0))
        for name, f in zip("ab", falls, strict=True)
    ]
    arrivals = {"a": share, "b": 1 - share}
    made = tier_budgets.render(intent_with(*pair, floor=512), points, THOUGHTS, arrivals, 512)
    weights = (share, 1 - share)

    def lost(budgets: list[int]) -> float:
        return sum(
            w * (100 - score_percent(each, b))
            for w, each, b in zip(weights, pair, budgets, strict=True)
        )

    chosen = lost([each.budget_tokens[at_point] for each in made])
    assert chosen <= lost([points[at_point].budget_tokens] * 2) + 0.05
