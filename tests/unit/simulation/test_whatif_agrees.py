"""The closed forms against full simulations of both sides.

On a quarter of the reference replica (same times for a quarter of the batch), so that a fleet of
eight needs a quarter of the requests. The fleet's first hour is left out: a law that has seen
nothing yet orders too much, which no closed form knows of. The load rises slowly: under one that
never changes, a fleet of eight may stand at either side of the law's dead zone for hours, and which
one is a matter of chance.
"""

from dataclasses import replace

import numpy as np
import pytest

from thinkscale.fleet.profile import REFERENCE
from thinkscale.simulation import contestants, fluid, scenarios, whatif
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.whatif import Answer, Change
from thinkscale.simulation.workload import Workload

RATES = (2.0, 5.0)
"""Requests per second at the begin and at the end."""
HOURS = 3.5
WARM_UP_SECONDS = 3600.0
QUARTER = replace(
    REFERENCE,
    name="quarter",
    sequence_seconds=4 * REFERENCE.sequence_seconds,
    context_token_seconds=4 * REFERENCE.context_token_seconds,
    prompt_token_seconds=4 * REFERENCE.prompt_token_seconds,
    kv_tokens=REFERENCE.kv_tokens // 4,
    seats=REFERENCE.seats // 4,
)


def scenario(seed: int, replicas: int | None = None) -> Scenario:
    """With `replicas`, a fleet that stands still."""
    generator = np.random.default_rng(seed)
    span, (least, most) = HOURS * 3600, RATES
    tries = np.sort(generator.uniform(0, span, int(most * span)))
    chance = (least + (most - least) * tries / span) / most
    arrivals = tries[generator.uniform(size=len(tries)) < chance]
    count = len(arrivals)
    load = Workload(
        name="steady",
        at_seconds=arrivals,
        prompt_tokens=generator.integers(50, 800, count),
        thinking_tokens=generator.lognormal(6.8, 0.9, count).clip(1, 16_000).astype(np.int64),
        answer_tokens=generator.integers(50, 500, count),
    )
    made = scenarios.replay(load, seed, brownout=False)
    intent = replace(
        made.intent,
        step_time=QUARTER.step_time,
        kv_tokens=QUARTER.kv_tokens,
        seats_per_replica=QUARTER.seats,
    )
    first = scenarios.initial_replicas(load, QUARTER, intent, 1800.0)
    if replicas is not None:
        intent, first = replace(intent, min_replicas=replicas, max_replicas=replicas), replicas
    return replace(
        made,
        intent=intent,
        profile=QUARTER,
        initial_replicas=first,
        warm_up_seconds=WARM_UP_SECONDS,
    )


def figures(answer: Answer) -> dict[str, float]:
    named = {"attainment": answer.attainment, "gpu_hours": answer.gpu_hours}
    for place, mark in enumerate(("p50", "p95", "p99")):
        named[f"ttfa {mark}"] = answer.ttfa_seconds[place]
        named[f"e2e {mark}"] = answer.e2e_seconds[place]
    return named


def both(scenario: Scenario) -> tuple[dict[str, float], dict[str, float]]:
    """Reckoned, and simulated."""
    uncut = contestants.parse(contestants.UNCUT)[0]
    outcome = contestants.simulate(uncut, scenario)
    return (
        figures(whatif.reckoned(scenario, fluid.predict(scenario))),
        figures(whatif.simulated(scenario, outcome)),
    )


CHANGE = Change(add_thinking_tokens=500, share=0.2)


def test_both_sides_of_a_what_if_agree_with_full_simulations_within_5_percent():
    before = scenario(seed=1)
    (one, one_full), (other, other_full) = both(before), both(whatif.changed(before, CHANGE))
    assert one == pytest.approx(one_full, rel=0.05)
    assert other == pytest.approx(other_full, rel=0.05)


def test_latencies_of_a_fleet_that_stands_still_agree_within_2_percent():
    standing = whatif.changed(scenario(seed=2, replicas=11), CHANGE)
    reckoned, full = both(standing)
    assert reckoned == pytest.approx(full, rel=0.02)
