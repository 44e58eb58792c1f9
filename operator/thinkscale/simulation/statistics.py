"""Numbers of runs with their uncertainty: blocks of time, quantiles, the block bootstrap.

Misses come in clusters: one burst makes thousands of requests late together. So the unit is a block
of at least ten minutes of arrivals, never a request: over requests a binomial interval would be
several times too narrow. Policies meet the same traces, so they are compared block by block: what
all of them suffer cancels.

Blocks of all seeds of a scenario are drawn from one pool, also where the load changes over the day:
that overstates the uncertainty a little, which is the safe side. Everything is seeded: the same
runs give the same intervals.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from thinkscale.simulation.outcome import Numbers, Outcome, Requests

BLOCK_SECONDS: Final = 600.0
RESAMPLES: Final = 2000
_NORMAL: Final = NormalDist()
HOUR_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What each block of scored time brought, in order."""

    arrived: Numbers
    good: Numbers
    """Met all objectives."""
    clean: Numbers
    """Met all objectives, and nobody cut its thought."""
    gpu_hours: Numbers
    """Billed within the block."""

    def __len__(self) -> int:
        return len(self.arrived)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float


def blocks_of(
    outcome: Outcome, begin_seconds: float, block_seconds: float = BLOCK_SECONDS
) -> Blocks:
    """Cut a run into blocks; `begin_seconds`: where its scored time begins.

    The last block takes the remainder: 25 minutes are blocks of 10 and 15.
    """
    count = max(1, int(outcome.scored_seconds // block_seconds))
    edges = begin_seconds + block_seconds * np.arange(count + 1, dtype=np.float64)
    edges[-1] = max(edges[-1], begin_seconds + outcome.scored_seconds)
    requests = outcome.requests
    where = np.clip(
        np.searchsorted(edges, requests.arrived_seconds, side="right") - 1, 0, count - 1
    )
    good = requests.good

    def counted(flags: np.ndarray | None) -> Numbers:
        weights = None if flags is None else flags.astype(np.float64)
        return np.bincount(where, weights=weights, minlength=count).astype(np.float64)

    return Blocks(
        arrived=counted(None),
        good=counted(good),
        clean=counted(good & ~requests.cut),
        gpu_hours=_billed(outcome, edges),
    )


def _billed(outcome: Outcome, edges: Numbers) -> Numbers:
    """GPU-hours by block: the timeline's shape, scaled to the exact bill."""
    at, billed = outcome.timeline.at_seconds, outcome.timeline.billed.astype(np.float64)
    if len(at) == 0:
        shares = np.diff(edges)
    else:
        ends = np.append(at[1:], max(at[-1], edges[-1]))
        before = np.concatenate(([0.0], np.cumsum(billed * (ends - at))))
        shares = np.diff(np.interp(edges, np.append(at, ends[-1]), before))
    total = float(shares.sum())
    if total <= 0:
        return np.full(len(edges) - 1, outcome.gpu_hours / (len(edges) - 1))
    scaled: Numbers = shares * (outcome.gpu_hours / total)
    return scaled


def pooled(parts: Sequence[Blocks]) -> Blocks:
    """The blocks of several seeds, one after the other."""
    return Blocks(
        arrived=np.concatenate([part.arrived for part in parts]),
        good=np.concatenate([part.good for part in parts]),
        clean=np.concatenate([part.clean for part in parts]),
        gpu_hours=np.concatenate([part.gpu_hours for part in parts]),
    )


def attainment(blocks: Blocks) -> float:
    """Share of requests that met all objectives; NaN without any."""
    arrived = float(blocks.arrived.sum())
    return float(blocks.good.sum()) / arrived if arrived else float("nan")


def attainment_lower_bound(blocks: Blocks, confidence: float = 0.95) -> float:
    """One-sided lower bound of the attainment, bias-corrected and accelerated (Efron's BCa): misses
    are skewed, and plain percentiles would promise too much.

    It resamples what was seen: with no miss at all it is 1, however short the run.
    """
    drawn = _resampled(len(blocks), lambda w: _ratio(w @ blocks.good, w @ blocks.arrived))
    drawn = drawn[~np.isnan(drawn)]
    estimate = attainment(blocks)
    below = float((drawn < estimate).mean() + (drawn == estimate).mean() / 2)
    if len(drawn) == 0 or not 0 < below < 1:
        return estimate
    bias, wanted = _NORMAL.inv_cdf(below), _NORMAL.inv_cdf(1 - confidence)
    shifted = bias + (bias + wanted) / (1 - _acceleration(blocks) * (bias + wanted))
    return float(np.quantile(drawn, _NORMAL.cdf(shifted)))


def _acceleration(blocks: Blocks) -> float:
    """A sixth of the skewness of what leaving out each block does to the attainment."""
    left = _ratio(blocks.good.sum() - blocks.good, blocks.arrived.sum() - blocks.arrived)
    apart = np.nanmean(left) - left[~np.isnan(left)]
    spread = float((apart**2).sum())
    return float((apart**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0


def attainment_difference(one: Blocks, other: Blocks) -> Interval:
    """Attainment of one minus that of the other, on the same blocks. ValueError: they are not."""
    _same(one, other)
    drawn = _resampled(
        len(one),
        lambda w: _ratio(w @ one.good, w @ one.arrived) - _ratio(w @ other.good, w @ other.arrived),
    )
    return _interval(attainment(one) - attainment(other), drawn)


def gpu_ratio(one: Blocks, other: Blocks) -> Interval:
    """GPU-hours of one policy by those of another, on the same blocks. ValueError: they are not."""
    _same(one, other)
    drawn = _resampled(len(one), lambda w: _ratio(w @ one.gpu_hours, w @ other.gpu_hours))
    return _interval(float(one.gpu_hours.sum() / other.gpu_hours.sum()), drawn)


def _same(one: Blocks, other: Blocks) -> None:
    if len(one) != len(other) or not np.array_equal(one.arrived, other.arrived):
        raise ValueError("paired intervals need the same seeds of the same scenario")


def _resampled(count: int, statistic: Callable[[Numbers], Numbers]) -> Numbers:
    """The statistic of every resample, given as a matrix of how often each block was drawn."""
    generator = np.random.default_rng(count)
    weights = generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return statistic(weights.astype(np.float64))


def _ratio(above: Numbers, below: Numbers) -> Numbers:
    safe: Numbers = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
    return safe


def _interval(estimate: float, drawn: Numbers) -> Interval:
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return Interval(estimate=estimate, low=float(low), high=float(high))


def worst_hour(blocks: Blocks, block_seconds: float = BLOCK_SECONDS) -> float:
    """The lowest attainment of any hour, looked at every ten minutes; hours with fewer than a tenth
    of the mean hour's arrivals say nothing. A p99 over a day would hide a dead hour.
    """
    width = min(len(blocks), max(1, round(HOUR_SECONDS / block_seconds)))
    window = np.ones(width)
    arrived = np.convolve(blocks.arrived, window, "valid")
    good = np.convolve(blocks.good, window, "valid")
    enough = arrived >= max(1.0, 0.1 * float(arrived.mean()))
    return float((good[enough] / arrived[enough]).min()) if enough.any() else float("nan")


def violation_minutes(requests: Requests, target: float, window_seconds: float = 300.0) -> float:
    """Minutes of arrivals in windows whose attainment was under the target."""
    if len(requests.arrived_seconds) == 0:
        return 0.0
    where = (requests.arrived_seconds // window_seconds).astype(np.int64)
    where -= where.min()
    arrived = np.bincount(where)
    good = np.bincount(where, weights=requests.good.astype(np.float64))
    missed = int(np.sum(good < target * arrived))
    return missed * window_seconds / 60


def quantiles(values: Numbers, probabilities: Sequence[float] = (0.5, 0.95, 0.99)) -> list[float]:
    """Quantiles that are values seen; NaN counts as "never", hence infinitely late."""
    if len(values) == 0:
        return [float("nan")] * len(probabilities)
    late = np.where(np.isnan(values), np.inf, values)
    return [float(q) for q in np.quantile(late, probabilities, method="inverted_cdf")]


def latencies(requests: Requests) -> Mapping[str, Numbers]:
    """The latencies that people ask for, by name, in seconds.

    NaN stands for "never" where the request failed; a request that ended without an answer has no
    answer's latency, and is left out there.
    """
    ended = ~np.isnan(requests.end_seconds)
    answered = ~np.isnan(requests.first_answer_seconds) | ~ended
    paced = ~np.isnan(requests.output_pace_seconds) | ~ended
    return {
        "queue_seconds": requests.queue_seconds,
        "ttft_seconds": requests.first_token_seconds,
        "ttfa_seconds": requests.first_answer_seconds[answered],
        "tpot_seconds": requests.output_pace_seconds[paced],
        "e2e_seconds": requests.end_seconds,
    }
