"""How requests are scored: limits, lateness, what counts."""

from typing import Any

import pytest

from e2e.story.outcomes import (
    Outcome,
    Slo,
    attainment,
    indicator_seconds,
    late_second,
    limit_seconds,
    missed,
    send_lag_p99_seconds,
)

FIRST_ANSWER = Slo(
    name="first-answer",
    indicator="TimeToFirstAnswer",
    threshold_seconds=8,
    per_token_seconds=0.045,
    objective_percent=95,
)


def outcome(**changes: Any) -> Outcome:
    """A request sent at second 10 that thought 100 tokens and answered well."""
    fields: dict[str, Any] = {
        "stream": "demo",
        "index": 0,
        "intended": 10.0,
        "sent": 10.0,
        "first_token": 10.1,
        "first_answer": 13.0,
        "end": 14.0,
        "thinking_tokens": 100,
        "answer_tokens": 11,
        "status": 200,
        "finish_reason": "stop",
    }
    return Outcome(**{**fields, **changes})


def test_the_limit_grows_with_the_tokens_thought() -> None:
    assert limit_seconds(outcome(thinking_tokens=300), FIRST_ANSWER) == pytest.approx(21.5)


def test_waiting_in_the_client_counts_too() -> None:
    late_sender = outcome(intended=2.0, sent=10.0, first_answer=13.0)
    assert indicator_seconds(late_sender, FIRST_ANSWER) == pytest.approx(11.0)


@pytest.mark.parametrize(
    ("indicator", "seconds"),
    [
        ("TimeToFirstToken", 0.1),
        ("TimeToFirstAnswer", 3.0),
        ("EndToEnd", 4.0),
        ("TimePerAnswerToken", 0.1),
    ],
)
def test_each_indicator_measures_its_own_span(indicator: str, seconds: float) -> None:
    slo = Slo(name="x", indicator=indicator, threshold_seconds=1)
    assert indicator_seconds(outcome(), slo) == pytest.approx(seconds)


def test_an_end_to_end_limit_counts_all_tokens() -> None:
    slo = Slo(name="e2e", indicator="EndToEnd", threshold_seconds=1, per_token_seconds=0.1)
    assert limit_seconds(outcome(thinking_tokens=100, answer_tokens=11), slo) == pytest.approx(12.1)


def test_a_request_is_late_from_the_instant_its_limit_passed() -> None:
    late = outcome(first_answer=40.0, end=41.0)
    assert missed(late, FIRST_ANSWER)
    assert late_second(late, FIRST_ANSWER) == pytest.approx(10 + 8 + 4.5)
    assert late_second(outcome(), FIRST_ANSWER) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 503, "error": "no replica", "end": 10.2},
        {"error": "the stream was cut off", "end": 12.0},
        {"first_answer": None, "error": "unfinished", "end": 11.0},
    ],
)
def test_errors_and_streams_cut_off_are_misses_when_they_end(changes: dict[str, Any]) -> None:
    broken = outcome(**changes)
    assert broken.failed
    assert missed(broken, FIRST_ANSWER)
    assert late_second(broken, FIRST_ANSWER) == pytest.approx(changes["end"])


def test_the_clients_own_mistakes_are_left_out_but_a_429_is_not() -> None:
    scored = [
        outcome(),
        outcome(status=400, error="bad"),
        outcome(status=404, error="no such model"),
        outcome(status=429, error="full"),
    ]
    assert attainment(scored, FIRST_ANSWER) == pytest.approx(1 / 2)


def test_without_requests_there_is_no_attainment() -> None:
    assert attainment([], FIRST_ANSWER) is None


def test_the_generators_own_lag_is_a_high_quantile() -> None:
    outcomes = [outcome(sent=10.0 + 0.001 * lag) for lag in range(100)]
    assert send_lag_p99_seconds(outcomes) == pytest.approx(0.099)
