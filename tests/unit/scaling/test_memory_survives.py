"""The law's state: through JSON and back, bounded, and never the cause of an exception."""

import json

import pytest

from tests.unit.scaling.builders import (
    FIRST_ANSWER,
    make_fleet,
    make_intent,
    make_signals,
    policy,
    replica,
)
from tests.unit.scaling.narration import Story
from thinkscale.model.decision import Hold, Scale
from thinkscale.model.observation import FleetView
from thinkscale.model.signals import SloCounts
from thinkscale.scaling import (
    State,
    arrivals,
    attainment,
    backlog,
    calibrate,
    cordon,
    lead_time,
    pace,
    stabilize,
    steps,
)
from thinkscale.scaling.arrivals import Arrivals
from thinkscale.scaling.attainment import SloHistory
from thinkscale.scaling.backlog import Saturation
from thinkscale.scaling.calibrate import Baseline, Calibration
from thinkscale.scaling.lead_time import Warmed
from thinkscale.scaling.life_table import Lengths, Table
from thinkscale.scaling.margin import Margin
from thinkscale.scaling.pace import PaceSample


@pytest.mark.parametrize(
    "garbage",
    [
        None,
        {},
        [],
        "state",
        7,
        {"version": 1},
        {"version": 2, "margin": {"value": "much"}},
        {"version": 2, "margin": {"value": float("nan")}},
        {"version": 2, "downs": [[1, 2, 3]]},
        {"version": 2, "lengths": {"outputs": {"exposure_tokens": [1.0]}}},
        {"version": 2, "lengths": {"thinking": {"counted_exposure": [1], "counted_ends": [1]}}},
        {"version": 2, "arrivals": {"samples": [[1.0]]}},
        {"version": 2, "calibration": {"multiples": [1.0, 1.0]}},
        {"version": 2, "cordon": {"a": None}},
        {"version": 2, "wanted": object()},
    ],
    ids=lambda garbage: repr(garbage).split(" at 0x")[0],
)
def test_what_is_not_a_state_is_the_initial_one(garbage: object):
    assert State.from_json(garbage) == State.initial()


def test_an_absurd_number_in_a_valid_state_moves_no_fleet():
    for wanted in (-5, 10**9):
        story = Story()
        story.state = State.from_json({"version": 2, "wanted": wanted, "trusted_at": 0.0})
        decision = story.tick(0, 3, make_signals(thinking=15))
        assert 1 <= decision.wanted <= 8


def test_a_lost_state_costs_no_replica_that_serves_or_comes():
    story = Story(make_intent(down_window=60.0))
    story.tick(0, 5, make_signals(thinking=30))
    story.state = State.initial()
    assert story.tick(10, 5, make_signals()).wanted == 5
    assert story.tick(60, 5, make_signals()).wanted == 5
    assert story.tick(71, 5, make_signals()).wanted == 1
    story = Story(make_intent(down_window=60.0))
    assert story.tick(0, make_fleet(2, stuck=4), make_signals()).replicas == Scale(to=2)
    story = Story(make_intent(down_window=60.0))
    assert story.tick(0, make_fleet(2, warming=4), make_signals()).replicas == Hold(at=6)


def test_the_state_stays_under_32_kilobytes_whatever_happens():
    """An hour of everything at once: many SLOs, big counters, 600 replicas, wild wishes."""
    slos = [
        type(FIRST_ANSWER)(
            name=f"objective-number-{i:02d}-of-a-service",
            indicator=FIRST_ANSWER.indicator,
            threshold_seconds=8.0,
            per_token_seconds=0.0,
            objective=0.99,
            window_seconds=3600.0,
        )
        for i in range(16)
    ]
    story = Story(
        make_intent(
            high=1000,
            down_window=3600.0,
            objectives=slos,
            up=[policy(1000, 1800.0)],
            down=[policy(1000, 1800.0)],
        )
    )
    for i in range(400):
        size = 300 + (i * 37) % 300
        counts = {
            s.name: SloCounts(good=10**9 + 1000 * i, bad=10**9 + 100 * i, overdue=5) for s in slos
        }
        signals = make_signals(
            thinking=(i * 997) % 5000,
            arrivals=10**9 + 977 * i,
            tokens=10**12 + 99_991 * i,
            mean_tokens=3000 + i,
            thoughts=10**8 + i,
            slos=counts,
        )
        fleet = FleetView(
            replicas=tuple(
                replica(f"a-service-with-a-long-name-5d8f7c9b6d-{j:05d}", warmed_in=123.456)
                for j in range(size)
            ),
            desired=size,
            rolling=False,
        )
        if i % 50 == 49:
            story.intent = make_intent(high=200, down_window=3600.0, objectives=slos)
        story.tick(i * 9.7, fleet, signals)
        if i % 20 == 0:
            written = json.dumps(story.state.to_json())
            assert len(written) < 32_000


def test_a_memory_full_to_the_brim_is_under_32_kilobytes():
    """Every bounded part at its bound, with long names and large counts."""
    pod, when = "a-service-with-a-rather-long-name-model-5d8f7c9b6d-x2x4z", 1_764_000_000.123
    history = SloHistory(
        window_seconds=3600.0,
        counted_good=10**9,
        counted_bad=10**8,
        buckets=((7_840_000, 123_456, 65_432),) * (attainment.BUCKETS + 1),
    )
    sample = PaceSample(at=when, tokens=10**11, active=999, active_seconds=123_456.123)
    kept = round(pace.KEPT_SECONDS / pace.SPACING_SECONDS) + 3
    table = Table(
        exposure_tokens=(12_345_678.1,) * 45,
        ends=(12_345.1234,) * 45,
        slow_exposure_tokens=(123_456_789.1,) * 45,
        slow_ends=(123_456.1234,) * 45,
        counted_exposure=(10**11,) * 45,
        counted_ends=(10**8,) * 45,
    )
    baseline = Baseline(
        at=when, steps=10**9, generated=10**11, prompts=10**11, context=10**6, running=256
    )
    row = (0.0123456789, -0.0123456789, 0.0123456789, -0.0123456789)
    objectives = [f"an-objective-of-the-service-{i:02d}" for i in range(16)]
    state = State(
        epoch="0123456789ab",
        slos=dict.fromkeys(objectives, history),
        cordon={f"{pod}{i}": when for i in range(cordon.MOST_VICTIMS)},
        ups=((when, 123),) * (stabilize.KEPT + 1),
        downs=((when, 123),) * (stabilize.KEPT + 1),
        changes=((when, -123),) * steps.KEPT,
        awaited=(pod,) * lead_time.MOST_AWAITED,
        lead_times=(Warmed(name=pod, ready_at=when, seconds=123.456),) * lead_time.KEPT,
        arrivals=Arrivals(at=when, samples=((15.123, 12_345.0),) * arrivals.KEPT),
        pace=(sample,) * kept,
        lengths=Lengths(thinking=table, outputs=table),
        saturation=Saturation(samples=((when, 10**11, 123_456.123),) * backlog.KEPT),
        calibration=Calibration(
            prior=row,
            covariance=(row, row, row, row),
            baselines={f"{pod}{i}": baseline for i in range(calibrate.KEPT)},
        ),
        margin=Margin(value=0.9512345, at=when, bad=dict.fromkeys(objectives, 10**8)),
        latency=((when, (10**6,) * 32),) * 8,
    )
    assert len(json.dumps(state.to_json())) < 32_000


def test_the_same_tick_decides_the_same():
    def run() -> list[str]:
        story = Story(make_intent(down_window=10.0))
        said = []
        for i in range(20):
            fleet = make_fleet(3, warming=i % 2)
            said.append(repr(story.tick(i * 5, fleet, make_signals(thinking=(i * 7) % 25))))
        return said

    assert run() == run()
