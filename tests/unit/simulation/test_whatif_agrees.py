"""The closed forms against full simulations of both sides.

With a fleet that stands still, on a quarter of the reference replica (same times for a quarter of
the batch) to need fewer requests: the latencies alone. With the law at work, the first six hours of
a day: GPU-hours too.
"""

from dataclasses import replace

import numpy as np
import pytest

from thinkscale.fleet.profile import REFERENCE
from thinkscale.simulation import contestants, fluid, scenarios, whatif
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.whatif import Answer, Change
from thinkscale.simulation.workload import Workload

RATE = 3.0
HOURS = 2.0
HOURS_OF_A_DAY = 6
CHANGE = Change(add_thinking_tokens=500, share=0.2)
QUARTER = replace(
    REFERENCE,
    name="quarter",
    sequence_seconds=4 * REFERENCE.sequence_seconds,
    context_token_seconds=4 * REFERENCE.context_token_seconds,
    prompt_token_seconds=4 * REFERENCE.prompt_token_seconds,
    kv_tokens=REFERENCE.kv_tokens // 4,
    seats=REFERENCE.seats // 4,
)


def standing(replicas: int) -> Scenario:
    """A steady load on a fleet of this size."""
    generator = np.random.default_rng(1)
    count = int(RATE * HOURS * 3600)
    load = Workload(
        name="steady",
        at_seconds=np.sort(generator.uniform(0, HOURS * 3600, count)),
        prompt_tokens=generator.integers(50, 800, count),
        thinking_tokens=generator.lognormal(6.8, 0.9, count).clip(1, 16_000).astype(np.int64),
        answer_tokens=generator.integers(50, 500, count),
    )
    made = scenarios.replay(load, 1, brownout=False)
    intent = replace(
        made.intent,
        step_time=QUARTER.step_time,
        kv_tokens=QUARTER.kv_tokens,
        seats_per_replica=QUARTER.seats,
    )
    intent = replace(intent, min_replicas=replicas, max_replicas=replicas)
    return replace(made, intent=intent, profile=QUARTER, initial_replicas=replicas)


def first_hours_of_a_day() -> Scenario:
    """`smooth`, cut."""
    day = scenarios.make("smooth", 4, brownout=False)
    load, end = day.workload, HOURS_OF_A_DAY * 3600.0
    early = load.at_seconds < end
    return replace(day, workload=load.rows(early), duration_seconds=end)


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


def test_with_the_law_at_work_both_sides_agree_within_5_percent():
    before = first_hours_of_a_day()
    for scenario in (before, whatif.changed(before, CHANGE)):
        reckoned, full = both(scenario)
        assert reckoned == pytest.approx(full, rel=0.05)


def test_latencies_of_a_fleet_that_stands_still_agree_within_3_percent():
    before = standing(9)
    for scenario in (before, whatif.changed(before, CHANGE)):
        reckoned, full = both(scenario)
        assert reckoned == pytest.approx(full, rel=0.03)
