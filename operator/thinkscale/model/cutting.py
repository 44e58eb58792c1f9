"""Which thoughts are closed this second: the limits of a brown-out on its own cuts. Gateway and
simulator share it.

`model.brownout` says from which age on thoughts are to be closed; this says how many of them now.
A closed thought goes on as a new prompt at its replica, so closing many at once would stall those
who answer: a replica closes at most `cuts_per_replica_second` of its thoughts a second. And every
cut is taken from the allowance that the directive brought; when that is used up nobody is cut until
the next one comes. The longest thoughts go first: they hold the most KV cache. Where tiers tell
their quality, those go first that lose the least expected score for each replica-second saved; of
a tier that is far dearer than another a few are closed each second, and then one looks again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from thinkscale.model.tier_budgets import TierTerms

T = TypeVar("T")

_EARLY: Final = 0.01
"""A timer of one second may come that much early and still find its cut."""


@dataclass(frozen=True, slots=True)
class Thought(Generic[T]):
    """An open thought that can be closed so that its answer follows."""

    item: T
    """The caller's handle."""
    replica: str
    age_tokens: int
    """Thinking tokens so far."""
    tier: str = ""
    """Empty: none."""


class CutLimits:
    """What may still be cut. Instants are seconds on the caller's clock."""

    __slots__ = ("_credits", "_dear", "allowed", "per_replica_second")

    def __init__(self) -> None:
        self.allowed = 0
        """Cuts left under this directive."""
        self.per_replica_second = 0.0
        self._credits: dict[str, tuple[float, float]] = {}
        self._dear: tuple[float, float] | None = None
        """Credit for dear tiers, and since when."""

    def renew(self, *, cuts_allowed: int, per_replica_second: float, gateways: int = 1) -> None:
        """A directive arrived: its limits, of which one gateway of several has its share.

        5 cuts for 2 gateways are 2 each: together they never cut more than is allowed.
        """
        self.allowed = cuts_allowed // gateways
        self.per_replica_second = per_replica_second / gateways

    def choose(
        self,
        thoughts: Iterable[Thought[T]],
        effective_tokens: int,
        now: float,
        terms: TierTerms | None = None,
    ) -> list[Thought[T]]:
        """Those to be closed now, in their order; they are counted as cut. `terms`: what is in
        force for tiers that tell their quality; None: there is no such tier.
        """
        chosen: list[Thought[T]] = []
        if self.allowed <= 0:
            return chosen
        dear_left = self._dear_credit(terms.dear_cuts_per_second, now) if terms else 0.0
        for thought in _in_order(thoughts, effective_tokens, terms):
            if self.allowed <= 0:
                break
            is_dear = terms is not None and terms.is_dear(thought.tier)
            if is_dear and dear_left < 1 - _EARLY:
                continue
            if self._take(thought.replica, now):
                self.allowed -= 1
                dear_left -= is_dear
                chosen.append(thought)
        if terms:
            self._dear = (dear_left, now)
        return chosen

    def _dear_credit(self, per_second: float, now: float) -> float:
        """A second's worth and one more at first, and at most."""
        most = 1.0 + per_second
        credit, since = self._dear or (most, now)
        return max(0.0, min(most, credit + per_second * (now - since)))

    def _take(self, replica: str, now: float) -> bool:
        rate = self.per_replica_second
        if rate <= 0:
            return False
        most = max(1.0, rate)
        credit, since = self._credits.get(replica, (most, now))
        credit = min(most, credit + rate * (now - since))
        enough = credit >= 1 - _EARLY
        self._credits[replica] = (max(0.0, credit - 1) if enough else credit, now)
        return enough

    def forget(self, replicas: Iterable[str]) -> None:
        """Keep nothing of replicas but these."""
        known = set(replicas)
        self._credits = {name: left for name, left in self._credits.items() if name in known}


def _in_order(
    thoughts: Iterable[Thought[T]], effective_tokens: int, terms: TierTerms | None
) -> list[Thought[T]]:
    """Those that are old enough, first whom to close first."""
    if terms is None:
        old_enough = [t for t in thoughts if t.age_tokens >= effective_tokens]
        return sorted(old_enough, key=lambda t: -t.age_tokens)
    limit, price = terms.limit, terms.points_per_second
    old_enough = [t for t in thoughts if t.age_tokens >= limit(t.tier, effective_tokens)]
    return sorted(old_enough, key=lambda t: (price(t.tier, t.age_tokens), -t.age_tokens))
