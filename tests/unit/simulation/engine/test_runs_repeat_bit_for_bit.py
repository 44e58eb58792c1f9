"""All that is random comes from the scenario's seed."""

from dataclasses import replace
from functools import cache

import numpy as np

from tests.unit.simulation.engine.small_fleets import arrivals, scenario
from thinkscale.simulation.ours import thinkscale
from thinkscale.simulation.outcome import Outcome
from thinkscale.simulation.run import Simulation, run
from thinkscale.simulation.scenario import Faults, Scenario
from thinkscale.simulation.schedule import static

ROWS = arrivals(11, 300, 1.0, thinking=700)
HARD = replace(
    scenario(ROWS, duration_seconds=300.0, replicas=2),
    faults=Faults(
        lost_scrapes=0.2, scrape_delay_seconds=7.0, crashes_at_seconds=(150.0,)
    ),
    gateways=2,
)  # fmt: skip


def ours(what: Scenario) -> Outcome:
    return run(what, thinkscale, policy="ours")


@cache
def once() -> Outcome:
    return ours(HARD)


def assert_identical(one: Outcome, other: Outcome) -> None:
    for part in ("requests", "timeline"):
        first, second = getattr(one, part), getattr(other, part)
        for name in first.__dataclass_fields__:
            if name != "met":
                np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for name, flags in one.requests.met.items():
        np.testing.assert_array_equal(flags, other.requests.met[name])
    assert one.replica_seconds == other.replica_seconds
    assert (one.preemptions, one.reversals) == (other.preemptions, other.reversals)


def test_the_same_seed_gives_the_same_run_bit_for_bit() -> None:
    assert_identical(once(), ours(HARD))


def test_another_seed_gives_another_run_of_the_same_requests() -> None:
    one, other = once(), ours(replace(HARD, seed=2))

    np.testing.assert_array_equal(one.requests.arrived_seconds, other.requests.arrived_seconds)
    assert one.replica_seconds != other.replica_seconds
    assert not np.array_equal(one.requests.end_seconds, other.requests.end_seconds)


def test_boots_are_drawn_by_the_seed_alone() -> None:
    def boots(seed: int) -> list[float]:
        members = Simulation(replace(HARD, seed=seed, initial_replicas=5), static(5)).members
        return [member.boot_seconds for member in members.all]

    assert boots(1) == boots(1)
    assert len(set(boots(1) + boots(2))) == 10


def test_the_progress_that_is_told_rises_to_all_of_it() -> None:
    told: list[float] = []

    run(replace(HARD, faults=Faults()), static(4), policy="four", progress=told.append)

    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 50
