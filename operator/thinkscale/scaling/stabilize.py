"""Stabilisation windows, with the meaning of HPA v2: a fleet grows to the smallest wish of the
scale-up window, and shrinks to the largest of the scale-down window.

The wishes are kept in the law's state, so the windows hold across restarts of the operator. Only
those that can still become the extreme are kept (the "ascending minima" algorithm,
https://github.com/knative/serving/tree/main/pkg/autoscaler/aggregation/max): at most one per
distinct wish, however often the law ticks.
"""

from typing import Final, TypeAlias

KEPT: Final = 32

Wish: TypeAlias = tuple[float, int]
"""When it was wished (Unix seconds), and how many replicas."""
Wishes: TypeAlias = tuple[Wish, ...]


def largest(wishes: Wishes, now: float, wish: int, window_seconds: float) -> Wishes:
    """Add a wish; the first of the result is the largest of the window.

    Wishes 5 at 0 s, 3 at 10 s and 2 at 20 s with a window of 15 s: at 20 s the first is 3.
    """
    kept = [w for w in wishes if w[0] > now - window_seconds and w[1] > wish]
    if len(kept) >= KEPT:
        # NB: the later of two instants with the larger of two wishes: shrinks later, never sooner.
        kept[0:2] = [(kept[1][0], kept[0][1])]
    return (*kept, (now, wish))


def smallest(wishes: Wishes, now: float, wish: int, window_seconds: float) -> Wishes:
    """Add a wish; the first of the result is the smallest of the window."""
    kept = [w for w in wishes if w[0] > now - window_seconds and w[1] < wish]
    if len(kept) >= KEPT:
        kept[0:2] = [(kept[1][0], kept[0][1])]
    return (*kept, (now, wish))


def stabilized(standing: int, ups: Wishes, downs: Wishes) -> int:
    """The size that both windows allow, starting from the size that stands."""
    size = max(standing, ups[0][1])
    return min(size, max(downs[0][1], ups[0][1]))
