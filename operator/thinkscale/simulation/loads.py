"""Synthetic loads: a smooth day, bursts, a step, drifting lengths, a heavy tail, a published ramp.

A load is who arrives when with how many tokens; what is asked of the fleet is the scenarios' part.
Lengths but for the heavy tail and the ramp: thinking lognormal of mean 1,500 and variation 1.2,
answers of mean 400 and variation 0.8, prompts of mean 1,000 and variation 1.5. A day begins at its
quietest hour. Time 0 is the begin of the warm-up, which has the load of the first scored moment.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from thinkscale.simulation import generate
from thinkscale.simulation.generate import Rate, Values
from thinkscale.simulation.workload import Seconds, Tokens, Workload

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
WARM_UP_SECONDS: Final = 1800.0
MOST_PROMPT_TOKENS: Final = 131_072
MOST_THINKING_TOKENS: Final = 16_000
MOST_HEAVY_TOKENS: Final = 32_768
RAMP_STAGES: Final = ((330.0, 2), (360.0, 4), (360.0, 6), (360.0, 8), (360.0, 10), (360.0, 4),
                      (300.0, 1))  # fmt: skip
"""Seconds and requests per second: 12,480 requests."""
RAMP_BURN_IN_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A workload and the part of it that counts."""

    workload: Workload
    duration_seconds: float
    warm_up_seconds: float = WARM_UP_SECONDS


def smooth(seed: int, *, peak_hour: float = 12.0, mean_rate: float = 6.5) -> Load:
    """A day of 6.5 requests a second, 60 % less at night and 60 % more at noon."""
    rng = generate.stream(seed, "smooth", f"{peak_hour:g}")
    duration = WARM_UP_SECONDS + DAY
    rate = _diurnal(mean_rate, peak_hour)
    at = generate.poisson(rng, rate, 1.6 * mean_rate, duration)
    return _load(rng, "smooth", at, duration)


def bursty(seed: int) -> Load:
    """The smooth day with ten unannounced bursts of 50 to 160 % and 2 to 10 minutes."""
    rng = generate.stream(seed, "bursts")
    duration = WARM_UP_SECONDS + DAY
    bursts = generate.bursts(rng, 10, WARM_UP_SECONDS, duration)
    base = _diurnal(6.5, 12.0)

    def rate(at: Seconds) -> Values:
        return base(at) * generate.burst_factor(bursts, at)

    at = generate.poisson(rng, rate, 2.6 * 1.6 * 6.5, duration)
    return _load(rng, "bursts", at, duration)


def step(seed: int) -> Load:
    """Three hours: 3 requests a second, 15 for the second hour, 3 again."""
    rng = generate.stream(seed, "step")
    duration = WARM_UP_SECONDS + 3 * HOUR

    def rate(at: Seconds) -> Values:
        since = at - WARM_UP_SECONDS
        return np.where((since >= HOUR) & (since < 2 * HOUR), 15.0, 3.0)

    at = generate.poisson(rng, rate, 15.0, duration)
    return _load(rng, "step", at, duration)


def drift(seed: int) -> Load:
    """Four hours of 8 requests a second; after the first, thoughts grow twice as long within 30
    minutes.
    """
    rng = generate.stream(seed, "drift")
    duration = WARM_UP_SECONDS + 4 * HOUR
    at = generate.poisson(rng, _constant(8.0), 8.0, duration)
    growth = 1.0 + np.clip((at - WARM_UP_SECONDS - HOUR) / (HOUR / 2), 0.0, 1.0)
    return _load(rng, "drift", at, duration, growth)


def heavy_tail(seed: int, *, budget_tokens: int | None = None) -> Load:
    """Four hours of 9 requests a second whose thoughts are Pareto(1.5) from 600 tokens: 2 % are
    longer than 8,192. With a budget they end there.
    """
    rng = generate.stream(seed, "heavy-tail")
    duration = WARM_UP_SECONDS + 4 * HOUR
    at = generate.poisson(rng, _constant(9.0), 9.0, duration)
    thinking = generate.pareto(rng, 600.0, 1.5, len(at))
    most = MOST_HEAVY_TOKENS if budget_tokens is None else budget_tokens
    name = "heavy-tail" if budget_tokens is None else f"heavy-tail-{budget_tokens}"
    workload = Workload(
        name=name,
        at_seconds=at,
        thinking_tokens=generate.tokens(thinking, 1, most),
        answer_tokens=_answers(rng, len(at)),
        prompt_tokens=_prompts(rng, len(at)),
    )
    return Load(workload=workload, duration_seconds=duration)


def ramp(seed: int) -> Load:
    """llm-d's published ramp: prompts of 4,000, outputs of 1,000 tokens, 2 to 10 requests a second
    and back to 1 in stages of five to six minutes. Nobody thinks: their outputs are answers.
    """
    rng = generate.stream(seed, "llmd-ramp")
    ends = RAMP_BURN_IN_SECONDS + np.cumsum([seconds for seconds, _ in RAMP_STAGES])
    rates = np.array([rate for _, rate in RAMP_STAGES], dtype=float)

    def rate(at: Seconds) -> Values:
        stage = np.minimum(np.searchsorted(ends, at, side="right"), len(rates) - 1)
        values: Values = rates[stage]
        return values

    duration = float(ends[-1])
    at = generate.poisson(rng, rate, float(rates.max()), duration)
    count = len(at)
    workload = Workload(
        name="llmd-ramp",
        at_seconds=at,
        prompt_tokens=np.full(count, 4000, dtype=np.int64),
        thinking_tokens=np.zeros(count, dtype=np.int64),
        answer_tokens=np.full(count, 1000, dtype=np.int64),
    )
    return Load(workload=workload, duration_seconds=duration, warm_up_seconds=RAMP_BURN_IN_SECONDS)


def _constant(per_second: float) -> Rate:
    return lambda at: np.full(len(at), per_second)


def _diurnal(mean_rate: float, peak_hour: float) -> Rate:
    def rate(at: Seconds) -> Values:
        phase = 2 * np.pi * (at - WARM_UP_SECONDS - peak_hour * HOUR) / DAY
        values: Values = mean_rate * (1.0 + 0.6 * np.cos(phase))
        return values

    return rate


def _load(
    rng: np.random.Generator,
    name: str,
    at: Seconds,
    duration: float,
    growth: Values | float = 1.0,
) -> Load:
    thinking = growth * generate.lognormal(rng, 1500.0, 1.2, len(at))
    workload = Workload(
        name=name,
        at_seconds=at,
        thinking_tokens=generate.tokens(thinking, 1, MOST_THINKING_TOKENS),
        answer_tokens=_answers(rng, len(at)),
        prompt_tokens=_prompts(rng, len(at)),
    )
    return Load(workload=workload, duration_seconds=duration)


def _answers(rng: np.random.Generator, count: int) -> Tokens:
    return generate.tokens(generate.lognormal(rng, 400.0, 0.8, count), 1, 16_000)


def _prompts(rng: np.random.Generator, count: int) -> Tokens:
    return generate.tokens(generate.lognormal(rng, 1000.0, 1.5, count), 1, MOST_PROMPT_TOKENS)
