"""Histograms with fixed edges that add up exactly. Pure."""

import bisect
from collections.abc import Sequence

from thinkscale.model.signals import LATENCY_EDGES_SECONDS, Histogram


class Bins:
    """Counts by bin (upper edges inclusive, one open bin at the end) and their sum."""

    __slots__ = ("counts", "edges", "sum_seconds")

    def __init__(self, edges: Sequence[float] = LATENCY_EDGES_SECONDS) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.sum_seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect.bisect_left(self.edges, seconds)] += 1
        self.sum_seconds += seconds

    def wire(self) -> Histogram:
        """For the wire."""
        return Histogram(counts=tuple(self.counts), sum_seconds=self.sum_seconds)
