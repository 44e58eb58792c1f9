"""The term that counts work instead of requests: the thinking backlog.

It is the expected number of thinking tokens still to be produced, divided by the capacity that
answering leaves to the fleet: seats × replicas - answering, each producing a token in the measured
seconds per token. Never by the present throughput, which rises with the load and hides it.

A full fleet where nobody waits has a backlog too: one thought met at random per seat, `residual`
tokens. Only what lies above it makes requests wait, and that must drain inside the slack: the
tightest threshold of the objectives on the first token or first answer.
"""

from collections.abc import Iterable

from thinkscale.model.intent import Indicator, Objective

WAITING = (Indicator.TIME_TO_FIRST_TOKEN, Indicator.TIME_TO_FIRST_ANSWER)


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


def replicas_needed(
    tokens: float,
    residual_tokens: float,
    slack: float,
    seats_per_replica: int,
    answering: int,
    seconds_per_token: float,
) -> float:
    """Replicas, as a fraction, for which the backlog above one thought per seat drains in `slack`.

    11,400 tokens, residual 300, slack 6 s, 30 ms, 8 seats, 2 answering: 342 seat-seconds in
    300·0.03 + 6 = 15 s are 22.8 seats; with the 2 that answer 24.8/8 = 3.1 replicas.
    """
    allowed_seconds = residual_tokens * seconds_per_token + slack
    seats = tokens * seconds_per_token / allowed_seconds if allowed_seconds > 0 else 0.0
    return (seats + answering) / seats_per_replica
