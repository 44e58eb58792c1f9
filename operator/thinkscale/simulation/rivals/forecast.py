"""Dynamo's Kalman predictor: a local linear trend, one value an interval.

Source: ai-dynamo/dynamo, `components/src/dynamo/planner/core/load/predictors.py` @260b6ae9,
defaults of `config/defaults.py` @1ca60155: process noise 1 for the level and 0.1 for the trend,
measurement noise 10, initial variance 1,000. Before the fifth point it repeats the last one.
"""

from typing import Final

LEVEL_NOISE: Final = 1.0
TREND_NOISE: Final = 0.1
MEASUREMENT_NOISE: Final = 10.0
INITIAL_VARIANCE: Final = 1000.0
FEWEST_POINTS: Final = 5


class LocalTrend:
    """Level and trend with their covariance."""

    def __init__(self) -> None:
        self._level = 0.0
        self._trend = 0.0
        self._variance = (INITIAL_VARIANCE, 0.0, INITIAL_VARIANCE)
        """Of the level, between both, of the trend."""
        self._points = 0
        self._last = 0.0

    def observe(self, value: float) -> None:
        """One interval's value.

        The first one, 100: the level's variance before it is 1,000 + 1,000 + 1 = 2,001, the gain
        2,001 / 2,011 = 0.995, so the level becomes 99.5 and the trend 100 * 1,000 / 2,011 = 49.7.
        """
        level, both, trend = self._variance
        expected = self._level + self._trend
        level, both, trend = level + 2 * both + trend + LEVEL_NOISE, both + trend, trend
        trend += TREND_NOISE
        total = level + MEASUREMENT_NOISE
        gain_level, gain_trend = level / total, both / total
        surprise = value - expected
        self._level = expected + gain_level * surprise
        self._trend += gain_trend * surprise
        self._variance = (
            (1 - gain_level) * level,
            (1 - gain_level) * both,
            trend - gain_trend * both,
        )
        self._points += 1
        self._last = value

    def forecast(self) -> float:
        """The next interval's value, never negative."""
        if self._points < FEWEST_POINTS:
            return self._last
        return max(0.0, self._level + self._trend)
