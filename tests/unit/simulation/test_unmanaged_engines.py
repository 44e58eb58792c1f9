"""A fleet without a gateway of ours: one engine is the literal step loop, whoever waits where."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.simulation.engine.small_fleets import EIGHTH, Arrival, arrivals, scenario
from thinkscale.fleet.profile import Profile
from thinkscale.fleet.replica import Replica
from thinkscale.model.intent import Budget
from thinkscale.simulation.outcome import Outcome
from thinkscale.simulation.run import Simulation, run
from thinkscale.simulation.schedule import static


def literal(rows: list[Arrival], profile: Profile) -> tuple[np.ndarray, int]:
    """End to end, and preemptions, by the loop over steps with the engine's own queue."""
    replica, now, coming, ends = Replica(profile), 0.0, 0, {}
    while len(ends) < len(rows):
        while coming < len(rows) and rows[coming][0] <= now:
            _, prompt, thinking, answer = rows[coming]
            replica.submit(coming, prompt, thinking + answer)
            coming += 1
        step = replica.next_step(now)
        if step is None:
            now = rows[coming][0]
            continue
        now = step.ends_at
        ends.update(dict.fromkeys(replica.advance().finished, now))
    return np.array([ends[at] - row[0] for at, row in enumerate(rows)]), replica.preemptions


def simulated(rows: list[Arrival], profile: Profile) -> Outcome:
    what = replace(scenario(rows, duration_seconds=rows[-1][0] + 1, replicas=1), profile=profile)
    return run(what, static(1), policy="one")


@pytest.mark.parametrize(
    ("profile", "per_second"),
    [
        (replace(EIGHTH, seats=6), 0.35),
        (replace(EIGHTH, kv_tokens=24_000), 0.35),
        (replace(EIGHTH, kv_tokens=24_000, step_tokens=64), 0.3),
    ],
    ids=["seats", "KV cache", "KV cache, short chunks"],
)
def test_a_run_of_one_engine_is_the_literal_step_loop(profile: Profile, per_second: float) -> None:
    rows = arrivals(13, 250, per_second, thinking=500)
    rows = [row for row in rows if sum(row[1:]) <= profile.kv_tokens]
    expected, preemptions = literal(rows, profile)

    outcome = simulated(rows, profile)

    found = outcome.requests.end_seconds
    assert outcome.requests.queue_seconds.max() > 5  # there was a queue
    assert found.mean() == pytest.approx(expected.mean(), rel=1e-3)
    assert np.quantile(found, 0.99) == pytest.approx(np.quantile(expected, 0.99), rel=5e-3)
    assert outcome.preemptions == pytest.approx(preemptions, rel=0.1, abs=1)


def test_who_waits_gets_the_seat_that_is_given_up_with_the_very_next_step() -> None:
    profile = replace(EIGHTH, seats=1)

    requests = simulated([(0.0, 100, 10, 10), (0.0, 100, 10, 10)], profile).requests

    assert requests.queue_seconds[1] == pytest.approx(requests.end_seconds[0], abs=1e-9)


def test_an_output_that_the_declared_budget_ends_is_an_end_and_its_thought_is_not() -> None:
    rows = [(float(at), 100, 300 + 100 * (at % 2), 50) for at in range(20)]
    plain = scenario(rows, duration_seconds=60.0, replicas=2)
    budget = Budget(max_tokens=400, floor_tokens=400)
    simulation = Simulation(replace(plain, intent=replace(plain.intent, budget=budget)), static(2))
    simulation.advance(float("inf"))

    (answer,) = simulation.eyes.gateways(1000.0)

    assert sum(answer.life_table.ends) == 10  # those of exactly 400 were stopped there
    assert sum(answer.output_life_table.ends) == 20
    assert answer.budget.cut == 10
    assert answer.budget.cut_by_load == answer.budget.withheld_tokens == 0
