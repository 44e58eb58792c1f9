"""Policies without eyes: a size that stands, or one that was planned.

A plan says when a replica must be *ready*, so it is ordered a boot ahead; one that is no longer
planned leaves when its plan ends, and drains.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from thinkscale.model.directive import Directive
from thinkscale.model.observation import Observation
from thinkscale.simulation.policy import Factory, Order, Policy
from thinkscale.simulation.scenario import Scenario

BOOT_DEVIATIONS = 2.0
"""Ordered so many deviations earlier than a mean boot: a plan is late for none of its replicas."""
LONGEST_SECONDS = 3600.0


class _Scheduled:
    """Sizes from given times on."""

    def __init__(
        self, times: Sequence[float], replicas: Sequence[int], directive: Directive | None
    ) -> None:
        self._times = times
        self._replicas = replicas
        self._directive = directive
        self._began: datetime | None = None

    def tick(self, observation: Observation, now: datetime) -> Order:
        """The size of now, and when the next one begins."""
        self._began = self._began or now
        second = (now - self._began).total_seconds()
        at = max(0, bisect_right(self._times, second + 1e-6) - 1)
        following = self._times[at + 1] - second if at + 1 < len(self._times) else LONGEST_SECONDS
        return Order(
            replicas=self._replicas[at],
            directive=self._directive,
            next_tick_seconds=max(0.001, following),
        )


def static(count: int) -> Factory:
    """So many replicas, always."""
    return scheduled((0.0,), (count,))


def scheduled(
    times: Sequence[float], replicas: Sequence[int], directive: Directive | None = None
) -> Factory:
    """`replicas[i]` are ready from `times[i]` on (ascending, from 0)."""

    def make(scenario: Scenario) -> Policy:
        ahead = scenario.boot.mean_seconds + BOOT_DEVIATIONS * scenario.boot.deviation_seconds
        moved = {0.0: int(replicas[0])}
        for i, (before, after) in enumerate(pairwise(replicas), start=1):
            at = float(times[i]) - (ahead if after > before else 0.0)
            moved[max(0.0, at)] = int(after)
        ordered = _largest_ahead(times, replicas, sorted(moved), ahead)
        return _Scheduled(sorted(moved), ordered, directive)

    return make


def _largest_ahead(
    times: Sequence[float], replicas: Sequence[int], moments: Sequence[float], ahead: float
) -> list[int]:
    """What must exist at each moment: the most that is planned between it and a boot later."""
    sizes = []
    for moment in moments:
        first = max(0, bisect_right(times, moment + 1e-6) - 1)
        last = bisect_right(times, moment + ahead + 1e-6)
        sizes.append(max(int(count) for count in replicas[first : max(last, first + 1)]))
    return sizes
