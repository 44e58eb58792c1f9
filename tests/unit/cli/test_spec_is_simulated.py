"""`--spec`: the very resource that a user will apply is what is simulated."""

from dataclasses import replace
from pathlib import Path

import pytest

from thinkscale.cli import inputs
from thinkscale.cli.arguments import parser
from thinkscale.model.intent import Indicator
from thinkscale.simulation import bounds
from thinkscale.simulation.ours import thinkscale
from thinkscale.simulation.run import Simulation
from thinkscale.simulation.scenario import Scenario

EXAMPLE = Path(__file__).parents[3] / "examples" / "deepseek-r1-32b.yaml"
TRACE = (
    "arrival_s,prompt_tokens,reasoning_tokens,answer_tokens\n"
    + "".join(f"{second},200,800,100\n" for second in range(1200))
)  # fmt: skip


@pytest.fixture
def chosen(tmp_path: Path):
    (tmp_path / "calm.csv").write_text(TRACE)

    def choose(*argv: str) -> Scenario:
        arguments = parser("simulate", "")
        inputs.add_scenario(arguments)
        return inputs.scenario(arguments.parse_args(["--trace", str(tmp_path / "calm.csv"), *argv]))

    return choose


def test_the_declared_limits_objectives_and_seats_are_simulated(chosen):
    made = chosen("--spec", str(EXAMPLE))
    assert (made.intent.min_replicas, made.intent.max_replicas) == (2, 12)
    assert made.intent.gpus_per_replica == 2
    assert made.profile.seats == made.intent.seats_per_replica == 128
    assert made.gateways == 2
    assert 2 <= made.initial_replicas <= 12
    first_answer, pace = made.intent.objectives
    assert first_answer.indicator is Indicator.TIME_TO_FIRST_ANSWER
    assert (first_answer.threshold_seconds, first_answer.per_token_seconds) == (10.0, 0.045)
    assert pace.threshold_seconds == 0.06


def test_a_catalogued_model_runs_at_its_catalogued_speed(chosen):
    made = chosen("--spec", str(EXAMPLE))
    assert made.intent.step_time is not None
    assert made.profile.step_time == made.intent.step_time


def test_brownout_can_be_switched_off(chosen):
    assert chosen("--spec", str(EXAMPLE)).intent.budget.floor_tokens == 4096
    off = chosen("--spec", str(EXAMPLE), "--no-brownout").intent
    assert off.budget.floor_tokens == off.budget.max_tokens == 16384
    assert off.truncation_allowance == 0


def test_another_engine_is_the_truth_and_without_a_spec_the_prior_too(chosen):
    made = chosen("--engine", "70b-4xh100")
    assert made.intent.gpus_per_replica == 4
    assert made.profile.base_seconds == pytest.approx(0.017)
    assert made.intent.step_time == made.profile.step_time
    assert made.intent.seats_per_replica == made.profile.seats == 256


def test_another_engine_than_the_spec_expects_is_a_wrong_prior(chosen):
    told = chosen("--spec", str(EXAMPLE)).intent.step_time
    made = chosen("--spec", str(EXAMPLE), "--engine", "8b-1xh100")
    assert made.profile.base_seconds == pytest.approx(0.0077)
    assert made.intent.step_time == told
    assert made.profile.seats == 128


def test_the_load_stays_the_traces(chosen):
    made = chosen("--spec", str(EXAMPLE))
    assert len(made.workload) == 1200
    assert made.workload.thinking_tokens.max() == 800


def test_no_thought_is_longer_than_the_declared_budget(tmp_path):
    def of_thoughts(tokens: int) -> Scenario:
        path = tmp_path / f"{tokens}.csv"
        rows = "".join(f"{5 * at},200,{tokens},100\n" for at in range(1200))
        path.write_text(TRACE.splitlines()[0] + "\n" + rows)
        arguments = parser("simulate", "")
        inputs.add_scenario(arguments)
        argv = ["--trace", str(path), "--spec", str(EXAMPLE)]
        return inputs.scenario(arguments.parse_args(argv))

    made, capped = of_thoughts(30_000), of_thoughts(16_384)
    assert made.intent.budget.max_tokens == 16_384
    assert made.workload.thinking_tokens.max() == 16_384
    assert made.initial_replicas == capped.initial_replicas
    assert bounds.lower_bound_gpu_hours(made) == bounds.lower_bound_gpu_hours(capped)


def test_a_thought_of_the_whole_budget_counts_as_ended_by_it(chosen):
    made = chosen("--spec", str(EXAMPLE))
    budget = replace(made.intent.budget, max_tokens=500, floor_tokens=500)
    declared = replace(made, intent=replace(made.intent, budget=budget))
    seen = []
    for workload in (made.workload, made.workload.within(500)):
        simulation = Simulation(replace(declared, workload=workload), thinkscale)
        simulation.advance(600.0)
        tables = [books.thoughts.life_table(()) for books in simulation.books]
        assert sum(sum(table.exposure_tokens) for table in tables) > 0
        assert sum(sum(table.ends) for table in tables) == 0
        seen.append(tables)
    assert seen[0] == seen[1]
