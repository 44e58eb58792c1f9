"""What a brown-out does to tiers whose quality is known: their budgets, and the price of each cut.

The law renders it, gateways and simulator look it up: beside each point of r(B) stands the budget
that each such tier has while that much is carried, and what closing a thought of that age costs in
expected score. All is interpolated in log tokens, like r(B) itself. A request of another tier, or
of none, has the common budget, and is taken to be worth what the known ones are worth on average:
nobody must be cut first only because nobody has measured him.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from thinkscale.model.signals import Wire

Price = Annotated[float, Field(ge=0)]


class TierBudgets(Wire):
    """One tier; each tuple has one entry for each point of `BrownoutRule.carried`."""

    name: str
    budget_tokens: tuple[Annotated[int, Field(ge=0)], ...]
    """Thoughts of the tier are closed at this age while the point is what is carried."""
    lost_points: tuple[Price, ...]
    """Percent points of score that a thought of the tier is expected to lose if it is closed at the
    age of the point.
    """
    points_per_second: tuple[Price, ...]
    """The same for each replica-second that closing it saves."""
    dear: bool = False
    """Far dearer than another tier: its thoughts are closed one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Between two neighbouring points of a table: `share` of the way from the first of them."""

    index: int
    share: float = 0.0

    def tokens(self, table: Sequence[int]) -> int:
        """There, interpolated in log tokens: half-way from 1,024 to 4,096 is 2,048."""
        if self.share <= 0 or self.index + 1 >= len(table):
            return table[self.index]
        low, high = (math.log(max(1, table[at])) for at in (self.index, self.index + 1))
        return round(math.exp(low + self.share * (high - low)))

    def value(self, table: Sequence[float]) -> float:
        """There, on a straight line."""
        if self.share <= 0 or self.index + 1 >= len(table):
            return table[self.index]
        return table[self.index] + self.share * (table[self.index + 1] - table[self.index])


def place_of(tokens: float, ages: Sequence[int]) -> Place:
    """Where this many tokens are among rising ages; before the first, or after the last: there."""
    at = bisect_right(ages, tokens) - 1
    if at < 0:
        return Place(index=0)
    if at + 1 >= len(ages):
        return Place(index=len(ages) - 1)
    low, high = math.log(max(1, ages[at])), math.log(max(1, ages[at + 1]))
    share = (math.log(max(1.0, tokens)) - low) / (high - low) if high > low else 0.0
    return Place(index=at, share=share)


@dataclass(frozen=True, slots=True, kw_only=True)
class TierTerms:
    """What is in force for the tiers at one second."""

    ages: tuple[int, ...] = ()
    tiers: tuple[TierBudgets, ...] = ()
    tokens: Mapping[str, int] = field(default_factory=dict)
    """Budget in force by tier."""
    dear_cuts_per_second: float = 0.0
    """Thoughts of dear tiers that may be closed in a second, of all replicas together."""

    def limit(self, tier: str, otherwise: int) -> int:
        """A thought of the tier is closed at this age; `otherwise`: the common budget."""
        return self.tokens.get(tier, otherwise)

    def is_dear(self, tier: str) -> bool:
        """Whether the tier is far dearer than another."""
        return any(known.name == tier and known.dear for known in self.tiers)

    def lost_points(self, tier: str, age_tokens: int) -> float:
        """Expected score that a thought closed at this age loses, percent points; 0: not known."""
        for known in self.tiers:
            if known.name == tier:
                return place_of(age_tokens, self.ages).value(known.lost_points)
        return 0.0

    def points_per_second(self, tier: str, age_tokens: int) -> float:
        """Expected score lost for each replica-second saved; who has no price has the mean one."""
        place = place_of(age_tokens, self.ages)
        prices = {known.name: place.value(known.points_per_second) for known in self.tiers}
        if not prices:
            return 0.0
        return prices.get(tier, sum(prices.values()) / len(prices))
