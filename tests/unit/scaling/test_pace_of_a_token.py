"""What a token takes, as the gateways see it: busy time over tokens, for the last minute."""

import dataclasses

import pytest

from tests.unit.scaling.builders import make_signals
from tests.unit.scaling.narration import Story
from thinkscale.scaling import pace
from thinkscale.scaling.pace import Pace


def looked(history: Pace, at: float, active: int, tokens: int) -> Pace:
    """One reading: three in four of those who are active think, and so it is with the tokens."""
    answering = active // 4
    signals = make_signals(
        thinking=active - answering,
        answering=answering,
        tokens=tokens - tokens // 4,
        answer_tokens=tokens // 4,
    )
    return pace.observe(history, at, signals)


def test_a_token_takes_the_busy_time_over_the_tokens():
    """8 that are busy all of 60 s and produce 16,000 tokens: 480/16,000 = 30 ms."""
    history: Pace = ()
    assert pace.seconds_per_token(history) is None
    for i in range(7):
        history = looked(history, 100.0 + 10 * i, 8, 5000 + 16_000 * i // 6)
    assert pace.seconds_per_token(history) == pytest.approx(0.03)


def test_between_two_looks_as_many_are_busy_as_at_both_on_average():
    history = looked(looked((), 0.0, 4, 0), 10.0, 12, 1000)
    assert pace.seconds_per_token(history) == pytest.approx(80 / 1000)
    history = looked(history, 20.0, 0, 2000)
    assert pace.seconds_per_token(history) == pytest.approx(140 / 2000)


def test_fewer_than_sixty_four_tokens_say_nothing():
    first = looked((), 0.0, 4, 0)
    assert pace.seconds_per_token(first) is None
    assert pace.seconds_per_token(looked(first, 10.0, 4, 63)) is None
    assert pace.seconds_per_token(looked(first, 10.0, 4, 64)) == pytest.approx(40 / 64)
    idle = looked(looked((), 0.0, 0, 0), 10.0, 0, 500)
    assert pace.seconds_per_token(idle) is None


def test_only_the_last_minute_counts():
    """Ten minutes at 20 ms a token, then one at 50 ms."""
    history: Pace = ()
    tokens = 0
    for i in range(66):
        history = looked(history, 10.0 * i, 8, tokens)
        tokens += 4000 if i < 59 else 1600
        assert len(history) <= 10
    assert pace.seconds_per_token(history) == pytest.approx(0.05)


@pytest.mark.parametrize("step", [0.5, 1.0, 2.0, 15.0])
def test_how_often_one_looks_changes_neither_the_pace_nor_the_bound(step: float):
    history: Pace = ()
    for i in range(round(300 / step)):
        history = looked(history, i * step, 8, round(400 * i * step))
        assert len(history) <= 11
    assert len(history) >= 6
    assert pace.seconds_per_token(history) == pytest.approx(0.02, rel=0.001)


def test_a_gap_or_a_fall_of_the_total_begins_the_history_anew():
    history = looked(looked((), 0.0, 8, 1000), 15.0, 8, 9000)
    assert looked(history, 90.0, 8, 20_000)[-1].active_seconds == 8 * 90.0
    for begun in (looked(history, 90.1, 8, 20_000), looked(history, 30.0, 8, 8999)):
        assert len(begun) == 1
        assert begun[0].active_seconds == 0.0


def test_a_reading_seen_before_changes_nothing():
    history = looked(looked((), 0.0, 8, 1000), 15.0, 8, 9000)
    assert looked(history, 15.0, 3, 9999) is history
    assert looked(history, 14.0, 3, 9999) is history
    assert looked(history, 15.5, 3, 9999) != history


def test_those_who_answer_are_busy_and_their_tokens_count():
    quiet = dataclasses.replace(make_signals(answering=8), replicas={})
    begun = pace.observe((), 0.0, quiet)
    later = pace.observe(begun, 10.0, make_signals(answering=8, answer_tokens=800))
    assert pace.seconds_per_token(later) == pytest.approx(80 / 800)


def test_the_guess_of_a_step_starts_from_the_pace_or_else_from_the_fastest_token():
    story = Story()
    story.tick(0, 1, make_signals(thinking=4, fastest=0.03))
    assert story.state.calibration.prior is not None
    assert story.state.calibration.prior[0] == pytest.approx(0.03)
    story = Story()
    story.tick(0, 1, make_signals(thinking=4, fastest=None))
    assert story.state.calibration.prior is None
    story.tick(15, 1, make_signals(thinking=4, fastest=None, tokens=1200))
    assert story.state.calibration.prior is not None
    assert story.state.calibration.prior[0] == pytest.approx(60 / 1200)
