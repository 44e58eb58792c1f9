"""Readings keep what is missing apart from zero; ages fall into bins that never move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.model.ages import AGE_EDGES_TOKENS, BINS, bin_of
from thinkscale.model.reading import Absent, Failed, Reading, Value, fresh, map_reading
from thinkscale.model.signals import GatewaySignals, PhaseCounts

SEEN: Reading[int] = Value(value=7, age_seconds=4.0, source="gateways")
PART: Reading[int] = Value(value=7, age_seconds=4.0, source="gateways", complete=False)
ABSENT: Reading[int] = Absent(reason="no gateway")
FAILED: Reading[int] = Failed(error="refused", age_seconds=9.0, source="gateways")


def test_only_a_complete_and_recent_value_is_fresh():
    assert fresh(SEEN, 4.0) is SEEN
    assert fresh(SEEN, 3.9) is None
    for reading in (PART, ABSENT, FAILED):
        assert fresh(reading, 1000.0) is None


def test_a_function_reaches_the_value_and_leaves_the_rest():
    doubled = map_reading(PART, lambda value: value * 2.5)
    assert doubled == Value(value=17.5, age_seconds=4.0, source="gateways", complete=False)
    assert map_reading(ABSENT, str) is ABSENT
    assert map_reading(FAILED, str) is FAILED


def test_the_edges_rise_from_zero_to_the_last_open_bin():
    assert AGE_EDGES_TOKENS[:2] == (0, 32)
    assert AGE_EDGES_TOKENS[-1] == 65_536
    assert len(AGE_EDGES_TOKENS) == BINS == 45
    assert sorted(set(AGE_EDGES_TOKENS)) == list(AGE_EDGES_TOKENS)


@given(st.integers(0, 200_000))
def test_every_age_has_the_one_bin_that_holds_it(age: int):
    index = bin_of(age)
    assert AGE_EDGES_TOKENS[index] <= age
    assert index == BINS - 1 or age < AGE_EDGES_TOKENS[index + 1]


def test_an_age_below_zero_is_new():
    assert bin_of(-1) == 0


def test_depth_is_what_has_not_answered_and_occupancy_is_everybody():
    phases = PhaseCounts(queued=3, thinking=5, answering=7)
    assert phases.depth == 8
    assert phases.in_flight == 15


def test_signals_travel_in_camel_case_and_a_newer_peer_may_say_more():
    signals = GatewaySignals(
        boot_id="b", sequence=1, gateway="g", service="a/b", uptime_seconds=2.0
    )
    wire = signals.model_dump(mode="json", by_alias=True)
    assert wire["bootId"] == "b"
    assert GatewaySignals.model_validate({**wire, "fromTheFuture": 1}) == signals
    with pytest.raises(ValueError, match="sequence"):
        GatewaySignals.model_validate({**wire, "sequence": -1})
