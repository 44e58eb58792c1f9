"""Arrivals and lengths, drawn from a seeded generator: the parts that scenarios are made of.

Nothing here knows a scenario, a fleet or an SLO. Each draw takes its generator as an argument, and
`stream` makes one from names and a seed, so that no draw depends on what was drawn elsewhere: the
arrivals of a scenario are the same whether or not a variant of it also loses scrapes.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thinkscale.simulation.workload import Seconds, Tokens

Values = npt.NDArray[np.float64]
Rate = Callable[[Seconds], Values]
"""Requests per second at each instant."""


def stream(seed: int, *names: str) -> np.random.Generator:
    """A generator of its own for this seed and these names, the same on every machine."""
    words = [zlib.crc32(name.encode()) for name in names]
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def poisson(rng: np.random.Generator, rate: Rate, peak: float, duration_seconds: float) -> Seconds:
    """Arrivals of an inhomogeneous Poisson process by thinning; ascending.

    `peak`: requests per second that the rate never exceeds. ValueError: it does.
    """
    count = rng.poisson(peak * duration_seconds)
    candidates = np.sort(rng.uniform(0.0, duration_seconds, count))
    at = rate(candidates)
    if np.any(at > peak * (1 + 1e-9)):
        raise ValueError(f"the rate exceeds its declared peak of {peak:g} requests a second")
    kept: Seconds = candidates[rng.uniform(0.0, peak, count) < at]
    return kept


def renewals(
    rng: np.random.Generator, rate_per_second: float, dispersion: float, duration_seconds: float
) -> Seconds:
    """Arrivals of a gamma renewal process, begun in the middle of a gap; ascending.

    `dispersion` is the square of the coefficient of variation of the gaps, and what the variance of
    counts over their mean tends to: 1 is Poisson, 4 comes in clumps.
    """
    if rate_per_second <= 0:
        return np.empty(0)
    shape = 1.0 / dispersion
    mean = rate_per_second * duration_seconds
    count = int(mean + 8.0 * np.sqrt(mean * max(1.0, dispersion)) + 16)
    gaps = rng.gamma(shape, 1.0 / (shape * rate_per_second), count)
    # The gap that covers a random instant is length-biased: gamma of one shape more.
    covering = rng.gamma(shape + 1.0, 1.0 / (shape * rate_per_second))
    gaps[0] = covering * rng.uniform()
    at = np.cumsum(gaps)
    kept: Seconds = at[at < duration_seconds]
    return kept


def lognormal(rng: np.random.Generator, mean: float, variation: float, count: int) -> Values:
    """Positive values with this mean and coefficient of variation.

    Mean 1,500 and variation 1.2: sigma = sqrt(ln(1 + 1.44)) = 0.944, median 960.
    """
    variance = np.log1p(variation * variation)
    drawn: Values = rng.lognormal(np.log(mean) - variance / 2, np.sqrt(variance), count)
    return drawn


def pareto(rng: np.random.Generator, least: float, exponent: float, count: int) -> Values:
    """Values of at least `least` with survival (least / x)^exponent.

    Least 600 and exponent 1.5: (600 / 8,192)^1.5 = 2 % exceed 8,192.
    """
    drawn: Values = (rng.pareto(exponent, count) + 1.0) * least
    return drawn


def tokens(values: Values, least: int, most: int) -> Tokens:
    """Whole numbers of tokens within these bounds."""
    whole: Tokens = np.clip(np.rint(values), least, most).astype(np.int64)
    return whole


@dataclass(frozen=True, slots=True)
class Burst:
    """The rate is `1 + excess` times as high within."""

    begin: float
    end: float
    excess: float


def bursts(
    rng: np.random.Generator, count: int, begin_seconds: float, end_seconds: float
) -> tuple[Burst, ...]:
    """Unannounced ones of 50 to 160 % and 2 to 10 minutes, anywhere within."""
    begins = np.sort(rng.uniform(begin_seconds, end_seconds - 600.0, count))
    lengths = rng.uniform(120.0, 600.0, count)
    excesses = rng.uniform(0.5, 1.6, count)
    return tuple(
        Burst(float(begin), float(begin + length), float(excess))
        for begin, length, excess in zip(begins, lengths, excesses, strict=True)
    )


def burst_factor(all_bursts: tuple[Burst, ...], at_seconds: Seconds) -> Values:
    """What the rate is multiplied by; where two overlap, the larger counts."""
    factor = np.ones(len(at_seconds))
    for burst in all_bursts:
        within = (at_seconds >= burst.begin) & (at_seconds < burst.end)
        factor[within] = np.maximum(factor[within], 1.0 + burst.excess)
    return factor
