"""Kubernetes' HorizontalPodAutoscaler, v2: proposals, tolerance, stabilisation, step policies.

Source: kubernetes/website, HPA page @01650250 (algorithm and defaults) and kubernetes/kubernetes,
`pkg/controller/podautoscaler/{replica_calculator,horizontal}.go` @00067268. Every 15 s each metric
proposes a size; the largest wins; a shrink is skipped while any metric is missing. The raw proposal
is what stabilisation remembers; then step policies, the most permissive of them, then the limits.
Other rivals act through this too, with their own behaviour.
"""

import math
from collections.abc import Sequence
from typing import Final

from thinkscale.model.intent import Behavior, StepPolicy

SYNC_SECONDS: Final = 15.0
TOLERANCE: Final = 0.1
UP: Final = Behavior(
    stabilization_window_seconds=0.0,
    policies=(
        StepPolicy(percent=100, period_seconds=15.0),
        StepPolicy(pods=4, period_seconds=15.0),
    ),
)
DOWN: Final = Behavior(
    stabilization_window_seconds=300.0, policies=(StepPolicy(percent=100, period_seconds=15.0),)
)


def pods_average(
    current: int,
    values: Sequence[float],
    target: float,
    *,
    missing: int = 0,
    pending: int = 0,
    tolerance: float = TOLERANCE,
) -> int | None:
    """A Pods metric, `AverageValue`: `ceil(mean / target * pods)`. None: no pod was read.

    Missing pods count as at the target when that shrinks, and as idle when it grows; pending ones
    as idle when it grows. If that turns the direction round, nothing is done. Three pods at 90 with
    a target of 60 ask for ceil(1.5 * 3) = 5; with two more that are pending it is 270 / 5 = 54,
    a ratio of 0.9, which is another direction: stay.
    """
    if not values:
        return None
    ratio = sum(values) / len(values) / target
    growing = pending > 0 and ratio > 1
    if not growing and missing == 0:
        within = abs(1 - ratio) <= tolerance
        return current if within else math.ceil(ratio * len(values))
    filled = [*values, *([target if ratio < 1 else 0.0] * missing)]
    if growing:
        filled += [0.0] * pending
    mended = sum(filled) / len(filled) / target
    if abs(1 - mended) <= tolerance or (mended - 1) * (ratio - 1) < 0:
        return current
    wanted = math.ceil(mended * len(filled))
    return current if (mended - 1) * (wanted - current) < 0 else wanted


def external_average(
    current: int, total: float, target: float, *, tolerance: float = TOLERANCE
) -> int:
    """An External metric, `AverageValue`: `ceil(total / target)`; readiness is not looked at.

    50 messages with a target of 30 from 1 replica: 2.
    """
    if current and abs(1 - total / (target * current)) <= tolerance:
        return current
    return math.ceil(total / target)


class Hpa:
    """The controller of one workload: what it recommended, and what it changed."""

    def __init__(self, least: int, most: int, *, up: Behavior = UP, down: Behavior = DOWN) -> None:
        self.least = least
        self.most = most
        self.up = up
        self.down = down
        self._recommended: list[tuple[float, int]] = []
        self._changes: list[tuple[float, int]] = []

    def step(self, now: float, current: int, proposals: Sequence[int | None]) -> int:
        """Replicas from now on. A proposal of None: that metric could not be read."""
        if current == 0 and self.least > 0:
            return 0  # scaled to zero by somebody: autoscaling is off
        if not self.least <= current <= self.most:
            return self._changed(now, current, max(self.least, min(self.most, current)))
        valid = [proposal for proposal in proposals if proposal is not None]
        if not valid:
            return current
        wanted = max(valid)
        if len(valid) < len(proposals) and wanted < current:
            return current
        wanted = self._stabilized(now, current, wanted)
        wanted = self._stepped(now, current, wanted)
        return self._changed(now, current, max(self.least, min(self.most, wanted)))

    def _stabilized(self, now: float, current: int, wanted: int) -> int:
        up_window = self.up.stabilization_window_seconds
        down_window = self.down.stabilization_window_seconds
        floor = min([wanted, *(r for t, r in self._recommended if t > now - up_window)])
        ceiling = max([wanted, *(r for t, r in self._recommended if t > now - down_window)])
        oldest = now - max(up_window, down_window)
        self._recommended = [(t, r) for t, r in self._recommended if t >= oldest]
        self._recommended.append((now, wanted))
        return min(max(current, floor), ceiling)

    def _stepped(self, now: float, current: int, wanted: int) -> int:
        if wanted > current and self.up.policies:
            return min(wanted, max(current, self._most_up(now, current)))
        if wanted < current and self.down.policies:
            return max(wanted, min(current, self._most_down(now, current)))
        return wanted

    def _most_up(self, now: float, current: int) -> int:
        limits = []
        for policy in self.up.policies:
            base = current - self._sum(now, policy.period_seconds, up=True)
            grown = base * (1 + (policy.percent or 0) / 100)
            limits.append(base + policy.pods if policy.pods is not None else math.ceil(grown))
        return max(limits)

    def _most_down(self, now: float, current: int) -> int:
        limits = []
        for policy in self.down.policies:
            base = current + self._sum(now, policy.period_seconds, up=False)
            left = base * (1 - (policy.percent or 0) / 100)
            limits.append(base - policy.pods if policy.pods is not None else int(left))
        return min(limits)

    def _sum(self, now: float, period_seconds: float, *, up: bool) -> int:
        """Replicas added, or removed, within the period."""
        within = [delta for t, delta in self._changes if t > now - period_seconds]
        return sum(abs(delta) for delta in within if (delta > 0) is up)

    def _changed(self, now: float, current: int, wanted: int) -> int:
        if wanted != current:
            periods = [p.period_seconds for p in (*self.up.policies, *self.down.policies)]
            oldest = now - max(periods, default=0.0)
            self._changes = [(t, d) for t, d in self._changes if t > oldest]
            self._changes.append((now, wanted - current))
        return wanted
