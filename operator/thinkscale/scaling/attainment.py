"""What share of the requests met each SLO, over the SLO's window.

The gateways count good and bad since their boot; the law keeps what happened in each sixteenth
of the window, in its state, so that a restart of the operator does not forget an hour. When the
totals begin anew (another epoch) they are a new baseline, never a negative count.

A request in flight past its limit is a miss *now*, before it ends: it is added to the misses each
time the share is asked for, and never stored.
"""

from dataclasses import dataclass
from typing import Final

from thinkscale.model.signals import SloCounts

BUCKETS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SloHistory:
    """Outcomes by time; a bucket is (its number since 1970, good, bad)."""

    window_seconds: float
    counted_good: int
    counted_bad: int
    buckets: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Requests that met the SLO and that did not."""

    good: int
    bad: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.good + self.bad

    @property
    def attained(self) -> float | None:
        """Share that met it; None while there was no request."""
        return self.good / self.total if self.total else None


def observe(
    history: SloHistory | None, now: float, counts: SloCounts, window_seconds: float
) -> SloHistory:
    """Add the outcomes since the last reading to the bucket of now."""
    if history is None or history.window_seconds != window_seconds:
        return SloHistory(
            window_seconds=window_seconds, counted_good=counts.good, counted_bad=counts.bad
        )
    good = max(0, counts.good - history.counted_good)
    bad = max(0, counts.bad - history.counted_bad)
    width = window_seconds / BUCKETS
    current = int(now / width)
    buckets = [b for b in history.buckets if b[0] >= current - BUCKETS]
    if good or bad:
        if buckets and buckets[-1][0] >= current:
            at, old_good, old_bad = buckets[-1]
            buckets[-1] = (at, old_good + good, old_bad + bad)
        else:
            buckets.append((current, good, bad))
    return SloHistory(
        window_seconds=window_seconds,
        counted_good=counts.good,
        counted_bad=counts.bad,
        buckets=tuple(buckets),
    )


def rebased(history: SloHistory, counts: SloCounts) -> SloHistory:
    """Keep the buckets, and count from these totals on."""
    return SloHistory(
        window_seconds=history.window_seconds,
        counted_good=counts.good,
        counted_bad=counts.bad,
        buckets=history.buckets,
    )


def whole(history: SloHistory, now: float, overdue: int) -> Outcomes:
    """Outcomes over the SLO's window."""
    first = int(now / history.window_seconds * BUCKETS) - BUCKETS
    kept = [bucket for bucket in history.buckets if bucket[0] >= first]
    return Outcomes(good=sum(b[1] for b in kept), bad=sum(b[2] for b in kept) + overdue)
