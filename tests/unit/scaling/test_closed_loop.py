"""The headline in miniature: the law around a deterministic fleet, load ramping up and ending."""

from functools import cache
from itertools import pairwise
from statistics import fmean

import pytest

from tests.unit.scaling.builders import make_intent, percent, policy
from tests.unit.scaling.closed_loop import Request, Story, ramp, run
from thinkscale.model.decision import Decision

INTENT = make_intent(
    up=[policy(4, 15.0), percent(100, 15.0)],
    down=[percent(100, 15.0)],
    down_window=25.0,
    startup_seconds=60.0,
)
SEEDS = (1, 2)


@cache
def story(seed: int, mean_thinking: int, **options) -> Story:
    return run(INTENT, ramp(seed, mean_thinking), 330.0, **options)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_arrivals_need_more_replicas_when_they_think_longer(seed: int):
    short, long = story(seed, 30), story(seed, 300)
    assert [r.arrived for r in short.world.requests] == [r.arrived for r in long.world.requests]
    assert short.peak <= 3
    assert long.peak >= 4
    assert long.peak > short.peak
    assert long.replica_seconds > 1.8 * short.replica_seconds


@pytest.mark.parametrize("seed", SEEDS)
def test_growth_begins_before_the_first_late_request_and_hardly_any_is_late(seed: int):
    told = story(seed, 300)
    assert told.first_scale_up is not None
    assert told.first_late is None or told.first_scale_up < told.first_late
    assert told.late_share <= 0.02


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fleet_that_does_not_grow_is_late_so_the_story_bites(seed: int):
    assert story(seed, 300, scale=False).late_share > 0.2


@pytest.mark.parametrize("mean_thinking", [30, 300])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_fleet_shrinks_to_its_minimum_and_breaks_no_request(seed: int, mean_thinking: int):
    told = story(seed, mean_thinking)
    assert told.world.broken == 0
    assert all(r.finished is not None for r in told.world.requests)
    assert told.moments[-1].size == 1
    last_arrival = max(r.arrived for r in told.world.requests)
    settled = next((m.second for m in reversed(told.moments) if m.size > 1), 0.0)
    assert settled < last_arrival + 100.0


def test_a_long_request_finishes_on_its_victim_before_the_fleet_shrinks():
    """Two replicas are busy; all end but one of 70 s: whoever leaves, that request is not hurt."""
    requests = [Request(1.0, 100, 10) for _ in range(12)] + [Request(1.0, 2300, 40)]
    told = run(INTENT, requests, 150.0, replicas=2)
    assert told.world.broken == 0
    assert all(r.finished is not None for r in told.world.requests)
    assert told.moments[-1].size == 1


def test_every_replica_holds_a_long_request_and_the_number_waits_for_it():
    requests = [Request(1.0, 2000, 40) for _ in range(2)]
    told = run(INTENT, requests, 200.0, replicas=2)
    drained = [m for m in told.moments if m.decision.cordon]
    assert drained
    assert drained[0].second < 40.0
    fall = next(m.second for m in told.moments if m.size == 1)
    assert fall > 60.0
    assert told.world.broken == 0


def every(seconds: float):
    def tick(_: Decision) -> float:
        return seconds

    return tick


@pytest.mark.parametrize("mean_thinking", [30, 300])
def test_ticking_more_often_changes_nothing_essential(mean_thinking: int):
    """One replica more or less for a minute is much of one run of so small a fleet, and is chance;
    over eight runs it must not cost or save anything.
    """
    usual = [story(seed, mean_thinking) for seed in range(1, 9)]
    often = [story(seed, mean_thinking, tick=every(0.5)) for seed in range(1, 9)]
    ratios = []
    for a, b in zip(usual, often, strict=True):
        assert abs(b.peak - a.peak) <= 1
        assert a.world.broken == b.world.broken == 0
        ratios.append(b.replica_seconds / a.replica_seconds)
    assert fmean(ratios) == pytest.approx(1.0, abs=0.05)
    late = fmean(story.late_share for story in usual)
    assert fmean(story.late_share for story in often) == pytest.approx(late, abs=0.02)


def test_a_steady_load_does_not_make_the_fleet_hunt():
    calm = make_intent(high=20, down_window=300.0, startup_seconds=60.0)
    requests = ramp(4, 300, low=2.0, high=2.0, hold_seconds=700.0)
    told = run(calm, requests, 790.0)
    sizes = [m.size for m in told.moments]
    steps = [b - a for a, b in pairwise(sizes) if a != b]
    reversals = sum(a * b < 0 for a, b in pairwise(steps))
    assert reversals <= 1
