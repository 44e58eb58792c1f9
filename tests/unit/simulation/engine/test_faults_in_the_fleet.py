"""Lost and late signals, and replicas that die."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from tests.unit.simulation.engine.small_fleets import Witness, arrivals, scenario
from thinkscale.model.observation import MergedSignals
from thinkscale.model.reading import Absent, Failed, Value
from thinkscale.simulation.members import Stage
from thinkscale.simulation.ours import thinkscale
from thinkscale.simulation.run import Simulation, run
from thinkscale.simulation.scenario import Boot, Faults, Scenario
from thinkscale.simulation.schedule import static

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
CRASH_SECONDS = 100.0


def quiet(faults: Faults) -> Scenario:
    """A load for one or two replicas, on a fleet of six: it ought to shrink."""
    rows = arrivals(5, 150, 0.25, thinking=500)
    return replace(scenario(rows, duration_seconds=600.0, replicas=6), faults=faults)


def watched(what: Scenario) -> Witness:
    witness = Witness()
    run(what, witness.around(thinkscale), policy="ours")
    return witness


def test_a_lost_scrape_is_a_failed_reading_and_shrinks_nothing() -> None:
    seen = watched(quiet(Faults(lost_scrapes=0.2))).seen

    failed = [isinstance(look.signals, Failed) for _, look, _ in seen]
    assert 0.1 < np.mean(failed) < 0.3
    assert not any(isinstance(look.signals, Absent) for _, look, _ in seen)
    size, shrank = 6, 0
    for (_, _, order), lost in zip(seen, failed, strict=True):
        assert not lost or order.replicas >= size
        assert not lost or not order.retire
        shrank += order.replicas < size
        size = order.replicas
    assert shrank > 0  # with what was not lost it did


def test_a_fleet_that_is_blind_stays_as_it_is() -> None:
    seen = watched(quiet(Faults(lost_scrapes=1.0))).seen

    assert {order.replicas for _, _, order in seen} == {6}
    ages = [look.signals.age_seconds for _, look, _ in seen if isinstance(look.signals, Failed)]
    assert len(ages) == len(seen)
    assert ages == pytest.approx([(now - BEGIN).total_seconds() for now, _, _ in seen])


def test_a_delay_shows_the_past() -> None:
    what = quiet(Faults(scrape_delay_seconds=30.0))
    at = what.workload.at_seconds

    seen = watched(what).seen

    values = [
        ((now - BEGIN).total_seconds(), look.signals)
        for now, look, _ in seen
        if isinstance(look.signals, Value)
    ]
    assert isinstance(seen[0][1].signals, Absent)
    assert len(values) > len(seen) / 2
    for now, reading in values:
        signals: MergedSignals = reading.value
        assert 30.0 <= reading.age_seconds <= 35.0
        shown = now - reading.age_seconds + 1e-6  # rounding
        assert signals.counters.arrivals == np.searchsorted(at, shown, side="right")


def busy(crashes: tuple[float, ...]) -> Scenario:
    rows = arrivals(8, 120, 0.8, thinking=800)
    what = scenario(
        rows, duration_seconds=300.0, replicas=4, boot=Boot(mean_seconds=40.0, deviation_seconds=0)
    )
    return replace(what, faults=Faults(crashes_at_seconds=crashes))


def test_the_requests_of_a_dead_replica_start_anew_and_all_are_scored() -> None:
    spared, struck = (Simulation(busy(c), static(4)) for c in ((), (CRASH_SECONDS,)))
    struck.advance(CRASH_SECONDS)
    victim = max(struck.members.present, key=lambda member: member.requests)
    lost = {flight.index for flight in victim.replica.running}
    for simulation in (spared, struck):
        simulation.advance(float("inf"))

    before, after = spared.outcome("four").requests, struck.outcome("four").requests

    assert victim.stage is Stage.GONE
    assert victim.gone_at == CRASH_SECONDS
    assert len(lost) > 3
    assert not np.isnan(after.end_seconds).any()
    np.testing.assert_array_equal(before.output_tokens, after.output_tokens)
    for index in lost:
        assert after.first_token_seconds[index] > CRASH_SECONDS - after.arrived_seconds[index]
        assert after.end_seconds[index] > before.end_seconds[index]


def test_what_was_generated_in_vain_is_counted_once_and_not_as_an_end() -> None:
    simulation = Simulation(busy((CRASH_SECONDS,)), static(4))
    simulation.advance(float("inf"))

    books = simulation.books[0]
    generated = sum(member.replica.generated_tokens for member in simulation.members.all)
    needed = int(simulation.scenario.workload.output_tokens.sum())
    assert generated > needed
    assert books.thinking_tokens + books.answer_tokens == generated
    assert sum(books.outputs.life_table(()).exposure_tokens) == generated
    assert sum(books.outputs.ends) == books.completed == len(simulation.scenario.workload)


def test_a_dead_replica_is_replaced_after_a_boot_and_billed_until_its_death() -> None:
    simulation = Simulation(busy((CRASH_SECONDS,)), static(4))
    sizes = {}
    for moment in (99.0, 101.0, 139.0, 141.0):
        simulation.advance(moment)
        members = simulation.members
        sizes[moment] = (len(members.serving), len(members.present))
    simulation.advance(float("inf"))

    assert sizes == {99.0: (4, 4), 101.0: (3, 4), 139.0: (3, 4), 141.0: (4, 4)}
    names = [member.name for member in simulation.members.all]
    assert names == [f"replica-{number}" for number in range(1, 6)]
    assert simulation.outcome("four").replica_seconds == pytest.approx(4 * 300)
