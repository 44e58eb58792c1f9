"""Thoughts closed by load: never under the floor, never more than allowed, each with its answer."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.unit.simulation.engine.small_fleets import EIGHTH, FLOOR_TOKENS, arrivals, scenario
from thinkscale.model.admission import Ceiling
from thinkscale.model.brownout import BrownoutRule, Carried
from thinkscale.model.directive import Directive
from thinkscale.simulation.flight import Flight
from thinkscale.simulation.run import Simulation
from thinkscale.simulation.schedule import scheduled
from thinkscale.simulation.virtual_replica import VirtualReplica

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DURATION_SECONDS = 300.0
ROWS = arrivals(41, 220, 0.8, thinking=1500)
FOR_ALL = 10_000
CARRIED = (
    Carried(budget_tokens=FLOOR_TOKENS // 4, replica_seconds=1.0),
    Carried(budget_tokens=16_384, replica_seconds=8.0),
)
"""The load asks for less than the floor."""


def overloaded(
    *, cuts: int, gateways: int = 1, lasts_seconds: float = 1e5, costs_prefill: bool = False,
    carried: tuple[Carried, ...] = CARRIED,
) -> Simulation:  # fmt: skip
    """Two replicas for the load of four, served to its end."""
    what = scenario(ROWS, duration_seconds=DURATION_SECONDS, replicas=2)
    directive = Directive(
        id="d1",
        gateways=gateways,
        ceiling=Ceiling(seats=EIGHTH.seats),
        brownout=BrownoutRule(
            floor_tokens=FLOOR_TOKENS,
            carried=carried,
            cuts_allowed=cuts,
            until=BEGIN + timedelta(seconds=lasts_seconds),
        ),
    )
    simulation = Simulation(
        replace(what, gateways=gateways, cut_costs_prefill=costs_prefill),
        scheduled((0.0,), (2,), directive),
    )
    simulation.advance(math.inf)
    return simulation


def used(simulation: Simulation) -> np.ndarray:
    """Thinking tokens by request: what it produced, less its answer."""
    answers = simulation.scenario.workload.answer_tokens
    thinking: np.ndarray = simulation.outcome("two").requests.output_tokens - answers
    return thinking


@pytest.mark.parametrize("carried", [CARRIED, ()], ids=["learnt", "nothing learnt"])
@pytest.mark.parametrize("costs_prefill", [False, True])
def test_a_thought_is_never_cut_under_the_floor(
    costs_prefill: bool, carried: tuple[Carried, ...]
) -> None:
    simulation = overloaded(cuts=FOR_ALL, costs_prefill=costs_prefill, carried=carried)

    cut = simulation.outcome("two").requests.cut
    assert cut.sum() > 20
    assert used(simulation)[cut].min() >= FLOOR_TOKENS


@pytest.mark.parametrize("costs_prefill", [False, True])
def test_a_request_that_is_cut_answers_in_full_and_is_counted(costs_prefill: bool) -> None:
    simulation = overloaded(cuts=FOR_ALL, costs_prefill=costs_prefill)
    requests = simulation.outcome("two").requests
    wanted = simulation.scenario.workload.thinking_tokens

    # All tokens that were left out are of the thoughts, and only of those that were cut.
    assert not np.isnan(requests.end_seconds).any()
    np.testing.assert_array_equal(wanted - used(simulation), requests.withheld_tokens)
    np.testing.assert_array_equal(requests.withheld_tokens > 0, requests.cut)
    answered = requests.first_answer_seconds[requests.cut]
    assert (answered <= requests.end_seconds[requests.cut]).all()
    books = simulation.books[0]
    assert books.completed == len(ROWS)
    assert books.cut_by_load == books.cut == requests.cut.sum()
    # Cut thoughts are censored: they end no life.
    assert sum(books.thoughts.ends) == len(ROWS) - requests.cut.sum()


def test_an_allowance_of_none_cuts_nobody() -> None:
    simulation = overloaded(cuts=0)

    requests = simulation.outcome("two").requests
    assert not requests.cut.any()
    np.testing.assert_array_equal(used(simulation), simulation.scenario.workload.thinking_tokens)
    assert simulation.books[0].cut_by_load == 0


@pytest.mark.parametrize(("allowed", "gateways", "cut"), [(7, 1, 7), (7, 2, 6), (1, 2, 0)])
def test_all_gateways_together_cut_no_more_than_is_allowed(
    allowed: int, gateways: int, cut: int
) -> None:
    simulation = overloaded(cuts=allowed, gateways=gateways)

    assert simulation.outcome("two").requests.cut.sum() == cut
    assert sum(books.cut_by_load for books in simulation.books) == cut


def test_a_rule_whose_time_is_over_cuts_nobody_any_more() -> None:
    ends = 120.0
    simulation = overloaded(cuts=FOR_ALL, lasts_seconds=ends)

    requests = simulation.outcome("two").requests
    begun = (requests.arrived_seconds + requests.first_token_seconds)[requests.cut]
    assert len(begun) > 0
    assert begun.max() < ends
    assert requests.cut.sum() < overloaded(cuts=FOR_ALL).outcome("two").requests.cut.sum()


def test_a_fleet_that_cuts_serves_its_load_sooner() -> None:
    none, many = (overloaded(cuts=cuts).outcome("two").requests for cuts in (0, FOR_ALL))

    assert np.mean(many.first_token_seconds) < 0.5 * np.mean(none.first_token_seconds)


def test_a_cut_that_costs_a_prefill_computes_its_context_anew() -> None:
    ends, computed = {}, {}
    for costs_prefill in (False, True):
        replica, flight = VirtualReplica(EIGHTH), Flight(0, 0.0, 100, 5000, 40)
        assert replica.submit(flight, 0.0)
        prefilled = replica.begin(0.0)
        replica.end()
        replica.begin(prefilled)
        replica.close([flight], 20.0, costs_prefill=costs_prefill)
        while replica.ends_at < math.inf:
            ends[costs_prefill] = replica.ends_at
            replica.end()
            replica.begin(ends[costs_prefill])
        computed[costs_prefill] = replica.prompt_tokens
        age = flight.thinking
        assert flight.cut
        assert flight.cut_at == age
        assert flight.withheld == 5000 - age
        assert 1000 < age < 1300  # 20 s at some 17 ms a token
        assert replica.generated_tokens == age + 40

    assert computed == {False: 100, True: 100 + 100 + age}
    # One step does not decode, it prefills all that is held.
    prefill = EIGHTH.step_seconds(0, 0, 100 + age) - EIGHTH.step_seconds(1, 100 + age, 0)
    assert ends[True] - ends[False] == pytest.approx(prefill, rel=1e-6)
