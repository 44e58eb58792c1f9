"""Rates, means and quantiles of the rivals' metrics, and how the observation becomes them."""

import pytest

from tests.unit.simulation.rivals.fleet_metrics import (
    BEGIN,
    FAILED,
    fleet_view,
    middle_of_bin,
    observation,
    scrape,
    signals,
)
from thinkscale.model.reading import Absent, Value
from thinkscale.simulation.rivals.scrape import (
    History,
    fleet_of,
    histogram_quantile,
    scrape_of,
)


def test_a_quantile_is_linear_within_its_bin() -> None:
    counts = [0] * 32
    counts[4] = 10  # (0.5, 0.75]
    assert histogram_quantile(0.9, counts) == pytest.approx(0.725)
    counts[5] = 10  # (0.75, 1.0]
    assert histogram_quantile(0.75, counts) == pytest.approx(0.875)
    assert histogram_quantile(0.9, [0] * 32) is None
    assert histogram_quantile(0.9, [0] * 31 + [5]) == 1800.0


def test_rates_and_means_are_differences_over_the_window() -> None:
    history = History(60.0)
    history.add(scrape(0.0, arrivals=100, completed=50, prompt=900), 0.0)
    assert history.arrivals_per_second() is None
    history.add(scrape(30.0, arrivals=250, completed=110, prompt=900), 30.0)
    assert history.arrivals_per_second() == pytest.approx(5.0)
    assert history.mean_prompt_tokens() == pytest.approx(900.0)
    assert history.mean_output_tokens() == pytest.approx(middle_of_bin(1900))


def test_what_is_older_than_the_window_is_forgotten() -> None:
    history = History(60.0)
    for tick in range(10):
        history.add(scrape(15.0 * tick, arrivals=tick * tick), 15.0 * tick)
    assert history.arrivals_per_second() == pytest.approx((81 - 25) / 60)


def test_a_restart_of_the_counters_begins_anew() -> None:
    history = History(60.0)
    history.add(scrape(0.0, arrivals=500), 0.0)
    history.add(scrape(15.0, arrivals=3, epoch="second"), 15.0)
    assert history.arrivals_per_second() is None
    history.add(scrape(30.0, arrivals=33, epoch="second"), 30.0)
    assert history.arrivals_per_second() == pytest.approx(2.0)


def test_a_token_takes_the_time_between_steps_of_a_busy_replica() -> None:
    history = History(60.0)
    history.add(scrape(0.0, running=40, steps=1000), 0.0)
    history.add(scrape(30.0, running=40, steps=2000), 30.0)
    assert history.token_seconds_quantile(0.9) == pytest.approx(0.030)
    assert history.token_seconds_mean() == pytest.approx(0.030)
    idle = History(60.0)
    idle.add(scrape(0.0, steps=1000), 0.0)
    idle.add(scrape(30.0, steps=1010), 30.0)
    assert idle.token_seconds_quantile(0.9) is None


def test_an_observation_becomes_a_scrape_at_the_time_it_was_made() -> None:
    seen = signals(ready=4, running=50, held=8, kv_usage=0.4, arrivals=90, completed=70, steps=5)
    late = Value(value=seen, age_seconds=4.0, source="gateways")
    found = scrape_of(observation(fleet_view(4, 2), late), 100.0)
    assert found is not None
    assert found.at_seconds == 96.0
    assert (found.in_flight, found.waiting, found.arrivals) == (208, 8, 90)
    assert [(pod.running, pod.waiting) for pod in found.pods] == [(50, 2.0)] * 4
    assert found.prompt_tokens == 70_000


def test_the_fleet_is_what_was_ordered_and_what_serves() -> None:
    found = fleet_of(observation(fleet_view(4, 2), FAILED))
    assert found is not None
    assert (found.current, found.ready) == (6, 4)


def test_what_cannot_be_read_is_nothing_not_zero() -> None:
    for missing in (FAILED, Absent(reason="no gateway yet")):
        assert scrape_of(observation(fleet_view(4), missing), BEGIN.timestamp()) is None
        assert fleet_of(observation(missing, missing)) is None
