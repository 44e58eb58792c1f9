"""All rivals, at all settings, under any order of readings: no crash, limits kept, no directive;
and each does with lost metrics what its source says.
"""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.simulation.rivals.fleet_metrics import (
    FAILED,
    at,
    drift,
    fleet_view,
    observation,
    signals,
)
from thinkscale.model.observation import FleetView, MergedSignals
from thinkscale.model.reading import Absent, Reading, Value
from thinkscale.simulation.rivals import RIVALS, Rival
from thinkscale.simulation.scenario import Scenario

SCENARIO = drift()
HOLD = [name for name in RIVALS if name not in ("static", "keda-queue", "llmd-slo")]
"""What the others do: static orders its size, KEDA falls back to two, llm-d reads no load."""


def limited(least: int, most: int) -> Scenario:
    intent = dataclasses.replace(SCENARIO.intent, min_replicas=least, max_replicas=most)
    return dataclasses.replace(SCENARIO, intent=intent)


@st.composite
def metrics(draw: st.DrawFn) -> Reading[MergedSignals]:
    kind = draw(st.sampled_from(["value", "value", "value", "partial", "failed", "absent"]))
    if kind == "failed":
        return FAILED
    if kind == "absent":
        return Absent(reason="no gateway yet")
    arrivals = draw(st.integers(0, 100_000))
    value = signals(
        ready=draw(st.integers(0, 6)),
        running=draw(st.integers(0, 128)),
        held=draw(st.integers(0, 5000)),
        kv_usage=draw(st.floats(0, 1)),
        arrivals=arrivals,
        completed=draw(st.integers(0, arrivals)),
        prompt=draw(st.integers(1, 100_000)),
        output=draw(st.integers(1, 60_000)),
        ttft_seconds=draw(st.floats(0, 1800)),
        steps=draw(st.integers(0, 100_000)),
    )
    age = draw(st.floats(0, 60))
    return Value(value=value, age_seconds=age, source="gateways", complete=kind == "value")


@st.composite
def fleets(draw: st.DrawFn) -> Reading[FleetView]:
    if draw(st.integers(0, 9)) == 0:
        return FAILED
    view = fleet_view(draw(st.integers(0, 6)), draw(st.integers(0, 4)))
    return Value(value=view, age_seconds=0.0, source="kubernetes")


@pytest.mark.parametrize("name", list(RIVALS))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_order_of_readings_breaks_a_rival_or_its_limits(name: str, data: st.DataObject) -> None:
    least = data.draw(st.integers(0, 3))
    most = data.draw(st.integers(max(1, least), 12))
    setting: Any = data.draw(st.sampled_from(RIVALS[name].settings))
    policy = RIVALS[name].make(setting)(limited(least, most))
    now = 0.0
    for fleet, seen in data.draw(st.lists(st.tuples(fleets(), metrics()), max_size=15)):
        order = policy.tick(observation(fleet, seen), at(now))
        assert least <= order.replicas <= most
        assert order.directive is None
        assert order.next_tick_seconds > 0
        now += data.draw(st.sampled_from([order.next_tick_seconds, 180.0]))


@pytest.mark.parametrize("name", HOLD)
def test_an_hour_without_metrics_leaves_the_size(name: str) -> None:
    policy = RIVALS[name].make(RIVALS[name].settings[2])(SCENARIO)
    now = 0.0
    while now < 3600:
        order = policy.tick(observation(fleet_view(5), FAILED), at(now))
        assert order.replicas == 5
        now += order.next_tick_seconds


@pytest.mark.parametrize("rival", list(RIVALS.values()), ids=list(RIVALS))
def test_without_kubernetes_the_last_order_stands(rival: Rival) -> None:
    policy = rival.make(rival.settings[0])(SCENARIO)
    seen = signals(ready=5, running=60, kv_usage=0.6)
    before = policy.tick(observation(fleet_view(5), seen), at(0.0)).replicas
    assert policy.tick(observation(FAILED, seen), at(15.0)).replicas == before


@pytest.mark.parametrize("rival", list(RIVALS.values()), ids=list(RIVALS))
def test_every_rival_cites_its_source_and_has_a_grid(rival: Rival) -> None:
    assert "@" in rival.source
    assert 5 <= len(rival.settings) <= 7
    assert len(set(rival.settings)) == len(rival.settings)
    assert len({type(setting) for setting in rival.settings}) == 1


@pytest.mark.parametrize("rival", list(RIVALS.values()), ids=list(RIVALS))
def test_the_same_readings_give_the_same_orders(rival: Rival) -> None:
    def orders() -> list[int]:
        policy = rival.make(rival.settings[1])(SCENARIO)
        result, now, size = [], 0.0, 5
        for tick in range(60):
            seen = signals(
                ready=5,
                running=40 + tick,
                held=tick,
                kv_usage=0.4 + tick / 120,
                arrivals=120 * tick,
                completed=110 * tick,
                steps=400 * tick,
            )
            order = policy.tick(observation(fleet_view(size), seen), at(now))
            result.append(order.replicas)
            size, now = order.replicas, now + 15.0
        return result

    assert orders() == orders()
