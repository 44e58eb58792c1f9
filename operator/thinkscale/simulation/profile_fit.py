"""The lengths and latencies of a service as distributions: what was seen, and a law for the tail.

Up to its 95 % quantile a distribution is what was seen; above, it follows a Pareto or a lognormal
tail, whichever explains the exceedances better (AIC), since the few longest requests hold most of
the KV cache and set every p99. A live gateway knows no single request, only counts by bin: they are
turned into equally likely values first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from thinkscale.model.ages import AGE_EDGES_TOKENS
from thinkscale.model.signals import LATENCY_EDGES_SECONDS, Histogram, LifeTableCounts
from thinkscale.simulation.outcome import Numbers
from thinkscale.simulation.workload import Workload

TAIL_BEGINS: Final = 0.95
FEWEST_EXCEEDANCES: Final = 30
VALUES: Final = 20_000
"""Equally likely values that stand for binned counts."""
MARKS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
LONGEST_SECONDS: Final = 3600.0
_NORMAL: Final = NormalDist()


class TailKind(StrEnum):
    """The law of the exceedances."""

    PARETO = "Pareto"
    LOGNORMAL = "Lognormal"
    NONE = "None"
    """Too few to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What lies above `threshold`, given that it does."""

    kind: TailKind
    threshold: float
    share: float
    """Of all values."""
    pareto_index: float | None = None
    """P(X > x | X > threshold) = (threshold / x)^index: the smaller, the heavier."""
    log_mean: float | None = None
    log_deviation: float | None = None

    def exceeds(self, x: float) -> float:
        """P(X > x | X > threshold)."""
        if x <= self.threshold:
            return 1.0
        if self.kind is TailKind.PARETO and self.pareto_index is not None:
            return float((self.threshold / x) ** self.pareto_index)
        if self.log_mean is None or self.log_deviation is None:
            return math.nan
        above = [
            _NORMAL.cdf(-(math.log(v) - self.log_mean) / self.log_deviation)
            for v in (x, self.threshold)
        ]
        return above[0] / above[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One fitted quantity, in its own unit."""

    count: int
    mean: float
    second_moment: float
    """E[X^2]."""
    largest: float
    quantiles: Mapping[str, float]
    log_mean: float
    """Of the positive values: the lognormal that fits all of them best."""
    log_deviation: float
    tail: Tail

    @property
    def variation(self) -> float:
        """Coefficient of variation: deviation by mean."""
        if self.mean <= 0:
            return 0.0
        return math.sqrt(max(0.0, self.second_moment - self.mean**2)) / self.mean

    @property
    def residual_mean(self) -> float:
        """What a request met at random still has to come: E[X^2] / 2 E[X]."""
        return self.second_moment / (2 * self.mean) if self.mean > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "count": self.count,
            "mean": self.mean,
            "second_moment": self.second_moment,
            "coefficient_of_variation": self.variation,
            "residual_mean": self.residual_mean,
            "largest": self.largest,
            "quantiles": dict(self.quantiles),
            "lognormal": {"log_mean": self.log_mean, "log_deviation": self.log_deviation},
            "tail": {
                "kind": self.tail.kind.value,
                "threshold": self.tail.threshold,
                "share": self.tail.share,
                "pareto_index": self.tail.pareto_index,
                "log_mean": self.tail.log_mean,
                "log_deviation": self.tail.log_deviation,
            },
        }


def fit(values: Sequence[float] | np.ndarray) -> Distribution:
    """The distribution of these values. ValueError: there are none."""
    seen = np.asarray(values, dtype=np.float64)
    if len(seen) == 0:
        raise ValueError("nothing was seen, so nothing can be fitted")
    logs = np.log(seen[seen > 0])
    marks = np.quantile(seen, MARKS, method="inverted_cdf")
    return Distribution(
        count=len(seen),
        mean=float(seen.mean()),
        second_moment=float((seen**2).mean()),
        largest=float(seen.max()),
        quantiles={f"p{mark * 100:g}": float(x) for mark, x in zip(MARKS, marks, strict=True)},
        log_mean=float(logs.mean()) if len(logs) else 0.0,
        log_deviation=float(logs.std()) if len(logs) else 0.0,
        tail=_tail(seen),
    )


def _tail(seen: Numbers) -> Tail:
    threshold = float(np.quantile(seen, TAIL_BEGINS))
    above = seen[seen > threshold]
    share = len(above) / len(seen)
    if len(above) < FEWEST_EXCEEDANCES or threshold <= 0:
        return Tail(kind=TailKind.NONE, threshold=threshold, share=share)
    logs = np.log(above / threshold)
    index = len(above) / float(logs.sum())  # Hill's estimator
    pareto = len(above) * math.log(index) - (index + 1) * float(logs.sum())
    mean, deviation, lognormal = _lognormal_tail(logs)
    if pareto - 1 >= lognormal - 2:
        return Tail(kind=TailKind.PARETO, threshold=threshold, share=share, pareto_index=index)
    return Tail(
        kind=TailKind.LOGNORMAL,
        threshold=threshold,
        share=share,
        log_mean=mean + math.log(threshold),
        log_deviation=deviation,
    )


def _lognormal_tail(logs: Numbers) -> tuple[float, float, float]:
    """Mean, deviation and likelihood of the normal law whose part above 0 explains `logs` best.

    The likelihood depends on three sums, so a grid that is refined around its best point is cheap.
    The likelihood leaves out the Jacobian -sum(logs), as Pareto's must then not: it adds it here.
    """
    count, total, squares = len(logs), float(logs.sum()), float((logs**2).sum())
    spread = float(logs.std()) or 1e-6
    mean_low, mean_high = -12 * spread, 3 * spread
    low, high = 0.2 * spread, 6 * spread
    best = (0.0, spread, -math.inf)
    for _ in range(8):
        for mean in np.linspace(mean_low, mean_high, 25):
            for deviation in np.geomspace(low, high, 25):
                above = _NORMAL.cdf(float(mean / deviation))
                if above <= 0:
                    continue
                error = (squares - 2 * mean * total + count * mean**2) / (2 * deviation**2)
                likelihood = -float(error) - count * (
                    math.log(deviation * math.sqrt(2 * math.pi)) + math.log(above)
                )
                if likelihood > best[2]:
                    best = (float(mean), float(deviation), likelihood)
        width, ratio = (mean_high - mean_low) / 8, (high / low) ** (1 / 8)
        mean_low, mean_high = best[0] - width, best[0] + width
        low, high = best[1] / ratio, best[1] * ratio
    return best[0], best[1], best[2] - total


def exceeding(fitted: Distribution, values: Numbers, x: Numbers) -> tuple[Numbers, Numbers]:
    """Shares that exceed each x: as seen, and as fitted (the body as seen, the tail by its law)."""
    ordered = np.sort(values)
    seen: Numbers = 1 - np.searchsorted(ordered, x, side="right") / len(ordered)
    tail = fitted.tail
    if tail.kind is TailKind.NONE:
        return seen, seen
    law = np.array([tail.exceeds(float(v)) * tail.share for v in x])
    return seen, np.where(x > tail.threshold, law, seen)


def length_biased_context(load: Workload) -> tuple[float, float]:
    """KV tokens that a running sequence holds on average, and what `prompt + output/2` would say.

    E[P L]/E[L] + E[L^2]/2E[L]: long requests are met more often. Prompts of 1,000, outputs of 1,000
    and 9,000 half and half: 1,000 + 41e6 / 10,000 = 5,100, against 3,500.
    """
    prompts = load.prompt_tokens.astype(float)
    outputs = load.output_tokens.astype(float)
    mean = float(outputs.mean())
    true = float((prompts * outputs).mean() / mean + (outputs**2).mean() / (2 * mean))
    return true, float(prompts.mean()) + mean / 2


def values_of_table(table: LifeTableCounts) -> Numbers:
    """Equally likely lengths that a life table implies; empty: nothing has ended yet.

    With the hazard h_j of each bin, S(x) = exp(-sum h_j * width_j); the i-th value is where S is
    (i + 1/2) / n. Nothing is longer than the last bin that saw anybody.
    """
    exposure = np.array(table.exposure_tokens, dtype=np.float64)
    ends = np.array(table.ends, dtype=np.float64)
    if ends.sum() == 0:
        return np.zeros(0)
    seen = int(np.flatnonzero(exposure)[-1]) + 1
    edges = np.array(AGE_EDGES_TOKENS[: seen + 1], dtype=np.float64)
    if len(edges) == seen:
        edges = np.append(edges, 2 * edges[-1])
    hazards = ends[:seen] / np.maximum(exposure[:seen], 1.0)
    risk = np.concatenate(([0.0], np.cumsum(hazards * np.diff(edges))))
    wanted = -np.log((np.arange(VALUES) + 0.5) / VALUES)
    rising = risk + 1e-12 * np.arange(len(risk))
    lengths: Numbers = np.interp(np.minimum(wanted, rising[-1]), rising, edges)
    return np.sort(lengths)


def values_of_histogram(histogram: Histogram) -> Numbers:
    """Equally likely seconds that a histogram implies, spread evenly in the logarithm within each
    bin; empty: it is empty.
    """
    counts = np.array(histogram.counts, dtype=np.float64)
    if counts.sum() == 0:
        return np.zeros(0)
    edges = np.log([LATENCY_EDGES_SECONDS[0] / 2, *LATENCY_EDGES_SECONDS, LONGEST_SECONDS])
    below = np.concatenate(([0.0], np.cumsum(counts) / counts.sum()))
    wanted = (np.arange(VALUES) + 0.5) / VALUES
    seconds: Numbers = np.exp(np.interp(wanted, below + 1e-12 * np.arange(len(below)), edges))
    return seconds
