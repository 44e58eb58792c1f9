"""Which thoughts are closed this second: the limits of a brown-out on its own cuts. Gateway and
simulator share it.

`model.brownout` says from which age on thoughts are to be closed; this says how many of them now.
A closed thought goes on as a new prompt at its replica, so closing many at once would stall those
who answer: a replica closes at most `cuts_per_replica_second` of its thoughts a second. And every
cut is taken from the allowance that the directive brought; when that is used up nobody is cut until
the next one comes. The longest thoughts go first: they hold the most KV cache. Where tiers tell
their quality, those go first that lose the least expected score for each replica-second saved.
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

    __slots__ = ("_credits", "allowed", "per_replica_second")

    def __init__(self) -> None:
        self.allowed = 0
        """Cuts left under this directive."""
        self.per_replica_second = 0.0
        self._credits: dict[str, tuple[float, float]] = {}

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
        for thought in _in_order(thoughts, effective_tokens, terms):
            if self.allowed <= 0:
                break
            if self._take(thought.replica, now):
                self.allowed -= 1
                chosen.append(thought)
        return chosen

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
