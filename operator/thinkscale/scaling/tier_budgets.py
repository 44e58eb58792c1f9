"""Where to withhold thinking: the budgets of tiers that tell their quality, for each point of r(B).

What the common budget would save on these tiers is saved all the same, but where it costs the least
expected score. A tier's menu is its budgets from the floor to its maximum, each with the seconds
that a request takes and the score that it loses; of the menu the lower convex hull is used, so the
price of the next second only rises. The cheapest pieces of all menus are taken first. Tiers that
tell nothing keep the common budget: nobody knows what they would lose.

What is short now is not known to the second, and arrivals come in waves. So where one tier is far
dearer than another, more is saved on the cheap one than is short, and the thoughts of the dear one
are closed one after the other (`model.cutting`): small fleets give up a quarter less by it.

A curve is of caps on all of a tier's requests, as a sweep measures it; what one cut costs follows
from the share of thoughts that get that far. All tiers share the one life table.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from thinkscale.model.brownout import Carried
from thinkscale.model.intent import Intent, Tier
from thinkscale.model.tier_budgets import Place, TierBudgets, place_of
from thinkscale.scaling.survival import Survival

LEAST_SHARE: Final = 0.001
"""Of thoughts that get so far: what is rarer is not told apart by a life table."""
MOST_POINTS: Final = 100.0
LEAST_SAVED: Final = 0.01
"""Of a request's seconds."""
ROUNDING: Final = 1 + 1e-9
LEAST_WEIGHT: Final = 1e-6
FAR_DEARER: Final = 4.0
"""Times the price of the cheapest first step down."""
AHEAD: Final = 8.0
"""Times what is short is saved where that is far cheaper than elsewhere. With 4 small fleets give
up as much, and a fifth more of their requests are late.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """One step down of one tier."""

    tier: int
    price: float
    """Points for each second saved."""
    seconds: float
    """Saved on one request of the tier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """A tier's budgets, rising, with what a request takes and scores under each."""

    weight: float
    budgets: tuple[int, ...]
    seconds: tuple[float, ...]
    scores: tuple[float, ...]

    def seconds_at(self, budget_tokens: float) -> float:
        """Under the nearest budget that the tier may have."""
        return place_of(budget_tokens, self.budgets).value(self.seconds)

    def budget_at(self, seconds: float) -> int:
        """The largest budget that takes no more."""
        reached = max(self.seconds[0], seconds) * ROUNDING
        at = bisect_right(self.seconds, reached) - 1
        if at + 1 >= len(self.seconds):
            return self.budgets[-1]
        rise = self.seconds[at + 1] - self.seconds[at]
        share = max(0.0, seconds - self.seconds[at]) / rise
        return Place(index=at, share=share).tokens(self.budgets)


def score_percent(tier: Tier, max_tokens: float) -> float:
    """What the tier scores under a maximum: between the points on a line in log tokens, never less
    than under a smaller one, and falling to 0 below the first.

    Points (1,024: 60) and (4,096: 80): 70 under 2,048, 80 under 8,192, 54 under 512.
    """
    best = 0.0
    points = [(0, 0.0)] if tier.quality[0].max_tokens > 0 else []
    for point in tier.quality:
        best = max(best, point.score_percent)
        points.append((point.max_tokens, best))
    ages = [tokens for tokens, _ in points]
    return place_of(max_tokens, ages).value([score for _, score in points])


def render(
    intent: Intent,
    carried: Sequence[Carried],
    thinking: Survival,
    arrivals: Mapping[str, float],
    floor_tokens: int,
) -> tuple[TierBudgets, ...]:
    """One entry for each tier that tells its quality. `arrivals`: of late, by tier; `floor_tokens`:
    the floor in force.

    Two tiers with half of the arrivals each and a maximum of 4,096; r(1,024) = 1, r(2,048) = 2,
    r(4,096) = 3. One scores 70, 79, 80 under these, the other 40, 60, 80. At a common 2,048 the two
    would save a second each. The first tier's seconds cost 1 and then 9 points, the other's 20 and
    20: the first saves both, with a budget of 1,024, and the other keeps its 4,096. That costs 10
    points on each of the one tier's requests, and not 1 and 20.
    """
    if not intent.tiers or not carried:
        return ()
    menus = [
        menu_of(carried, tier, _weight(tier, intent, arrivals), floor_tokens)
        for tier in intent.tiers
    ]
    pieces = _pieces(menus)
    dear = _dear(menus, pieces)
    cheap = min(dear.values(), default=-1.0) / FAR_DEARER
    columns = [_budgets(menus, pieces, point.budget_tokens, cheap) for point in carried]
    return tuple(
        TierBudgets(
            name=tier.name,
            budget_tokens=tuple(column[k] for column in columns),
            lost_points=tuple(_lost(menu, tier, p.budget_tokens, thinking) for p in carried),
            points_per_second=tuple(_price(menu, tier, p) for p in carried),
            dear=k in dear,
        )
        for k, (tier, menu) in enumerate(zip(intent.tiers, menus, strict=True))
    )


def _dear(menus: Sequence[Menu], pieces: Sequence[_Piece]) -> dict[int, float]:
    """The tiers that are far dearer than the cheapest of those that come, with the price of their
    first step down.
    """
    first: dict[int, float] = {}
    for piece in pieces:
        if menus[piece.tier].weight > 0:
            first.setdefault(piece.tier, piece.price)
    least = min(first.values(), default=0.0)
    return {tier: price for tier, price in first.items() if price > FAR_DEARER * least}


def _weight(tier: Tier, intent: Intent, arrivals: Mapping[str, float]) -> float:
    """Its share of the arrivals of such tiers; equal while nobody has come, 0 if next to none has:
    what rounding leaves over must not push it to its floor.
    """
    total = sum(arrivals.get(each.name, 0.0) for each in intent.tiers)
    if total <= 0:
        return 1 / len(intent.tiers)
    share = arrivals.get(tier.name, 0.0) / total
    return share if share >= LEAST_WEIGHT else 0.0


def menu_of(carried: Sequence[Carried], tier: Tier, weight: float, floor_tokens: int) -> Menu:
    """What load may choose from: the tier's budgets from its floor to its maximum."""
    ages = [point.budget_tokens for point in carried]
    table = [point.replica_seconds for point in carried]
    most = min(tier.max_tokens, ages[-1])
    least = min(most, max(tier.floor_tokens, floor_tokens))
    budgets = (*([least] if least < most else []), *(a for a in ages if least < a < most), most)
    return Menu(
        weight=weight,
        budgets=budgets,
        seconds=tuple(place_of(budget, ages).value(table) for budget in budgets),
        scores=tuple(score_percent(tier, budget) for budget in budgets),
    )


def _pieces(menus: Sequence[Menu]) -> list[_Piece]:
    """Of all menus, the cheapest first."""
    pieces = []
    for k, menu in enumerate(menus):
        hull = hull_of(menu)
        for (seconds, score), (fewer, lower) in pairwise(hull):
            saved = seconds - fewer
            pieces.append(_Piece(tier=k, price=(score - lower) / saved, seconds=saved))
    return sorted(pieces, key=lambda piece: piece.price)


def hull_of(menu: Menu) -> list[tuple[float, float]]:
    """Seconds and scores from the maximum down, without what is dearer than a mixture of others."""
    hull: list[tuple[float, float]] = []
    for seconds, score in zip(reversed(menu.seconds), reversed(menu.scores), strict=True):
        if hull and seconds >= hull[-1][0]:
            continue  # a smaller budget that saves nothing
        while len(hull) > 1 and _dearer(hull[-2], hull[-1], (seconds, score)):
            hull.pop()
        hull.append((seconds, score))
    return hull


def _dearer(
    one: tuple[float, float], middle: tuple[float, float], last: tuple[float, float]
) -> bool:
    """The step to the middle costs as much for each second as the whole way, or more."""
    return (one[1] - middle[1]) * (one[0] - last[0]) >= (one[1] - last[1]) * (one[0] - middle[0])


def _budgets(
    menus: Sequence[Menu], pieces: Sequence[_Piece], common_tokens: int, cheap: float
) -> list[int]:
    """Each tier's budget where the others have the common one. Pieces up to the price `cheap` are
    taken for more than is short.
    """
    left = [menu.seconds[-1] for menu in menus]
    short = sum(m.weight * (m.seconds[-1] - m.seconds_at(common_tokens)) for m in menus)
    ahead = (AHEAD - 1) * short
    for piece in pieces:
        weight = menus[piece.tier].weight
        wanted = short + (ahead if piece.price <= cheap else 0.0)
        if wanted <= 0:
            break
        if weight > 0:
            saved = min(wanted, weight * piece.seconds)
            left[piece.tier] -= saved / weight
            short -= saved
    # Nobody of a tier has come: there is nothing to trade, and it is treated like everybody.
    return [
        menu.budget_at(seconds)
        if menu.weight > 0
        else max(menu.budgets[0], min(menu.budgets[-1], common_tokens))
        for menu, seconds in zip(menus, left, strict=True)
    ]


def _loss(menu: Menu, tier: Tier, age_tokens: int) -> float:
    """Points that a request of the tier loses if all are closed at this age."""
    return max(0.0, menu.scores[-1] - score_percent(tier, age_tokens))


def _lost(menu: Menu, tier: Tier, age_tokens: int, thinking: Survival) -> float:
    """The same by those alone that get so far: what one cut costs."""
    share = max(LEAST_SHARE, thinking.longer_than(age_tokens))
    return _three_digits(min(MOST_POINTS, _loss(menu, tier, age_tokens) / share))


def _price(menu: Menu, tier: Tier, point: Carried) -> float:
    """Shares of thoughts that get so far cancel out: lost by all for each second saved on all."""
    most = menu.seconds[-1]
    saved = max(LEAST_SAVED * most, most - point.replica_seconds)
    return _three_digits(_loss(menu, tier, point.budget_tokens) / saved)


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")
