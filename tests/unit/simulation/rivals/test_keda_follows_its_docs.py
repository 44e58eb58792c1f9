"""KEDA: activation between none and one, an HPA beyond, a fallback when the metric is lost."""

import dataclasses

from tests.unit.simulation.rivals.fleet_metrics import drift, fleet, scrape
from thinkscale.simulation.rivals.keda import QueueLaw, activated
from thinkscale.simulation.scenario import Scenario


def to_zero() -> Scenario:
    scenario = drift()
    return dataclasses.replace(
        scenario, intent=dataclasses.replace(scenario.intent, min_replicas=0)
    )


def test_a_trigger_strictly_over_its_activation_wakes_one_replica() -> None:
    assert activated(0, [0.0], idle_seconds=0.0, least=0) == 0
    assert activated(0, [0.5], idle_seconds=0.0, least=0) == 1
    assert activated(7, [0.5], idle_seconds=0.0, least=0) == 7


def test_only_the_cooldown_leads_to_none_and_only_where_the_minimum_is_none() -> None:
    assert activated(3, [0.0], idle_seconds=360.0, least=0) == 3
    assert activated(3, [0.0], idle_seconds=361.0, least=0) == 0
    assert activated(3, [0.0], idle_seconds=9999.0, least=1) == 3


def test_waiting_requests_by_the_threshold_are_the_size() -> None:
    law = QueueLaw(drift(), threshold=5.0)
    assert law.step(0.0, fleet(4), scrape(0.0, held=36)) == 8


def test_an_empty_queue_shrinks_to_the_minimum_after_the_window() -> None:
    # The limit cycle of a queue metric: it is 0 while the fleet is healthy.
    law = QueueLaw(drift(), threshold=5.0)
    assert law.step(0.0, fleet(8), scrape(0.0, held=40)) == 8
    assert law.step(285.0, fleet(8), scrape(285.0)) == 8
    assert law.step(300.0, fleet(8), scrape(300.0)) == 1


def test_three_lost_readings_hold_and_the_fourth_falls_back() -> None:
    law = QueueLaw(drift(), threshold=5.0)
    for tick in range(3):
        assert law.step(15.0 * tick, fleet(1), None) == 1
    assert law.step(45.0, fleet(1), None) == 2


def test_the_fallback_shrinks_a_large_fleet_only_after_the_window() -> None:
    law = QueueLaw(drift(), threshold=5.0)
    assert law.step(0.0, fleet(8), scrape(0.0, held=40)) == 8
    sizes = [law.step(15.0 * tick, fleet(8), None) for tick in range(1, 21)]
    assert sizes == [8] * 19 + [2]


def test_a_lost_reading_is_no_idleness() -> None:
    law = QueueLaw(to_zero(), threshold=5.0)
    assert law.step(0.0, fleet(2), scrape(0.0, held=10)) == 2
    for tick in range(1, 40):
        assert law.step(15.0 * tick, fleet(2), None) == 2


def test_an_idle_service_goes_to_none_and_comes_back() -> None:
    law = QueueLaw(to_zero(), threshold=5.0)
    law.step(0.0, fleet(2), scrape(0.0, held=10))
    sizes = [law.step(15.0 * t, fleet(2), scrape(15.0 * t)) for t in range(1, 26)]
    assert sizes[-1] == 0
    assert 0 not in sizes[:24]
    assert law.step(400.0, fleet(0), scrape(400.0)) == 0
    assert law.step(415.0, fleet(0), scrape(415.0, pods=1, held=1)) == 1
