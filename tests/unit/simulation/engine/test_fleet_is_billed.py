"""The bill by hand: replica-seconds from order to removal, within the scored time."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import pytest

from tests.unit.simulation.engine.small_fleets import EIGHTH, Arrival, scenario
from thinkscale.model.observation import Observation
from thinkscale.simulation.policy import Order
from thinkscale.simulation.run import Simulation, run
from thinkscale.simulation.scenario import Boot, Scenario
from thinkscale.simulation.schedule import scheduled, static

BOOT = Boot(mean_seconds=60.0, deviation_seconds=0.0)
DURATION_SECONDS = 600.0


def tiny(rows: list[Arrival], replicas: int) -> Scenario:
    return scenario(rows, duration_seconds=DURATION_SECONDS, replicas=replicas, boot=BOOT)


class Hesitant:
    """Gives these orders."""

    def __init__(self, orders: Iterator[Order]) -> None:
        self._orders = orders

    def tick(self, _observation: Observation, _now: datetime) -> Order:
        return next(self._orders)


def seconds_alone(prompt: int, output: int) -> float:
    """Of one request that has a replica for itself."""
    decodes = (EIGHTH.step_seconds(1, prompt + step, 0) for step in range(1, output))
    return EIGHTH.step_seconds(0, 0, prompt) + sum(decodes)


def test_a_standing_fleet_costs_its_size_times_the_scored_time() -> None:
    standing = replace(tiny([(1.0, 100, 10, 10)], 2), warm_up_seconds=100.0)

    outcome = run(standing, static(2), policy="two")

    assert outcome.replica_seconds == pytest.approx(2 * 500)
    assert outcome.gpu_hours == pytest.approx(2 * 500 * 2 / 3600)
    assert outcome.scored_seconds == 500
    assert outcome.reversals == 0


def test_a_boot_is_billed_from_the_order() -> None:
    # Two more are to be ready at 200, so they are ordered at 140.
    simulation = Simulation(tiny([(1.0, 100, 10, 10)], 1), scheduled((0.0, 200.0), (1, 3)))

    simulation.advance(float("inf"))

    assert [(m.ordered_at, m.ready_at) for m in simulation.members.all[1:]] == [(140, 200)] * 2
    assert simulation.outcome("plan").replica_seconds == pytest.approx(600 + 2 * 460)


def test_what_happens_after_the_last_request_is_billed_as_ordered() -> None:
    plan = scheduled((0.0, 200.0, 400.0), (1, 3, 1))

    outcome = run(tiny([(1.0, 100, 10, 10)], 1), plan, policy="plan")

    # The two leave at 400, idle.
    assert outcome.replica_seconds == pytest.approx(600 + 2 * (400 - 140))
    assert outcome.reversals == 1


def test_a_drain_is_billed_until_the_replica_is_idle() -> None:
    rows = [(390.0, 100, 700, 100), (390.0, 100, 700, 100)]
    ends = 390 + seconds_alone(100, 800)
    assert 400 < ends < 600

    outcome = run(tiny(rows, 2), scheduled((0.0, 400.0), (2, 1)), policy="plan")

    assert outcome.requests.end_seconds.tolist() == pytest.approx([ends - 390] * 2)
    assert outcome.replica_seconds == pytest.approx(600 + ends)


def test_a_drain_beyond_the_end_is_billed_to_the_end() -> None:
    rows = [(390.0, 100, 11_000, 100), (390.0, 100, 11_000, 100)]

    outcome = run(tiny(rows, 2), scheduled((0.0, 400.0), (2, 1)), policy="plan")

    assert outcome.requests.end_seconds.min() > 210
    assert outcome.replica_seconds == pytest.approx(2 * 600)


def test_a_warming_replica_that_is_no_longer_wanted_is_billed_for_what_it_warmed() -> None:
    orders = iter(
        [
            Order(replicas=1, next_tick_seconds=140.0),
            Order(replicas=2, next_tick_seconds=25.0),
            Order(replicas=1, next_tick_seconds=1000.0),
        ]
    )

    outcome = run(tiny([(1.0, 100, 10, 10)], 1), lambda _: Hesitant(orders), policy="hesitant")

    assert outcome.replica_seconds == pytest.approx(600 + 25)
