"""The clairvoyant pays less than a fleet that stands still, no less than the work costs, and meets
the target.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from thinkscale.simulation import generate
from thinkscale.simulation.bounds import lower_bound_gpu_hours
from thinkscale.simulation.oracle import RUNS, oracle
from thinkscale.simulation.run import run
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.scenarios import make, replay
from thinkscale.simulation.schedule import static
from thinkscale.simulation.workload import Workload


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def an_hour_with_a_hill() -> Scenario:
    """Two requests a second, six for twenty minutes in the middle; 700 tokens each."""
    rng = generate.stream(1, "hill")
    at = generate.poisson(
        rng, lambda t: np.where((t > 1500) & (t < 2700), 6.0, 2.0), 6.0, duration_seconds=3600
    )
    workload = Workload(
        name="hill",
        at_seconds=at,
        prompt_tokens=np.full(len(at), 1000),
        thinking_tokens=generate.tokens(generate.lognormal(rng, 1200, 0.8, len(at)), 1, 8000),
        answer_tokens=np.full(len(at), 100),
    )
    return replay(workload, 1)


def test_it_meets_the_target_between_the_work_and_a_fleet_that_stands_still() -> None:
    scenario = an_hour_with_a_hill()
    shares: list[float] = []
    found = oracle(scenario, progress=shares.append)
    assert found.policy == "oracle"
    assert found.attainment >= 0.99
    still = run(scenario, static(5), policy="static-5")
    assert still.attainment >= 0.99
    assert lower_bound_gpu_hours(scenario) < found.gpu_hours < 0.85 * still.gpu_hours
    assert shares == sorted(shares)
    assert shares[-1] <= 1 + 1e-9


def test_a_lower_target_is_cheaper() -> None:
    scenario = an_hour_with_a_hill()
    assert oracle(scenario, target=0.9).gpu_hours < oracle(scenario, target=0.999).gpu_hours


def test_with_our_gateway_it_needs_no_more_and_cuts_nobody() -> None:
    scenario = an_hour_with_a_hill()
    found = oracle(scenario, gateway=True)
    assert found.policy == "oracle-gateway"
    assert found.attainment >= 0.99
    assert not found.requests.cut.any()
    assert found.gpu_hours <= 1.02 * oracle(scenario).gpu_hours


def test_a_plan_is_searched_once_and_its_outcome_is_the_same_again(own_cache: Path) -> None:
    scenario = an_hour_with_a_hill()
    first = oracle(scenario)
    (kept,) = (own_cache / "thinkscale" / "oracle").iterdir()
    assert json.loads(kept.read_text())["gpu_hours"] == pytest.approx(first.gpu_hours)
    shares: list[float] = []
    again = oracle(scenario, progress=shares.append)
    assert again.replica_seconds == first.replica_seconds
    assert np.array_equal(again.requests.end_seconds, first.requests.end_seconds)
    assert len(list((own_cache / "thinkscale" / "oracle").iterdir())) == 1
    assert RUNS <= 10


def test_where_a_limit_forbids_the_target_it_is_the_best_there_is() -> None:
    scenario = an_hour_with_a_hill()
    few = dataclasses.replace(scenario.intent, max_replicas=2)
    scenario = dataclasses.replace(scenario, intent=few)
    found = oracle(scenario)
    best = run(scenario, static(2), policy="static-2")
    assert found.attainment < 0.99
    assert found.attainment >= best.attainment - 0.02


def test_it_does_not_know_what_a_policy_meets() -> None:
    plain = oracle(make("llmd-ramp", 1))
    blind = make("llmd-ramp+lost0.5+priors1.25", 1)
    late = dataclasses.replace(blind.faults, scrape_delay_seconds=20.0)
    for disturbed in (blind, dataclasses.replace(blind, faults=late)):
        found = oracle(disturbed)
        assert found.gpu_hours == plain.gpu_hours
        assert np.array_equal(found.requests.end_seconds, plain.requests.end_seconds)
