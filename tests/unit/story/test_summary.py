"""The summary in numbers: changes, GPU-seconds, attainment, and its words."""

from typing import Any

import pytest

from e2e.story.outcomes import Outcome, Slo
from e2e.story.sampling import Sample
from e2e.story.summary import (
    first_late_second,
    first_scale_up_second,
    gpu_seconds,
    replica_changes,
    spoken,
    summarize,
)

SLO = Slo(
    name="first-answer", indicator="TimeToFirstAnswer", threshold_seconds=5, objective_percent=95
)


def sample(second: float, desired: int, ready: int, gpus: int) -> Sample:
    """One instant."""
    return Sample(
        second=second, desired=desired, ready=ready, pods=gpus, gpus=gpus, attained_percent={}
    )


def outcome(at: float, took: float, **changes: Any) -> Outcome:
    """A request whose first answer took so long."""
    fields: dict[str, Any] = {
        "stream": "demo",
        "index": 0,
        "intended": at,
        "sent": at,
        "first_token": at,
        "first_answer": at + took,
        "end": at + took + 1,
        "thinking_tokens": 100,
        "answer_tokens": 10,
        "status": 200,
    }
    return Outcome(**{**fields, **changes})


RUN = [
    sample(0, 1, 1, 1),
    sample(10, 1, 1, 1),
    sample(20, 3, 1, 3),
    sample(30, 3, 3, 3),
    sample(40, 2, 3, 3),
    sample(50, 1, 1, 1),
]


def test_replicas_are_told_at_the_start_and_at_each_change() -> None:
    assert replica_changes(RUN) == [[0, 1, 1], [20, 3, 1], [30, 3, 3], [40, 2, 3], [50, 1, 1]]


def test_gpu_seconds_are_what_was_held() -> None:
    assert gpu_seconds(RUN) == 10 + 10 + 3 * 10 + 3 * 10 + 3 * 10


def test_the_first_scale_up_is_when_the_desired_replicas_rose() -> None:
    assert first_scale_up_second(RUN) == 20
    assert first_scale_up_second(RUN[2:]) is None


def test_the_first_late_request_is_the_one_whose_limit_passed_first() -> None:
    outcomes = [outcome(1, 2), outcome(9, 20), outcome(3, 8), outcome(0, 99, status=400)]
    assert first_late_second(outcomes, [SLO]) == pytest.approx(3 + 5)
    assert first_late_second(outcomes[:1], [SLO]) is None


def test_the_summary_has_what_machines_are_promised() -> None:
    outcomes = [outcome(0, 1), outcome(1, 9), outcome(2, 1, status=502, error="gone")]
    summary = summarize(outcomes, RUN, [SLO], setup_seconds=31.04, run_seconds=50)
    assert summary == {
        "requests": 3,
        "failed": 1,
        "attainment": {"first-answer": 0.3333},
        "thinking_tokens": 300,
        "answer_tokens": 30,
        "replicas": [[0, 1, 1], [20, 3, 1], [30, 3, 3], [40, 2, 3], [50, 1, 1]],
        "scale_ups": 1,
        "scale_downs": 2,
        "gpu_seconds": 110,
        "setup_seconds": 31.0,
        "run_seconds": 50,
        "generator_lag_p99_seconds": 0.0,
    }


def test_people_are_told_the_same_numbers() -> None:
    summary = summarize([outcome(0, 1)], RUN, [SLO], setup_seconds=31, run_seconds=50)
    text = "\n".join(spoken(summary, [SLO]))
    for told in ("1, failed 0", "100.0% (objective 95%)", "100 thinking", "at most 3", "110"):
        assert told in text
