"""How sure a figure of runs is: the block bootstrap.

Misses come in clusters: one burst makes thousands of requests late together. So the unit is a block
of at least ten minutes of arrivals, never a request: over requests a binomial interval would be
several times too narrow. Policies meet the same requests, so they are compared block by block: what
all of them suffer cancels.

With several seeds, each hour of a resample is that of a seed drawn anew: what a scenario does to
every seed alike (a step, a night) is no uncertainty, and misses that last from block to block stay
together. Few seeds understate the spread, by a factor that is known and made good (Rao and Wu).
With one seed the blocks are drawn from all of the run, which is wide where the load changes in it.
Everything is seeded: the same runs give the same intervals.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from thinkscale.simulation.outcome import Numbers
from thinkscale.simulation.statistics import BLOCK_SECONDS, HOUR_SECONDS, Blocks, attainment

RESAMPLES: Final = 2000
TOGETHER: Final = round(HOUR_SECONDS / BLOCK_SECONDS)
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float


def attainment_lower_bound(blocks: Blocks, confidence: float = 0.95) -> float | None:
    """One-sided lower bound of the attainment; None: one block says nothing of its uncertainty.

    It resamples what was seen: with no miss at all it is 1, however short the run.
    """
    estimate = attainment(blocks)
    drawn = _resampled(blocks, lambda w: _ratio(w @ blocks.good, w @ blocks.arrived), estimate)
    drawn = drawn[~np.isnan(drawn)]
    if len(blocks) < 2 or len(drawn) == 0:
        return None
    if blocks.seeds > 1:
        return float(np.quantile(drawn, 1 - confidence))
    below = float((drawn < estimate).mean() + (drawn == estimate).mean() / 2)
    if not 0 < below < 1:
        return estimate
    # Misses are skewed, and plain percentiles of few blocks would promise too much: Efron's BCa.
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
    return _interval(
        one,
        lambda w: _ratio(w @ one.good, w @ one.arrived) - _ratio(w @ other.good, w @ other.arrived),
        attainment(one) - attainment(other),
    )


def gpu_ratio(one: Blocks, other: Blocks) -> Interval:
    """GPU-hours of one policy by those of another, on the same blocks. ValueError: they are not."""
    _same(one, other)
    return _interval(
        one,
        lambda w: _ratio(w @ one.gpu_hours, w @ other.gpu_hours),
        float(one.gpu_hours.sum() / other.gpu_hours.sum()),
    )


def _same(one: Blocks, other: Blocks) -> None:
    if len(one) != len(other) or not np.array_equal(one.arrived, other.arrived):
        raise ValueError("paired intervals need the same seeds of the same scenario")


def _resampled(blocks: Blocks, statistic: Callable[[Numbers], Numbers], estimate: float) -> Numbers:
    """The statistic of every resample, given as a matrix of how often each block was drawn."""
    drawn = statistic(_weights(len(blocks), blocks.seeds))
    if blocks.seeds == 1:
        return drawn
    few: Numbers = estimate + (drawn - estimate) * np.sqrt(blocks.seeds / (blocks.seeds - 1))
    return few


@functools.lru_cache(maxsize=8)
def _weights(count: int, seeds: int) -> Numbers:
    """How often each block is in each resample."""
    generator = np.random.default_rng(count)
    if seeds == 1:
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
        return drawn.astype(np.float64)
    positions = count // seeds
    hours = -(-positions // TOGETHER)
    # By resample and hour, how often each seed was drawn; then by seed and block.
    drawn = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=(RESAMPLES, hours))
    each = np.repeat(drawn, TOGETHER, axis=1)[:, :positions, :]
    return each.transpose(0, 2, 1).reshape(RESAMPLES, count).astype(np.float64)


def _ratio(above: Numbers, below: Numbers) -> Numbers:
    safe: Numbers = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
    return safe


def _interval(blocks: Blocks, statistic: Callable[[Numbers], Numbers], estimate: float) -> Interval:
    low, high = np.nanquantile(_resampled(blocks, statistic, estimate), (0.025, 0.975))
    return Interval(estimate=estimate, low=float(low), high=float(high))
