"""What the last minute of traffic says: the arrival rate, its trend, and the pace of a token.

Samples of the gateways' totals are kept at most every three seconds for 75 s, and totals between
two samples are interpolated, so that a law that ticks more often does not see other rates.

A trend is extrapolated only where it stands out of Poisson noise by two sigma: with 12 against 20
arrivals in two half windows the difference, 8, is below 2·sqrt(32) = 11.3, hence noise; with 20
against 45 it is 25 above 2·sqrt(65) = 16.1, hence a trend.
"""

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

from thinkscale.model.observation import MergedSignals

SPACING_SECONDS: Final = 3.0
KEPT_SECONDS: Final = 75.0
RATE_WINDOW_SECONDS: Final = 30.0
TREND_WINDOW_SECONDS: Final = 60.0
PACE_WINDOW_SECONDS: Final = 60.0
SHORTEST_SPAN_SECONDS: Final = 8.0
SHORTEST_TREND_SECONDS: Final = 30.0
FEWEST_TOKENS: Final = 64
TREND_TRUST: Final = 0.7
"""A trend is followed by this share of what it says: most of them end."""
TREND_SIGMAS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSample:
    """Totals of all gateways at one instant, and how busy the engines were up to it."""

    at: float
    arrivals: int
    tokens: int
    """Thinking and answer tokens produced."""
    active: int
    """Requests that were producing tokens at this instant."""
    active_seconds: float
    """Integral of `active` over time since the history began."""


Traffic: TypeAlias = tuple[TrafficSample, ...]


def observe(history: Traffic, at: float, signals: MergedSignals) -> Traffic:
    """The history with this reading added; a reading seen before changes nothing."""
    active = signals.phases.thinking + signals.phases.answering
    counters = signals.counters
    integral = 0.0
    if history:
        last = history[-1]
        gap = at - last.at
        if gap <= 0:
            return history
        if gap > KEPT_SECONDS or counters.arrivals < last.arrivals:
            history = ()
        else:
            integral = last.active_seconds + gap * (active + last.active) / 2
    sample = TrafficSample(
        at=at,
        arrivals=counters.arrivals,
        tokens=counters.thinking_tokens + counters.answer_tokens,
        active=active,
        active_seconds=round(integral, 3),
    )
    if len(history) >= 2 and history[-1].at - history[-2].at < SPACING_SECONDS:
        history = history[:-1]
    first = 0
    while first + 1 < len(history) and history[first + 1].at <= at - KEPT_SECONDS:
        first += 1
    return (*history[first:], sample)


def rate(history: Traffic) -> float | None:
    """Arrivals per second over the last 30 s; None while less than 8 s are known."""
    if not history:
        return None
    end = history[-1].at
    start = max(history[0].at, end - RATE_WINDOW_SECONDS)
    if end - start < SHORTEST_SPAN_SECONDS:
        return None
    return (_arrivals_at(history, end) - _arrivals_at(history, start)) / (end - start)


def projected_rate(history: Traffic, ahead_seconds: float) -> float | None:
    """Arrivals per second `ahead_seconds` from now, at most twice the present rate.

    With 20 and 45 arrivals in the two halves of the last minute the rate is 1.5/s and rises by
    (45 - 20)/30/30 = 0.028/s². The rate stands for the middle of its window, 15 s ago; at 20 s
    ahead it is 1.5 + 0.7·0.028·35 = 2.2/s.
    """
    now_rate = rate(history)
    if now_rate is None:
        return None
    end = history[-1].at
    half = min(TREND_WINDOW_SECONDS, end - history[0].at) / 2
    if half * 2 < SHORTEST_TREND_SECONDS:
        return now_rate
    middle = _arrivals_at(history, end - half)
    older = middle - _arrivals_at(history, end - 2 * half)
    newer = _arrivals_at(history, end) - middle
    if newer - older <= TREND_SIGMAS * math.sqrt(older + newer):
        return now_rate
    slope = (newer - older) / half / half
    centre = min(RATE_WINDOW_SECONDS, 2 * half) / 2
    return min(2 * now_rate, now_rate + TREND_TRUST * slope * (centre + ahead_seconds))


def seconds_per_token(history: Traffic) -> float | None:
    """Mean seconds that a request in an engine took per token, over the last minute.

    8 requests that were busy all of 60 s and produced 16,000 tokens: 480 / 16,000 = 0.03. None
    while fewer than 64 tokens were produced.
    """
    if not history:
        return None
    last = history[-1]
    first = next(s for s in history if s.at >= last.at - PACE_WINDOW_SECONDS)
    tokens = last.tokens - first.tokens
    busy = last.active_seconds - first.active_seconds
    if tokens < FEWEST_TOKENS or busy <= 0:
        return None
    return busy / tokens


def _arrivals_at(history: Traffic, at: float) -> float:
    """Total of arrivals at an instant inside the history, between samples by interpolation."""
    after = next(i for i, sample in enumerate(history) if sample.at >= at)
    if after == 0:
        return history[0].arrivals
    left, right = history[after - 1], history[after]
    share = (at - left.at) / (right.at - left.at)
    return left.arrivals + share * (right.arrivals - left.arrivals)
