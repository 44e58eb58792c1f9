"""A live service as a workload, from what its gateways say.

They know no single request: thoughts and outputs by life table, prompts and answers by their mean,
arrivals by their rate. So what stands for the service has Poisson arrivals at that rate, thoughts
drawn from the life table, prompts all alike, and answers drawn exponentially around their mean.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from thinkscale.errors import ThinkscaleError
from thinkscale.model.observation import MergedSignals
from thinkscale.simulation.profile_fit import values_of_table
from thinkscale.simulation.workload import Workload

HOURS: Final = 3.0
FEWEST_REQUESTS: Final = 20


class TooFewRequests(ThinkscaleError):
    """The service has not served enough to say anything about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What was read."""

    signals: MergedSignals
    arrivals_per_second: float


def workload_of(live: Live, seed: int) -> Workload:
    """Hours like the present. TooFewRequests."""
    counters = live.signals.counters
    thoughts = values_of_table(live.signals.life_table)
    if counters.answers_begun < FEWEST_REQUESTS or live.arrivals_per_second <= 0:
        raise TooFewRequests(
            f"the gateway has seen {counters.answers_begun} answers begin; ask again after "
            f"{FEWEST_REQUESTS}"
        )
    generator = np.random.default_rng(seed)
    count = int(generator.poisson(live.arrivals_per_second * HOURS * 3600))
    if count == 0:
        raise TooFewRequests("so few requests arrive that hours would pass without any")
    prompt = counters.arrived_prompt_tokens / max(1, counters.arrivals)
    answer = counters.answer_tokens / counters.answers_begun
    thinking = generator.choice(thoughts, count) if len(thoughts) else np.zeros(count)
    return Workload(
        name="live",
        at_seconds=np.sort(generator.uniform(0, HOURS * 3600, count)),
        prompt_tokens=np.full(count, max(1, round(prompt)), dtype=np.int64),
        thinking_tokens=np.rint(thinking).astype(np.int64),
        answer_tokens=np.maximum(1, generator.exponential(answer, count).round()).astype(np.int64),
    )
