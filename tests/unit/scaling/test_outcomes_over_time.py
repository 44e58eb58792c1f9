"""Attainment over its window, latency for people, and the slow trim that misses cause."""

import dataclasses

import pytest

from tests.unit.scaling.builders import FIRST_ANSWER, at, make_intent, make_signals
from tests.unit.scaling.narration import Story
from thinkscale.model.decision import Reason
from thinkscale.model.intent import Mode
from thinkscale.model.observation import MergedSignals
from thinkscale.model.reading import Absent
from thinkscale.model.signals import BudgetSignals, Histogram, SloCounts
from thinkscale.scaling import attainment

NAME = FIRST_ANSWER.name


def outcomes(good: int, bad: int, overdue: int = 0, thinking: int = 12) -> MergedSignals:
    counts = SloCounts(good=good, bad=bad, overdue=overdue)
    return make_signals(thinking=thinking, slos={NAME: counts})


def test_attainment_counts_from_the_first_look_on():
    story = Story()
    assert story.tick(0, 2, outcomes(1000, 500)).attained == {}
    assert story.tick(10, 2, outcomes(1090, 510)).attained == {NAME: pytest.approx(0.9)}


def test_a_request_past_its_limit_is_a_miss_now_and_is_counted_once():
    story = Story()
    story.tick(0, 2, outcomes(0, 0))
    assert story.tick(10, 2, outcomes(9, 0, overdue=1)).attained[NAME] == pytest.approx(0.9)
    assert story.tick(20, 2, outcomes(9, 1)).attained[NAME] == pytest.approx(0.9)


def test_an_outcome_counts_for_the_whole_window_and_at_most_a_sixteenth_longer():
    width = 3600.0 / attainment.BUCKETS
    begin = 1000 * width
    history = attainment.observe(None, begin, SloCounts(), 3600.0)
    history = attainment.observe(history, begin, SloCounts(bad=1), 3600.0)
    kept = attainment.observe(history, begin + 3600.0 + width - 1, SloCounts(bad=1), 3600.0)
    assert attainment.whole(kept, begin + 3600.0 + width - 1, 0).bad == 1
    gone = attainment.observe(history, begin + 3600.0 + width, SloCounts(bad=1), 3600.0)
    assert gone.buckets == ()
    assert attainment.whole(history, begin + 3600.0 + width, 0).bad == 0


def test_what_lies_before_the_window_is_forgotten():
    story = Story()
    story.tick(0, 2, outcomes(0, 0))
    story.tick(10, 2, outcomes(0, 100))
    good = 0
    for second in range(100, 3500, 100):
        good += 10
        story.tick(second, 2, outcomes(good, 100))
    assert story.tick(3550, 2, outcomes(good, 100)).attained[NAME] < 0.8
    assert story.tick(3900, 2, outcomes(good + 10, 100)).attained[NAME] == 1.0


def test_a_restart_of_the_operator_keeps_the_hour_and_takes_a_new_baseline():
    story = Story()
    story.tick(0, 2, outcomes(0, 0))
    story.tick(10, 2, outcomes(90, 10))
    anew = story.tick(20, 2, outcomes(5, 3), epoch="epoch-2")
    assert anew.attained[NAME] == pytest.approx(0.9)
    later = story.tick(30, 2, outcomes(105, 3), epoch="epoch-2")
    assert later.attained[NAME] == pytest.approx(0.95)


def test_larger_totals_of_another_epoch_are_a_baseline_too():
    story = Story()
    story.tick(0, 2, outcomes(0, 0))
    story.tick(10, 2, outcomes(90, 10))
    anew = story.tick(20, 2, outcomes(500, 500), epoch="epoch-2")
    assert anew.attained[NAME] == pytest.approx(0.9)


def test_lengths_survive_a_restart_and_are_not_counted_twice():
    story = Story()
    first = story.tick(0, 2, make_signals(thinking=5, answer_tokens=300, answers=10))
    table = story.state.lengths.thinking
    again = story.tick(
        10, 2, make_signals(thinking=5, answer_tokens=300, answers=10), epoch="epoch-2"
    )
    assert story.state.lengths.thinking.ends == table.ends
    assert story.state.lengths.answer_mean_tokens == 30
    assert again.numbers["backlog_tokens"] == pytest.approx(first.numbers["backlog_tokens"])


def test_a_changed_window_starts_its_own_history():
    story = Story()
    story.tick(0, 2, outcomes(0, 0))
    story.tick(10, 2, outcomes(0, 10))
    shorter = dataclasses.replace(FIRST_ANSWER, window_seconds=600.0)
    story.intent = make_intent(objectives=[shorter])
    assert story.tick(20, 2, outcomes(0, 10)).attained == {}
    story.intent = make_intent(objectives=[])
    story.tick(30, 2, outcomes(0, 10))
    assert story.state.slos == {}


def burning(story: Story, ticks: int, *, fleet=None, thinking: int = 18) -> None:
    """A tenth of all requests are late, twice what the objective allows."""
    for i in range(ticks):
        counts = SloCounts(good=18 * i, bad=2 * i)
        signals = make_signals(thinking=thinking, arrivals=20 * i, slos={NAME: counts})
        story.tick(i * 15, fleet or 3, signals)


def test_sustained_misses_raise_the_margin_and_say_so():
    """Each 15 s the margin moves by 2e-4·(2 - .6): from .95 by .21 in 750 looks."""
    story = Story()
    burning(story, 751)
    assert story.decision is not None
    assert story.decision.numbers["margin"] == pytest.approx(1.16)
    story.tick(11_350, 3, make_signals(thinking=21), complete=False)
    assert story.decision.reason is Reason.TAIL_LATENCY
    assert "late requests raised the margin to 1.16" in story.decision.message
    term = next(t for t in story.decision.terms if t.name == "tail")
    assert term.wish == story.decision.wanted == 4


def test_the_margin_stands_still_while_signals_are_missing_or_somebody_else_sets_the_size():
    story = Story()
    burning(story, 20)
    before = story.state.margin
    story.tick(600, 3, Absent(reason="gone"))
    assert story.state.margin == before
    by_hand = Story(make_intent(mode=Mode.ADVISORY, manual=3))
    burning(by_hand, 60)
    assert by_hand.decision.numbers["margin"] == 0.95


def test_the_margin_does_not_wind_up_at_the_maximum():
    story = Story(make_intent(high=3))
    burning(story, 60)
    assert story.decision.numbers["margin"] == 0.95


def test_the_margin_does_not_answer_for_a_jump_that_nobody_could_foresee():
    story = Story()
    arrivals = bad = 0
    for i in range(40):
        jumped = i >= 20
        arrivals += 300 if jumped else 60
        bad += 60 if jumped else 0
        counts = SloCounts(good=arrivals - bad, bad=bad)
        signals = make_signals(thinking=18, arrivals=arrivals, slos={NAME: counts})
        story.tick(i * 15, 3, signals)
        if i == 20:
            jumped_at = story.state.arrivals.jumped_at
            before = story.decision.numbers["margin"]
        if i == 25:
            assert story.decision.numbers["margin"] == before
    assert jumped_at == pytest.approx(at(300).timestamp() - 0.5)
    assert story.decision.numbers["margin"] > before


def test_the_margin_falls_slowly_when_nobody_is_late():
    story = Story()
    for i in range(481):
        counts = SloCounts(good=100 * i)
        story.tick(i * 15, 3, make_signals(thinking=18, arrivals=100 * i, slos={NAME: counts}))
    assert story.decision.numbers["margin"] == pytest.approx(0.95 - 0.0576)
    assert story.decision.numbers["margin"] >= 0.85


def test_the_first_answer_percentile_and_the_effective_budget_are_reported():
    story = Story()
    counts = [0] * 32
    counts[10] = 100
    start = story.tick(0, 2, make_signals(thinking=12))
    assert "first_answer_p95_seconds" not in start.numbers
    later = dataclasses.replace(
        make_signals(thinking=12, ttfa=Histogram(counts=tuple(counts))),
        budget=BudgetSignals(effective_max_tokens=9200),
    )
    numbers = story.tick(15, 2, later).numbers
    assert numbers["first_answer_p95_seconds"] == pytest.approx(4.95)
    assert numbers["effective_max_tokens"] == 9200
    assert "first_answer_p95_seconds" not in story.tick(20, 2, later, complete=False).numbers
