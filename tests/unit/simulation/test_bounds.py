"""The lower bound and the design point against arithmetic by hand."""

import dataclasses

import numpy as np
import pytest

from thinkscale.fleet.profile import REFERENCE
from thinkscale.simulation.bounds import lower_bound_gpu_hours
from thinkscale.simulation.design_point import design_point, pace_limit_seconds
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.scenarios import make, replay
from thinkscale.simulation.workload import Workload


def requests(count: int, prompt: int, thinking: int, answer: int) -> Workload:
    return Workload(
        name="hand",
        at_seconds=np.arange(count, dtype=float),
        prompt_tokens=np.full(count, prompt, dtype=np.int64),
        thinking_tokens=np.full(count, thinking, dtype=np.int64),
        answer_tokens=np.full(count, answer, dtype=np.int64),
    )


def scored(workload: Workload, *, seats: int = 128) -> Scenario:
    return dataclasses.replace(
        replay(workload, 1),
        warm_up_seconds=0.0,
        profile=dataclasses.replace(REFERENCE, seats=seats),
    )


def test_the_example_of_the_docstring() -> None:
    per_request = (2000 * (27e-6 + 15.5e-3 / 128) + 4_001_000 * 0.076e-6 + 1000 * 51e-6) * 2 / 3600
    assert lower_bound_gpu_hours(scored(requests(1, 1000, 1500, 500))) == pytest.approx(per_request)
    assert per_request == pytest.approx(0.000362, abs=5e-7)


def test_a_long_context_is_bound_by_the_kv_cache() -> None:
    contexts = sum(20_000 + j for j in range(1, 10_001))
    by_hand = 10_000 * 27e-6 + contexts * (0.076e-6 + 15.5e-3 / 290_000) + 20_000 * 51e-6
    bound = lower_bound_gpu_hours(scored(requests(1, 20_000, 9000, 1000)))
    assert bound == pytest.approx(by_hand * 2 / 3600)


def test_few_seats_bind_and_cost_more() -> None:
    by_hand = 2000 * (27e-6 + 15.5e-3 / 16) + 4_001_000 * 0.076e-6 + 1000 * 51e-6
    bound = lower_bound_gpu_hours(scored(requests(1, 1000, 1500, 500), seats=16))
    assert bound == pytest.approx(by_hand * 2 / 3600)


def test_a_tight_pace_binds() -> None:
    scenario = scored(requests(1, 1000, 1500, 500))
    tight = tuple(
        dataclasses.replace(slo, threshold_seconds=0.020) if slo.name == "pace" else slo
        for slo in scenario.intent.objectives
    )
    scenario = dataclasses.replace(
        scenario, intent=dataclasses.replace(scenario.intent, objectives=tight)
    )
    by_hand = (2000 * 27e-6 + 4_001_000 * 0.076e-6) * 20 / 4.5 + 1000 * 51e-6
    assert lower_bound_gpu_hours(scenario) == pytest.approx(by_hand * 2 / 3600)


def test_only_what_arrives_in_the_scored_time_counts() -> None:
    ten = scored(requests(10, 1000, 1500, 500))
    some = dataclasses.replace(ten, warm_up_seconds=4.0, duration_seconds=9.0)
    assert lower_bound_gpu_hours(some) == pytest.approx(lower_bound_gpu_hours(ten) / 2)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("smooth", 241),
        ("bursts", 252),
        ("step", 32),
        ("drift", 97),
        ("heavy-tail", 79),
        ("heavy-tail-8k", 51),
        ("servegen", 276),
    ],
)
def test_the_work_of_each_scenario_is_that_of_the_reference(name: str, published: float) -> None:
    """The reference printed whole GPU-hours, of seeds that are not ours: within 2 %."""
    ours = np.mean([lower_bound_gpu_hours(make(name, seed)) for seed in (1, 2)])
    assert ours == pytest.approx(published, rel=0.02)


def test_the_design_point_of_the_docstring() -> None:
    point = design_point(requests(4, 1000, 1500, 500), REFERENCE, 0.045)
    assert point.batch == 128
    assert point.token_seconds == pytest.approx(0.041676)
    assert point.requests_per_second == pytest.approx(1.5357, abs=1e-4)


def test_the_context_of_the_design_point_is_that_of_running_sequences() -> None:
    """Half the requests of 500 tokens, half of 7,500: mean 4,000, but who runs is long. The context
    is 1,000 + (500^2 + 7,500^2) / 2 / 8,000 = 4,531, so .93 * 290,000 / 4,531 = 59.5 fit.
    """
    short, long = requests(2, 1000, 400, 100), requests(2, 1000, 7400, 100)
    both = Workload(
        name="both",
        at_seconds=np.zeros(4),
        prompt_tokens=np.concatenate((short.prompt_tokens, long.prompt_tokens)),
        thinking_tokens=np.concatenate((short.thinking_tokens, long.thinking_tokens)),
        answer_tokens=np.concatenate((short.answer_tokens, long.answer_tokens)),
    )
    assert design_point(both, REFERENCE, 0.045).batch == pytest.approx(59.52, abs=0.01)


def test_without_an_objective_there_is_no_pace_to_keep() -> None:
    intent = make("drift", 1).intent
    assert pace_limit_seconds(intent) == 0.045
    assert pace_limit_seconds(dataclasses.replace(intent, objectives=intent.objectives[:1])) is None
    assert design_point(requests(1, 10, 10, 10), REFERENCE, 0.001).batch == 1
