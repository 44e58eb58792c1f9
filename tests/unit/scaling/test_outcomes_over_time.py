"""Attainment over its window, latency for people, and the slow trim that misses cause."""

import dataclasses

import pytest

from tests.unit.scaling.builders import FIRST_ANSWER, make_fleet, make_intent, make_signals
from tests.unit.scaling.narration import Story
from thinkscale.model.decision import Reason
from thinkscale.model.observation import MergedSignals
from thinkscale.model.reading import Absent
from thinkscale.model.signals import BudgetSignals, Histogram, SloCounts

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


def test_what_lies_before_the_window_is_forgotten():
    story = Story()
    story.tick(0, 2, outcomes(0, 0))
    story.tick(10, 2, outcomes(0, 100))
    good = 0
    for second in range(100, 3500, 100):
        good += 10
        story.tick(second, 2, outcomes(good, 100))
    assert story.tick(3550, 2, outcomes(good, 100)).attained[NAME] < 0.8
    assert story.tick(3800, 2, outcomes(good + 10, 100)).attained[NAME] == 1.0


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
    table = story.state.lengths
    again = story.tick(
        10, 2, make_signals(thinking=5, answer_tokens=300, answers=10), epoch="epoch-2"
    )
    assert story.state.lengths.ends == table.ends
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
    bad = 0
    for i in range(ticks):
        bad += 20
        story.tick(i * 15, fleet or 3, outcomes(0, bad, thinking=thinking))


def test_sustained_misses_raise_the_margin_and_say_so():
    story = Story()
    burning(story, 60)
    assert story.decision is not None
    assert story.state.trim == pytest.approx(2.0)
    assert story.decision.wanted == 6
    assert story.decision.reason in (Reason.TAIL_LATENCY, Reason.STABILIZING)
    term = next(t for t in story.decision.terms if t.name == "tail")
    assert term.wish == 6
    assert "late requests raised the margin to 2.00" in story.decision.message


def test_the_margin_is_frozen_while_replicas_warm_or_signals_are_missing():
    story = Story()
    burning(story, 60, fleet=make_fleet(2, warming=1))
    assert story.state.trim == 1.0
    story.tick(910, 3, Absent(reason="gone"))
    assert story.state.trim == 1.0


def test_the_margin_does_not_wind_up_at_the_maximum_or_by_hand():
    story = Story(make_intent(high=3))
    burning(story, 60)
    assert story.state.trim == 1.0


def test_the_margin_comes_back_when_nobody_is_late():
    story = Story()
    burning(story, 60)
    for i in range(400):
        story.tick(900 + i * 15, 3, outcomes(100 * (i + 1), 1200, thinking=18))
    assert story.state.trim < 1.2


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
