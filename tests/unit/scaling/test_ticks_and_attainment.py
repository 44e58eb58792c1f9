"""In the simulator: how often the law is asked changes neither attainment nor the bill."""

import dataclasses
from datetime import datetime

import pytest

from thinkscale.model.observation import Observation
from thinkscale.simulation import generate, scenarios
from thinkscale.simulation.ours import Thinkscale
from thinkscale.simulation.outcome import Outcome
from thinkscale.simulation.policy import Order, Policy
from thinkscale.simulation.run import run
from thinkscale.simulation.scenario import Boot, Scenario
from thinkscale.simulation.workload import Workload

SECONDS, WARM_UP_SECONDS, STEP_SECONDS = 2400.0, 600.0, 1200.0


def scenario(seed: int) -> Scenario:
    """Two requests a second, ten from the middle on; replicas that start in a minute."""
    rng = generate.stream(seed, "ticks")
    at = generate.poisson(rng, lambda t: 2.0 + 8.0 * (t >= STEP_SECONDS), 10.0, SECONDS)
    count = len(at)
    workload = Workload(
        name="ticks",
        at_seconds=at,
        prompt_tokens=generate.tokens(generate.lognormal(rng, 1000, 1.5, count), 1, 16_000),
        thinking_tokens=generate.tokens(generate.lognormal(rng, 1500, 1.2, count), 1, 16_000),
        answer_tokens=generate.tokens(generate.lognormal(rng, 400, 0.5, count), 1, 4000),
    )
    replayed = scenarios.replay(workload, seed)
    return dataclasses.replace(
        replayed,
        boot=Boot(mean_seconds=60.0, deviation_seconds=7.5),
        duration_seconds=SECONDS,
        warm_up_seconds=WARM_UP_SECONDS,
        initial_replicas=3,
    )


class EverySecond(Thinkscale):
    """The law, asked each second whatever it says."""

    def tick(self, observation: Observation, now: datetime) -> Order:
        return dataclasses.replace(super().tick(observation, now), next_tick_seconds=1.0)


def every_second(made: Scenario) -> Policy:
    return EverySecond(made)


def usual(made: Scenario) -> Policy:
    return Thinkscale(made)


def told(outcome: Outcome) -> tuple[float, float]:
    return outcome.attainment, outcome.gpu_hours


@pytest.mark.parametrize("seed", [1, 2])
def test_ticking_every_second_changes_attainment_by_less_than_the_noise(seed: int):
    made = scenario(seed)
    attained, hours = told(run(made, usual, policy="usual"))
    often_attained, often_hours = told(run(made, every_second, policy="often"))
    assert 0.97 < attained < 0.995, "some must miss, or nothing is compared"
    assert often_attained == pytest.approx(attained, abs=0.004)
    assert often_hours == pytest.approx(hours, rel=0.05)
