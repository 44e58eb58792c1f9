"""The gateway's part of a brown-out: what it sees, what is in force, and which thoughts it closes.

Once a second, and with every directive, the rule is evaluated with this gateway's own pressure;
while it is on, open thoughts of at least the effective budget are closed, within the limits of
`model.cutting`. A brown-out whose rule is taken away is over: a rule that comes later begins anew.
It ends by itself: when nobody fresh waits any more, or at the directive's `until`, since an
operator that is gone must not leave it on. Sans-I/O; instants are the caller's.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypeVar

from thinkscale.model.brownout import (
    ARRIVALS_SECONDS,
    Brownout,
    BrownoutRule,
    Pressure,
    evaluate,
    terms,
)
from thinkscale.model.cutting import CutLimits, Thought

T = TypeVar("T")


class ArrivalRate:
    """Requests a second over the last ten seconds, from a counter that is looked at now and
    then.
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def per_second(self, arrivals: int, now: float) -> float:
        """Look at the counter. The first look knows no time before it: 0."""
        self._seen.append((now, arrivals))
        while len(self._seen) > 2 and self._seen[1][0] <= now - ARRIVALS_SECONDS:
            self._seen.popleft()
        since, before = self._seen[0]
        return (arrivals - before) / (now - since) if now > since else 0.0


class BrownoutControl:
    """The rule in force, and its state."""

    def __init__(self) -> None:
        self._rule: BrownoutRule | None = None
        self._state = Brownout()
        self._limits = CutLimits()

    @property
    def on(self) -> bool:
        """Fresh requests waited too long, and the rule is allowed."""
        return self._state.last_on is not None

    @property
    def effective_tokens(self) -> int | None:
        """Thoughts of this age are closed; None: nobody's is."""
        return self._state.effective_tokens

    @property
    def tokens_by_tier(self) -> Mapping[str, int]:
        """The same where a tier has a budget of its own; empty while nobody's thought is closed."""
        return self._state.tokens_by_tier

    def direct(self, rule: BrownoutRule | None, gateways: int) -> None:
        """A directive arrived: what it allows counts from now on."""
        self._rule = rule
        if rule is None:
            self._state = Brownout()
        self._limits.renew(
            cuts_allowed=rule.cuts_allowed if rule else 0,
            per_replica_second=rule.cuts_per_replica_second if rule else 0.0,
            gateways=gateways,
        )

    def look(self, pressure: Pressure, now: float, date: datetime) -> None:
        """Evaluate the rule. `now`: on the monotonic clock, `date`: in the world."""
        expired = self._rule is not None and date >= self._rule.until
        self._state = evaluate(self._rule, self._state, pressure, now, expired=expired)

    def choose(self, thoughts: Iterable[Thought[T]], now: float) -> list[Thought[T]]:
        """Of these open thoughts, the ones to close now."""
        effective = self._state.effective_tokens
        if effective is None:
            return []
        return self._limits.choose(thoughts, effective, now, terms(self._rule, self._state))

    def limit_tokens(self, tier: str) -> int | None:
        """Thoughts of this tier are closed at this age; None: nobody's is."""
        return self._state.tokens_by_tier.get(tier, self._state.effective_tokens)

    def lost_points(self, thought: Thought[T]) -> float:
        """Expected score that closing it now costs, percent points; 0 where nobody knows."""
        known = terms(self._rule, self._state)
        return known.lost_points(thought.tier, thought.age_tokens) if known else 0.0

    def locate(self, replicas: Iterable[str]) -> None:
        """The fleet changed."""
        self._limits.forget(replicas)
