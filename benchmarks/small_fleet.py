"""Ten small replicas at their GPU limit: an eighth of the reference batch, so that arrivals come in
waves and the limit binds now and then, more often the more requests come.

Poisson arrivals with lognormal prompts and thoughts and exponential answers, half of them of each
of `two_tiers`; 2,600 seconds, the first 600 of them unscored. At 1.75 requests a second one in
twenty is cut by a law that is told nothing, at 2.2 one in seven.
"""

import math
from dataclasses import replace
from typing import Final

import numpy as np

from thinkscale.fleet.profile import REFERENCE
from thinkscale.model.intent import Budget, Indicator, Objective
from thinkscale.simulation import generate, scenarios, two_tiers
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.workload import Workload

NAME: Final = "small-fleet"
REPLICAS: Final = 10
FLOOR_TOKENS: Final = 1024
ALLOWANCE: Final = 0.3
WARM_UP_SECONDS: Final = 600.0
SECONDS: Final = 2600.0
DIVISOR: Final = 8
EIGHTH: Final = replace(
    REFERENCE,
    name="eighth",
    sequence_seconds=DIVISOR * REFERENCE.sequence_seconds,
    context_token_seconds=DIVISOR * REFERENCE.context_token_seconds,
    prompt_token_seconds=DIVISOR * REFERENCE.prompt_token_seconds,
    kv_tokens=REFERENCE.kv_tokens // DIVISOR,
    seats=REFERENCE.seats // DIVISOR,
)
LIMITS: Final = (
    ("wait", Indicator.TIME_TO_FIRST_TOKEN, 10.0, 0.0),
    ("pace", Indicator.TIME_PER_OUTPUT_TOKEN, 0.045, 0.0),
    ("answer", Indicator.TIME_TO_FIRST_ANSWER, 12.0, 0.045),
    ("whole", Indicator.END_TO_END, 15.0, 0.045),
)


def workload(seed: int, per_second: float) -> Workload:
    """The requests of one seed."""
    rng = generate.stream(seed, NAME)
    count = int(rng.poisson(per_second * SECONDS))
    thoughts = rng.lognormal(math.log(1500) - 0.45, 0.94, count)
    return Workload(
        name=NAME,
        at_seconds=np.sort(rng.uniform(0, SECONDS, count)),
        prompt_tokens=np.clip(rng.lognormal(6.3, 1.1, count), 1, 8000).astype(np.int64),
        thinking_tokens=np.minimum(thoughts, 16_000).astype(np.int64),
        answer_tokens=np.maximum(1, rng.exponential(400, count)).astype(np.int64),
    )


def scenario(seed: int, per_second: float) -> Scenario:
    """The fleet under that load, its law told what the tiers score."""
    load = two_tiers.split(workload(seed, per_second), seed)
    made = scenarios.replay(load, seed)
    intent = replace(
        made.intent,
        min_replicas=REPLICAS,
        max_replicas=REPLICAS,
        seats_per_replica=EIGHTH.seats,
        step_time=EIGHTH.step_time,
        kv_tokens=EIGHTH.kv_tokens,
        budget=Budget(max_tokens=None, floor_tokens=FLOOR_TOKENS),
        truncation_allowance=ALLOWANCE,
        objectives=tuple(
            Objective(
                name=name,
                indicator=indicator,
                threshold_seconds=threshold,
                per_token_seconds=each,
                objective=0.99,
                window_seconds=3600.0,
            )
            for name, indicator, threshold, each in LIMITS
        ),
    )
    return replace(
        made,
        name=f"{NAME}@{per_second:g}",
        workload=load,
        intent=two_tiers.told(intent),
        profile=EIGHTH,
        duration_seconds=SECONDS,
        warm_up_seconds=WARM_UP_SECONDS,
        initial_replicas=REPLICAS,
    )
