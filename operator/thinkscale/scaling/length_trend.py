"""Whether outputs get longer: a damped trend of the logarithm of their mean.

The life table says how long outputs are, by what ended lately; when lengths drift, that lags by
some minutes, and a replica ordered now comes some minutes later still. The trend closes most of
that gap. It is damped and bounded: lengths are taken to grow by at most a ninth of a percent a
second, and to shrink by a fourth of that.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

SAMPLE_SECONDS: Final = 12.0
LONGEST_GAP_SECONDS: Final = 120.0
LEVEL_SECONDS: Final = 180.0
TREND_SECONDS: Final = 450.0
FASTEST_FALL: Final = -1 / 3600
FASTEST_RISE: Final = 1 / 900
TRUST: Final = 0.8
LAG_SECONDS: Final = 120.0
"""What the life table itself lags behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthTrend:
    """Holt's level and slope of ln(mean tokens), per second."""

    at: float | None = None
    level: float = 0.0
    slope: float = 0.0


def observe(trend: LengthTrend, at: float, mean_tokens: float) -> LengthTrend:
    """Add a mean; twelve seconds apart at least."""
    if mean_tokens <= 0:
        return trend
    seen = math.log(mean_tokens)
    if trend.at is None:
        return LengthTrend(at=at, level=round(seen, 6))
    elapsed = at - trend.at
    if elapsed < SAMPLE_SECONDS:
        return trend
    if elapsed > LONGEST_GAP_SECONDS:
        return replace(trend, at=at, level=round(seen, 6))
    follow = 1 - math.exp(-elapsed / LEVEL_SECONDS)
    turn = 1 - math.exp(-elapsed / TREND_SECONDS)
    expected = trend.level + trend.slope * elapsed
    level = expected + follow * (seen - expected)
    slope = trend.slope + turn * ((level - trend.level) / elapsed - trend.slope)
    return LengthTrend(at=at, level=round(level, 6), slope=round(slope, 9))


def stretch(trend: LengthTrend, horizon_seconds: float) -> float:
    """What lengths are to be multiplied by for the horizon.

    A slope of 1/2,600 (doubling in 30 minutes) and a horizon of 255 s: exp(.8·375/2,600) = 1.12.
    """
    slope = min(FASTEST_RISE, max(FASTEST_FALL, trend.slope))
    return math.exp(TRUST * slope * (horizon_seconds + LAG_SECONDS))
