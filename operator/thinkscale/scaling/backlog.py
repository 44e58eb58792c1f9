"""The term that counts work instead of requests: the thinking backlog.

The backlog is the expected number of thinking tokens still to be produced, each request by its age
and bounded by its budget. In seconds it is divided by the capacity that answering leaves to the
ready fleet: seats - answering, each producing a token in the measured seconds per token. Never by
the present throughput, which rises with the load and hides it.

As a wish: a replica ordered now is there after the lead time, and whoever waits then must begin
within the slack, the tightest threshold on the first token or first answer. So all thinking that
can happen until then, of those in flight and of those who arrive meanwhile, must find seats. A
thought is one thread: more seats than requests make none faster, so a request counts with no more
tokens than it can think in that time. The term outbids occupancy where thinkers are old and
thoughts heavy-tailed: those seats do not become free when new requests come.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from thinkscale.model.intent import Indicator, Objective
from thinkscale.scaling.life_table import Survival

WAITING: Final = (Indicator.TIME_TO_FIRST_TOKEN, Indicator.TIME_TO_FIRST_ANSWER)
SLICES: Final = 4
"""Of the time ahead, to average over when an arrival comes."""


def slack_seconds(objectives: Iterable[Objective]) -> float | None:
    """How long a request may wait for its turn; None: no objective bounds the wait."""
    limits = [o.threshold_seconds for o in objectives if o.indicator in WAITING]
    return min(limits, default=None)


def seconds(
    tokens: float, replicas: int, seats_per_replica: int, answering: int, seconds_per_token: float
) -> float | None:
    """Seconds in which these replicas think `tokens`; None: no capacity is left for thinking.

    11,400 tokens on 3 replicas of 8 seats, 2 of them answering, at 30 ms: 11,400·0.03/22 = 15.5 s.
    """
    seats = replicas * seats_per_replica - answering
    return tokens * seconds_per_token / seats if seats > 0 else None


def tokens_ahead(
    survival: Survival,
    thinking_ages: Sequence[int],
    queued: int,
    arrivals_per_second: float,
    ahead_seconds: float,
    seconds_per_token: float,
) -> float:
    """Expected thinking tokens within the time ahead, if everybody has a seat at once.

    Mean 300 (no memory), 20 thinking, 10 queued, 2 arrivals a second, 28 s ahead at 30 ms, so at
    most 933 tokens each: 30 · 287 of those in flight and 56 · 210 of those to come are 20,400.
    """
    most = ahead_seconds / seconds_per_token
    tokens = survival.backlog_tokens(thinking_ages, queued, within=most)
    if arrivals_per_second <= 0:
        return tokens
    parts = [most * (i + 0.5) / SLICES for i in range(SLICES)]
    each = sum(survival.remaining(0, within=part) for part in parts) / SLICES
    return tokens + arrivals_per_second * ahead_seconds * each


def replicas_needed(
    tokens: float,
    ahead_seconds: float,
    seats_per_replica: int,
    answering: int,
    seconds_per_token: float,
) -> float:
    """Replicas, as a fraction, that think `tokens` in the time ahead beside those that answer.

    20,400 tokens in 28 s at 30 ms keep 21.9 seats busy; with 2 answering on 8 seats: 3.0 replicas.
    """
    busy_seats = tokens * seconds_per_token / ahead_seconds if ahead_seconds > 0 else 0.0
    return (busy_seats + answering) / seats_per_replica
