"""How many requests come: a discounted rate, a change-point test that resets it, a damped trend.

A long memory is quiet, and late after a jump; so whenever the last one to eight samples are not
explained by what came before them, everything before is forgotten. The test is a likelihood ratio
against the older rate, divided by the square of the dispersion, which is learnt: once because the
variance is so much larger, once more because clumps have a heavier tail than their variance says.

Samples are at least twelve seconds long however often the law ticks, and all of this is per elapsed
second. The time constants are those of a fleet whose replicas take four minutes to start; they
shrink with the horizon, since what a quick fleet must foresee is near.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

SAMPLE_SECONDS: Final = 12.0
LONGEST_GAP_SECONDS: Final = 120.0
"""After which nothing is known of what came in between."""
KEPT: Final = 8
USUAL_HORIZON_SECONDS: Final = 255.0
HALF_LIFE_SECONDS: Final = 150.0
LEVEL_SECONDS: Final = 300.0
TREND_SECONDS: Final = 900.0
TREND_TRUST: Final = 0.7
"""A trend is followed by this share of what it says: most of them end."""
FALL_SECONDS: Final = 1200.0
RISE_SECONDS: Final = 600.0
"""A trend falls by at most the rate over the first in a second, and rises by that over the second.
"""
THRESHOLD: Final = 8.0
"""Noise without clumps passes it some four times a day; forgetting costs little then."""
JUMP_RATIO: Final = 1.15
DISPERSION_SHARE: Final = 0.005
MOST_SURPRISE: Final = 16.0
"""A sample counts for the dispersion as at most four sigma."""
REFERENCE_SECONDS: Final = 20.0
"""With less behind it, a rate is no reference to test against. The past of a quick fleet never
counts for so much, so this shrinks with the half-life.
"""
HALF_AN_ARRIVAL: Final = 0.5
"""None at all in the reference is taken for this."""
KNOWN_SECONDS: Final = 8.0
"""With less behind it, a rate is not known at all."""

Sample = tuple[float, float]
"""Seconds, and arrivals within them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """What is known. `base_*`: discounted totals of all that is older than the samples."""

    at: float | None = None
    """When the open sample began."""
    counted: int = 0
    """Total of arrivals then."""
    open: Sample = (0.0, 0.0)
    """Since then."""
    samples: tuple[Sample, ...] = ()
    """The oldest first."""
    half_life_seconds: float = HALF_LIFE_SECONDS
    base_seconds: float = 0.0
    base_count: float = 0.0
    dispersion: float = 1.0
    level: float | None = None
    """Holt's, requests per second."""
    trend: float = 0.0
    """Requests per second, per second."""
    jumped_at: float | None = None
    """When the rate last jumped up."""


def time_scale(horizon_seconds: float) -> float:
    """Share of the usual time constants for a fleet with this horizon: a tenth to all of them."""
    return min(1.0, max(0.1, horizon_seconds / USUAL_HORIZON_SECONDS))


def observe(known: Arrivals, at: float, total: int, horizon_seconds: float) -> Arrivals:
    """Add a reading of the total of arrivals."""
    if known.at is None:
        return replace(known, at=at, counted=total, open=(0.0, 0.0))
    elapsed = at - known.at
    if elapsed <= 0:
        return known
    if total < known.counted or elapsed > LONGEST_GAP_SECONDS:
        return replace(known, at=at, counted=total, open=(0.0, 0.0))
    sample = (round(elapsed, 3), float(total - known.counted))
    half_life = round(HALF_LIFE_SECONDS * time_scale(horizon_seconds), 1)
    known = replace(known, half_life_seconds=half_life)
    if elapsed < SAMPLE_SECONDS:
        return _tested(replace(known, open=sample), at)
    known = _tested(_closed(known, sample), at)
    return replace(known, at=at, counted=total, open=(0.0, 0.0))


def rebased(known: Arrivals, at: float, total: int) -> Arrivals:
    """Keep what was learnt, and count from this total on."""
    return replace(known, at=at, counted=total, open=(0.0, 0.0))


def rate(known: Arrivals) -> float | None:
    """Requests per second now; None while less than eight seconds are known.

    150 s ago 600 requests in 100 s, and 100 in the 15 s of the last sample: discounted by half
    that is (300 + 100)/(50 + 15) = 6.2.
    """
    seconds, count = _discounted(known)
    return count / seconds if seconds >= KNOWN_SECONDS else None


def relative_variance(known: Arrivals) -> float:
    """Of the rate, by how many arrivals it is known: after 48 of dispersion 1, 1/48."""
    _, count = _discounted(known)
    return max(1.0, known.dispersion) / max(1.0, count)


def forecast(known: Arrivals, ahead_seconds: float) -> float | None:
    """Requests per second so far ahead, by a share of the trend.

    8 a second, rising by 0.01 a second each second, 200 s ahead: 8 + .7·.01·200 = 9.4. It never
    rises by more than a 600th of the rate a second, nor falls by more than a 1,200th.
    """
    now = rate(known)
    if now is None:
        return None
    trend = min(now / RISE_SECONDS, max(-now / FALL_SECONDS, known.trend))
    return max(0.0, now + TREND_TRUST * trend * ahead_seconds)


def surprise(count: float, expected: float, dispersion: float) -> float:
    """Log likelihood ratio of a count against the one expected, over the squared dispersion.

    225 instead of 45: 225·ln 5 - 180 = 182, and 11.4 where the dispersion is 4. 60 instead of 45:
    17.3 - 15 = 2.3.
    """
    ratio = count * math.log(count / expected) if count > 0 else 0.0
    return (ratio - (count - expected)) / max(1.0, dispersion) ** 2


def _closed(known: Arrivals, sample: Sample) -> Arrivals:
    """The open sample becomes the last of the kept ones; the oldest joins the base."""
    elapsed, count = sample
    keep = 0.5 ** (elapsed / known.half_life_seconds)
    before = rate(replace(known, open=(0.0, 0.0)))
    base_seconds, base_count = known.base_seconds * keep, known.base_count * keep
    samples = [*known.samples, sample]
    if len(samples) > KEPT:
        oldest, weight = samples[0], _weights(known, samples)[0]
        base_seconds += weight * oldest[0]
        base_count += weight * oldest[1]
        samples = samples[1:]
    dispersion = known.dispersion
    if before:
        expected = before * elapsed
        seen = min(MOST_SURPRISE, (count - expected) ** 2 / expected)
        dispersion += DISPERSION_SHARE * (seen - dispersion)
    level, trend = _holt(known, count / elapsed, elapsed)
    return replace(
        known,
        open=(0.0, 0.0),
        samples=tuple(samples),
        base_seconds=round(base_seconds, 4),
        base_count=round(base_count, 4),
        dispersion=round(dispersion, 5),
        level=round(level, 6),
        trend=round(trend, 9),
    )


def _holt(known: Arrivals, seen: float, elapsed: float) -> tuple[float, float]:
    if known.level is None:
        return seen, 0.0
    scale = known.half_life_seconds / HALF_LIFE_SECONDS
    follow = 1 - math.exp(-elapsed / (LEVEL_SECONDS * scale))
    turn = 1 - math.exp(-elapsed / (TREND_SECONDS * scale))
    expected = known.level + known.trend * elapsed
    level = expected + follow * (seen - expected)
    trend = known.trend + turn * ((level - known.level) / elapsed - known.trend)
    return level, trend


def _tested(known: Arrivals, at: float) -> Arrivals:
    """Forget all that is older than a change, if there was one: of the last one to eight samples
    the number that surprises most.
    """
    samples = _samples(known)
    weights = _weights(known, samples)
    best, surprising, before = 0, THRESHOLD, 0.0
    seconds, count = _discounted(known)
    recent_seconds = recent_count = 0.0
    enough = REFERENCE_SECONDS * known.half_life_seconds / HALF_LIFE_SECONDS
    for k in range(1, min(KEPT, len(samples)) + 1):
        sample, weight = samples[-k], weights[-k]
        recent_seconds, recent_count = recent_seconds + sample[0], recent_count + sample[1]
        seconds, count = seconds - weight * sample[0], count - weight * sample[1]
        if seconds < enough:
            break
        reference = (count + HALF_AN_ARRIVAL) / seconds
        found = surprise(recent_count, reference * recent_seconds, known.dispersion)
        if found > surprising:
            best, surprising, before = k, found, reference
    return known if best == 0 else _reset(known, samples[-best:], before, at)


def _reset(known: Arrivals, kept: list[Sample], before: float, at: float) -> Arrivals:
    now = sum(c for _, c in kept) / sum(s for s, _ in kept)
    return replace(
        known,
        samples=tuple(kept[:-1] if known.open[0] > 0 else kept),
        base_seconds=0.0,
        base_count=0.0,
        level=round(now, 6),
        trend=0.0,
        jumped_at=at if now > JUMP_RATIO * before else known.jumped_at,
    )


def _discounted(known: Arrivals) -> Sample:
    """Seconds and arrivals that still count."""
    samples = _samples(known)
    weights = _weights(known, samples)
    seconds = known.base_seconds + sum(w * s for w, (s, _) in zip(weights, samples, strict=True))
    count = known.base_count + sum(w * c for w, (_, c) in zip(weights, samples, strict=True))
    return seconds, count


def _samples(known: Arrivals) -> list[Sample]:
    """The kept ones, and the open one if it has begun."""
    return [*known.samples, *([known.open] if known.open[0] > 0 else [])]


def _weights(known: Arrivals, samples: list[Sample]) -> list[float]:
    """What each sample still counts, by the time since its end. The base is as old as the last
    closed one.
    """
    weights, age = [], 0.0
    for seconds, _ in reversed(samples):
        weights.append(0.5 ** (age / known.half_life_seconds))
        age += seconds
    return weights[::-1]
