"""The 95th percentile of the time to the first answer token over the last minute, for people.

The gateways' histogram counts since boot; the law keeps a copy of it every ten seconds for a
minute, and reads the percentile from the difference. It steers nothing: a latency quantile fires
after the damage.
"""

from typing import Final, TypeAlias

from thinkscale.model.signals import LATENCY_EDGES_SECONDS, Histogram

WINDOW_SECONDS: Final = 60.0
SPACING_SECONDS: Final = 10.0

Snapshot: TypeAlias = tuple[float, tuple[int, ...]]
Snapshots: TypeAlias = tuple[Snapshot, ...]


def observe(snapshots: Snapshots, at: float, histogram: Histogram) -> Snapshots:
    """Keep a copy if the last is ten seconds old; drop what lies before the window."""
    if snapshots and at - snapshots[-1][0] < SPACING_SECONDS:
        return snapshots
    first = 0
    while first + 1 < len(snapshots) and snapshots[first + 1][0] <= at - WINDOW_SECONDS:
        first += 1
    return (*snapshots[first:], (at, histogram.counts))


def percentile(snapshots: Snapshots, at: float, histogram: Histogram, q: float) -> float | None:
    """Seconds; None while the window has no request. In its bin it is found by interpolation.

    100 requests of the window between 4 and 5 s: the 95th percentile is 4.95 s. In the open last
    bin it is the bin's lower edge, a lower bound.
    """
    if not snapshots:
        return None
    older = [s for s in snapshots if s[0] <= at - WINDOW_SECONDS]
    base = (older[-1] if older else snapshots[0])[1]
    counts = [max(0, new - old) for new, old in zip(histogram.counts, base, strict=False)]
    total = sum(counts)
    if total == 0:
        return None
    rank = q * total
    lower = 0.0
    for count, upper in zip(counts, LATENCY_EDGES_SECONDS, strict=False):
        if count >= rank:
            return lower + (upper - lower) * rank / count
        rank -= count
        lower = upper
    return lower
