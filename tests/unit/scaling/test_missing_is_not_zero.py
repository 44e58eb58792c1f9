"""Signals that are absent, failed, stale or partial: nothing shrinks, only a bound grows."""

import pytest

from tests.unit.scaling.builders import (
    at,
    make_fleet,
    make_intent,
    make_signals,
    observe,
    work,
)
from tests.unit.scaling.narration import Story
from thinkscale.model.decision import Blocked, Hold, LimitedBy, Reason, Scale
from thinkscale.model.observation import MergedSignals
from thinkscale.model.reading import Absent, Failed, Reading, Value
from thinkscale.scaling.evidence import Trust, weigh

ABSENT: Reading[MergedSignals] = Absent(reason="no gateway is running")
FAILED: Reading[MergedSignals] = Failed(
    error="gateway-0: connection refused", age_seconds=30.0, source="gateways"
)
STALE: Reading[MergedSignals] = Value(value=make_signals(), age_seconds=20.0, source="gateways")


@pytest.mark.parametrize(
    ("missing", "reason", "words"),
    [
        (ABSENT, Reason.SIGNALS_ABSENT, "no gateway is running"),
        (FAILED, Reason.SIGNALS_STALE, "gateway-0: connection refused (for 30 s)"),
        (STALE, Reason.SIGNALS_STALE, "the last signals are 20 s old"),
    ],
    ids=["absent", "failed", "stale"],
)
def test_a_fleet_without_signals_is_held_for_as_long_as_it_takes(
    missing: Reading[MergedSignals], reason: Reason, words: str
):
    story = Story(make_intent(down_window=0.0))
    story.tick(0, 5, make_signals(thinking=30))
    for second in range(10, 1000, 30):
        decision = story.tick(second, 5, missing)
        assert decision.replicas == Hold(at=5)
        assert decision.wanted == 5
        assert decision.reason is reason
        assert decision.limited_by is LimitedBy.SIGNALS
        assert words in decision.message
        assert decision.message.endswith("holding 5 replicas")
        assert all(term.wish is None for term in decision.terms)
        assert "in_flight" not in decision.numbers


def test_signals_of_fifteen_seconds_are_fresh_and_older_ones_are_not():
    for age, trust in ((15.0, Trust.FRESH), (15.1, Trust.STALE)):
        assert weigh(observe(make_fleet(1), make_signals(), age=age)).trust is trust
    for age, trust in ((120.0, Trust.FRESH), (120.1, Trust.PARTIAL)):
        fleet = Value(value=make_fleet(1), age_seconds=age, source="kubernetes")
        assert weigh(observe(fleet, make_signals())).trust is trust


def test_what_is_learnt_is_dated_by_when_it_was_seen():
    story = Story()
    story.tick(100, 1, make_signals(thinking=1), age=4.0)
    assert story.state.arrivals.at == at(96).timestamp()
    assert story.state.lengths.at == at(96).timestamp()
    assert story.state.trusted_at == at(100).timestamp()


def test_a_first_look_without_signals_holds_what_is_there():
    decision = Story().tick(0, 6, ABSENT)
    assert decision.replicas == Hold(at=6)
    assert decision.next_tick_seconds == 15.0


def test_the_minimum_is_met_even_without_signals():
    assert Story(make_intent(low=3)).tick(0, 1, ABSENT).replicas == Scale(to=3)
    assert Story(make_intent(low=3)).tick(0, 1, ABSENT).reason is Reason.MIN_REPLICAS


def test_a_maximum_lowered_during_an_outage_waits_for_the_signals():
    story = Story(make_intent(high=2))
    assert story.tick(0, 5, ABSENT).replicas == Hold(at=5)
    assert story.tick(10, 5, make_signals()).wanted == 2


def test_a_partial_sum_grows_the_fleet():
    decision = Story().tick(0, 2, make_signals(thinking=30), complete=False)
    assert decision.replicas == Scale(to=4)
    assert decision.reason is Reason.OCCUPANCY


def test_one_lost_scrape_in_five_neither_ends_the_window_nor_begins_it_anew():
    story = Story(make_intent(down_window=100.0))
    story.tick(0, 4, make_signals(thinking=20))
    for second in range(15, 105, 15):
        lost = second % 75 == 0
        decision = story.tick(second, 4, STALE if lost else make_signals())
        assert decision.wanted == 4
        assert decision.reason is Reason.SIGNALS_STALE or not lost
    assert story.tick(105, 4, STALE).wanted == 4
    assert story.tick(110, 4, make_signals()).wanted == 1


def test_a_lost_scrape_does_not_hold_up_growth():
    story = Story(make_intent(up_window=20.0))
    story.tick(0, 1, make_signals(thinking=20))
    story.tick(10, 1, STALE)
    assert story.tick(21, 1, make_signals(thinking=20)).wanted > 1


def test_a_partial_sum_never_shrinks_and_a_minute_of_them_renews_the_window():
    story = Story(make_intent(down_window=20.0))
    story.tick(0, 4, make_signals(thinking=20))
    for second in range(5, 100, 5):
        decision = story.tick(second, 4, make_signals(), complete=False)
        assert decision.wanted == 4
        assert decision.reason is Reason.SIGNALS_PARTIAL
        assert decision.limited_by is LimitedBy.SIGNALS
        assert "so nothing shrinks" in decision.message
    assert story.tick(100, 4, make_signals()).wanted == 4
    assert story.tick(121, 4, make_signals()).wanted == 1


def test_fewer_gateways_heard_than_expected_is_partial_too():
    story = Story(make_intent(down_window=0.0))
    seen = observe(make_fleet(4), make_signals(), expected=2, heard=1)
    decision = story.see(0, seen)
    assert decision.wanted == 4
    assert "1 of 2 gateways were heard" in decision.message


def test_replicas_that_were_not_read_for_a_while_do_not_leave():
    story = Story(make_intent(down_window=0.0))
    fleet = Value(value=make_fleet(4), age_seconds=121.0, source="kubernetes")
    assert story.see(0, observe(fleet, make_signals())).replicas == Hold(at=4)


@pytest.mark.parametrize(
    "fleet",
    [
        Absent(reason="no deployment"),
        Failed(error="timeout", age_seconds=5.0, source="kubernetes"),
        Value(value=make_fleet(1), age_seconds=0.0, source="kubernetes", complete=False),
    ],
    ids=["absent", "failed", "partial"],
)
def test_without_the_fleet_no_decision_is_possible(fleet):
    story = Story()
    story.tick(0, 3, make_signals(thinking=20))
    before = story.state
    decision = story.see(2, observe(fleet, make_signals(thinking=50)))
    assert decision.replicas == Blocked()
    assert decision.reason is Reason.FLEET_UNKNOWN
    assert decision.wanted == 3
    assert decision.retire == ()
    assert decision.next_tick_seconds == 2.0
    assert story.state == before


def test_a_fleet_never_seen_blocks_with_the_minimum():
    decision = Story(make_intent(low=2)).see(0, observe(Absent(reason="new"), make_signals()))
    assert decision.replicas == Blocked()
    assert decision.wanted == 2


def test_a_drain_pauses_when_signals_go_missing_and_is_called_off_after_a_minute():
    story = Story(make_intent(down_window=0.0))
    signals = make_signals(thinking=2, replicas={"ready-0": work(2), "ready-1": work(0)})
    draining = story.tick(0, 2, signals)
    assert draining.cordon == {"ready-1"}
    for second in (5, 30, 59):
        decision = story.tick(second, 2, ABSENT)
        assert decision.cordon == {"ready-1"}
        assert decision.replicas == Hold(at=2)
        assert decision.retire == ()
    called_off = story.tick(61, 2, ABSENT)
    assert called_off.cordon == frozenset()
    assert called_off.wanted == 2


def test_silence_is_not_idleness():
    story = Story(make_intent(low=0, idle_seconds=60.0, down_window=0.0))
    story.tick(0, 1, make_signals())
    for second in range(10, 300, 10):
        assert story.tick(second, 1, FAILED).wanted == 1
    assert story.tick(300, 1, make_signals()).wanted == 1
    assert story.tick(340, 1, make_signals()).wanted == 1
    assert story.tick(351, 1, make_signals()).wanted == 0
