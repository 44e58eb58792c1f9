"""The term that sizes the fleet: requests in flight when a replica ordered now could help.

Everything accepted and unfinished counts, answering included, each by the chance that it is still
there: those in flight by their age, those queued as new ones, and those who come until then. What
each survives is a matter of the lengths alone, as long as the fleet is large enough (M/G/∞).

There are two wishes. The one to grow looks at the horizon; the one to shrink must hold now, halfway
and at the horizon, with more safety: a size between the two is kept.

How much safety the objectives themselves ask for is a third number: so many replicas that no more
are late than half of those who may be, where waiting within the slack is not being late. A large
fleet with a long slack has that anyway; a small one, or one with a short slack, has not. Half a
replica is not worth one elsewhere; here it is, once more would be late than may be.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from thinkscale.scaling.capacity import Design
from thinkscale.scaling.survival import Survival, middle

GROW_SIGMAS: Final = 1.0
SHRINK_SIGMAS: Final = 1.4
LATE_SHARE: Final = 0.5
"""Of those whom the objective lets be late, the share that chance alone may take."""
ALL_LATE: Final = 1.0
"""The share that it takes with a fleet that is just too small."""
MOST_WAITING: Final = 0.5
"""Share of those in flight that the slack may be worth: a queue longer than that is no buffer."""
MOST_HYSTERESIS: Final = 0.5
HYSTERESIS_SHARE: Final = 0.1
"""Of the replicas needed: under five, the dead zone about a whole number shrinks with the fleet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """Requests by how far they are."""

    output_ages: Sequence[int]
    """By age bin of all their output tokens."""
    queued: int
    unknown: int = 0
    """Running, at no known age."""

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.output_ages) + self.queued + self.unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Requests in flight at an instant ahead, as they would be in a fleet that is large enough."""

    mean: float
    variance: float
    clumped: float = 0.0
    """What of the variance comes of arrivals in clumps."""

    def bound(self, sigmas: float) -> float:
        """The mean and so many standard deviations."""
        return self.mean + sigmas * math.sqrt(self.variance)

    def late_share(self, room: float) -> float:
        """P(more than `room` are in flight), by a normal tail.

        Mean 100, variance 100, room for 120: two sigma, 2.3 %.
        """
        if self.variance <= 0:
            return float(self.mean > room)
        return 0.5 * math.erfc((room - self.mean) / math.sqrt(2 * self.variance))


def project(
    in_flight: InFlight,
    outputs: Survival,
    token_seconds: float,
    arrivals_per_second: float,
    ahead_seconds: float,
    dispersion: float,
    rate_variance: float = 0.0,
) -> Projection:
    """In flight after `ahead_seconds`. `rate_variance`: of the rate, relative to its square.

    A hazard of 1/300 per token at 30 ms each, so e-folding in 9 s: of 10 running 10·e^(-9/9) = 3.7
    are left, and of 2 arrivals a second 2·.03·300·(1 - 1/e) = 11.4 are there: 15.1. If the rate is
    known from 100 arrivals, its relative variance of .01 adds 11.4²·.01 = 1.3 to the variance.
    """
    tokens = ahead_seconds / token_seconds
    new = outputs.survives(0.0, tokens)
    mean, variance = in_flight.queued * new, in_flight.queued * new * (1 - new)
    for j, count in enumerate(in_flight.output_ages):
        if count:
            stays = outputs.survives(middle(j), tokens)
            mean += count * stays
            variance += count * stays * (1 - stays)
    if in_flight.unknown and outputs.mean > 0:
        stays = 1 - outputs.mean_within(tokens) / outputs.mean
        mean += in_flight.unknown * stays
        variance += in_flight.unknown * stays * (1 - stays)
    come = arrivals_per_second * token_seconds * outputs.mean_within(tokens)
    arriving = max(1.0, dispersion) * come + rate_variance * come**2
    clumped = arriving * (1 - 1 / max(1.0, dispersion))
    return Projection(mean=mean + come, variance=variance + arriving, clumped=clumped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What the strictest of the waiting objectives says."""

    slack_seconds: float
    objective: float

    def room(
        self, ahead: Projection, arrivals_per_second: float, late_share: float = LATE_SHARE
    ) -> float:
        """Seats with which few enough are late; those who wait within the slack need none. Clumps
        are left to the queue and to the margin: standing by for them costs more than they do.

        99 % within 3 s, 4 a second, 183 in flight with a variance of 183: half of 1 % is 2.58
        sigma, 35, and 12 may wait: 206.
        """
        sigmas = NormalDist().inv_cdf(1.0 - late_share * (1.0 - self.objective))
        may_wait = min(arrivals_per_second * self.slack_seconds, MOST_WAITING * ahead.mean)
        return ahead.mean + sigmas * math.sqrt(ahead.variance - ahead.clumped) - may_wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Replicas, as fractions, and what is expected at the horizon."""

    up: float
    down: float
    ahead: Projection
    punctual: float = 0.0
    """So that few enough are late by chance."""
    least: float = 0.0
    """With fewer, chance alone breaks an objective: rounded up, whatever the hysteresis says."""


def need(
    in_flight: InFlight,
    outputs: Survival,
    point: Design,
    arrivals_per_second: Sequence[float],
    horizon_seconds: float,
    dispersion: float,
    rate_variance: float = 0.0,
    promise: Promise | None = None,
) -> Need:
    """The wishes; arrivals as forecast for now, halfway and the horizon.

    `point.token_seconds` must be known. 15 expected at the horizon with a variance of 16 on
    replicas of 8: (15 + 4)/8 = 2.4 to grow.
    """
    assert point.token_seconds is not None
    seconds = point.token_seconds
    now, half, ahead = (
        project(
            in_flight, outputs, seconds, rate, horizon_seconds * share, dispersion, rate_variance
        )
        for rate, share in zip(arrivals_per_second, (0.0, 0.5, 1.0), strict=True)
    )
    up = ahead.bound(GROW_SIGMAS) / point.batch
    down = max(p.bound(SHRINK_SIGMAS) for p in (now, half, ahead)) / point.batch
    room = promise.room(ahead, arrivals_per_second[-1]) if promise else 0.0
    least = promise.room(ahead, arrivals_per_second[-1], ALL_LATE) if promise else 0.0
    return Need(
        up=up,
        down=max(up, down),
        ahead=ahead,
        punctual=max(0.0, room / point.batch),
        least=max(0.0, least / point.batch),
    )


def hysteresis(replicas: float) -> float:
    """How far around a whole number nothing is changed: half a replica for large fleets."""
    return min(MOST_HYSTERESIS, HYSTERESIS_SHARE * replicas)


def to_grow_to(replicas: float) -> int:
    """12.4 replicas: 12, half a replica is not worth one. 1.4: 2, that would be much."""
    return max(0, math.ceil(replicas - hysteresis(replicas) - 1e-9))


def to_shrink_to(replicas: float) -> int:
    """11.4 replicas: 12. 11.6: 13, what is left must carry all with half a replica to spare."""
    return max(0, math.ceil(replicas + hysteresis(replicas) - 1e-9))
