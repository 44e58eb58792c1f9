"""How late the emulated engine's steps end: the measure of whether a run on this machine counts.

Steps have absolute deadlines, so a late one does not delay those after it; but if the machine is
too busy for the profile, tokens come late and a measurement against the emulator says nothing. A
run is void when more than 1 % of its steps ended late by over a fifth of their length.
"""

from bisect import bisect_left
from itertools import accumulate
from typing import Final

LATE_SHARE: Final = 0.2
VOID_SHARE: Final = 0.01
ENOUGH_STEPS: Final = 100
"""Fewer say nothing about a 99th percentile."""
EDGES_SECONDS: Final = tuple(round(0.0001 * 1.25**i, 7) for i in range(52))
"""Upper edges, 0.1 ms to 9 s; the p99 is exact to a quarter."""


class Lag:
    """Lag of the steps so far."""

    def __init__(self) -> None:
        self.counts = [0] * (len(EDGES_SECONDS) + 1)
        self.sum_seconds = 0.0
        self._late = 0

    def add(self, lag_seconds: float, step_seconds: float) -> None:
        """One step ended; a timer that fires early counts as in time."""
        lag = max(0.0, lag_seconds)
        self.counts[bisect_left(EDGES_SECONDS, lag)] += 1
        self.sum_seconds += lag
        self._late += lag > LATE_SHARE * step_seconds

    @property
    def steps(self) -> int:
        """Steps measured."""
        return sum(self.counts)

    @property
    def p99_seconds(self) -> float:
        """Upper edge of the bin that holds the 99th percentile; 0 before the first step."""
        wanted = 0.99 * self.steps
        for edge, below in zip(EDGES_SECONDS, accumulate(self.counts), strict=False):
            if below >= wanted:
                return edge if self.steps else 0.0
        return float("inf")

    @property
    def void(self) -> bool:
        """The run does not count."""
        steps = self.steps
        return steps >= ENOUGH_STEPS and self._late > VOID_SHARE * steps
