"""What the work costs at least, whoever schedules it: a lower bound on GPU-hours.

No cold start, no whole replicas, no queue: only that each engine step obeys the seats, the KV cache
and the pace. With b sequences and K resident tokens a step takes `a0 + a1*b + a2*K`; each of the
three limits says how little of a0 a token can be charged with:

    b <= seats        a0 / seats for each sequence
    K <= C            a0 * k / C for a token generated at context k
    step <= T         a0 <= (a1*b + a2*K) * a0 / (T - a0)

The sum over all tokens of all requests under any one limit is a bound, hence the largest of the
three is. It assumes that every request is served in full (a brown-out may go below it), and that
the fleet is as full at the end of the scored time as at its begin: what is finished after the end,
unbilled, is about what was begun before it.
"""

import numpy as np

from thinkscale.simulation.design_point import pace_limit_seconds
from thinkscale.simulation.scenario import Scenario


def lower_bound_gpu_hours(scenario: Scenario) -> float:
    """GPU-hours of the work that arrives in the scored time.

    One request of 1,000 prompt tokens and 2,000 output tokens on the reference profile passes
    contexts 1,001 to 3,000, in sum 4,001,000. Seats: 2,000 * (.027 + 15.5/128) ms + .304 s =
    .600 s; KV: 54 ms + 4,001,000 * (.076 us + 15.5 ms / 290,000) = .572 s; pace: (54 + 304) ms *
    45 / 29.5 = .546 s; prefill .051 s: .651 s, on two GPUs .000362 GPU-hours.
    """
    profile = scenario.profile
    arrivals = scenario.workload.at_seconds
    scored = (arrivals >= scenario.warm_up_seconds) & (arrivals < scenario.duration_seconds)
    prompts = scenario.workload.prompt_tokens[scored].astype(float)
    outputs = scenario.workload.output_tokens[scored].astype(float)
    generated = float(outputs.sum())
    resident = float(np.sum(outputs * (prompts + (outputs + 1) / 2)))
    prefill = profile.prompt_token_seconds * float(prompts.sum())
    base = profile.base_seconds
    alone = profile.sequence_seconds * generated + profile.context_token_seconds * resident
    bounds = [
        alone + generated * base / profile.seats,
        alone + resident * base / profile.kv_tokens,
    ]
    pace = pace_limit_seconds(scenario.intent)
    if pace is not None and pace > base:
        bounds.append(alone * pace / (pace - base))
    return (max(bounds) + prefill) * scenario.intent.gpus_per_replica / 3600
