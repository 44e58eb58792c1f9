"""The headline's verdict: it must notice every way in which the headline can be untrue."""

import dataclasses
from typing import Any

import pytest

from e2e.story.drain import Victim
from e2e.story.headline_result import FLEETS, Result, problems, requests_for
from e2e.story.outcomes import Outcome, Slo
from e2e.story.sampling import Sample
from e2e.story.traffic import mean_thinking_tokens

SLO = Slo(
    name="first-answer",
    indicator="TimeToFirstAnswer",
    threshold_seconds=10,
    per_token_seconds=0.045,
    objective_percent=95,
)
PEAKS = {"short": 1, "long": 4, "long-fixed": 1}
LATE = {"long-fixed": 60, "long-hpa-rate": 60, "long-hpa-concurrency": 5}


def samples(peak: int) -> list[Sample]:
    """One replica, the peak from second 20 on, one again at the end."""
    return [
        Sample(second=at, desired=n, ready=n, pods=n, gpus=n, attained_percent={})
        for at, n in ((0.0, 1), (20.0, peak), (100.0, 1))
    ]


def outcomes(name: str, late: int) -> list[Outcome]:
    """A hundred requests, one a second; the last `late` of them waited too long."""
    return [
        Outcome(
            stream=name,
            index=index,
            intended=float(index),
            sent=float(index),
            first_token=index + 1.0,
            first_answer=index + (60.0 if index >= 100 - late else 2.0),
            end=index + 70.0,
            thinking_tokens=300,
            answer_tokens=60,
            status=200,
        )
        for index in range(100)
    ]


VICTIM = Victim(
    replica="long-1",
    cordoned_second=100.0,
    in_flight_when_cordoned=1,
    idle_second=165.0,
    terminating_second=166.0,
)


def good(**changes: Any) -> Result:
    """A run as the headline says it, but for the changes."""
    fields: dict[str, Any] = {
        "fleets": FLEETS,
        "outcomes": {f.name: outcomes(f.name, LATE.get(f.name, 0)) for f in FLEETS},
        "samples": {f.name: samples(PEAKS.get(f.name, 2)) for f in FLEETS},
        "slo": SLO,
        "probes": outcomes("probe", 0)[:4],
        "victims": [VICTIM],
        "void": False,
        "emulator_lag_p99_seconds": 0.002,
        "emulator_steps": 20_000,
        "run_seconds": 200.0,
    }
    return Result(**{**fields, **changes})


def with_outcomes(name: str, some: list[Outcome]) -> Result:
    """The good run, but for one fleet's requests."""
    return good(outcomes={**good().outcomes, name: some})


def test_a_run_as_the_headline_says_it_has_no_problem() -> None:
    assert problems(good()) == []


def broken(**changes: Any) -> list[Outcome]:
    """A good fleet's requests, the first of them changed."""
    first, *rest = outcomes("long", 0)
    return [dataclasses.replace(first, **changes), *rest]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (good(samples={**good().samples, "long": samples(2)}), "not clearly different"),
        (
            with_outcomes("long", broken(first_answer=60.0, thinking_tokens=100)),
            "long began to scale at 20.0, and was late first at 14.5",
        ),
        (with_outcomes("long-fixed", outcomes("x", 10)), "does not bite"),
        (with_outcomes("short", outcomes("x", 9)), "short missed its SLO: 9.0% late"),
        (with_outcomes("short-hpa-rate", outcomes("x", 9)), "short-hpa-rate missed its SLO"),
        (with_outcomes("long", broken(error="cut off")), "long: 1 failed"),
        (good(probes=broken(error="cut off")), "probe 0 failed: cut off"),
        (good(victims=[]), "no replica was given up while it was busy"),
        (
            good(victims=[dataclasses.replace(VICTIM, idle_second=110.0)]),
            "no replica was given up while it was busy",
        ),
        (
            good(victims=[VICTIM, dataclasses.replace(VICTIM, terminating_second=120.0)]),
            "told to go before it was idle",
        ),
        (good(void=True, emulator_lag_p99_seconds=0.0091), "too slow: engine steps ended 9.1 ms"),
        (good(emulator_steps=0), "no emulator told"),
    ],
)
def test_each_way_to_be_untrue_is_named(result: Result, words: str) -> None:
    assert any(words in problem for problem in problems(result)), problems(result)


def test_the_row_of_a_fleet_has_what_machines_are_promised() -> None:
    row = good().row(FLEETS[1])
    assert row == {
        "name": "long",
        "scaler": "thinkscale",
        "requests": 100,
        "mean_thinking_tokens": 300.0,
        "peak_replicas": 4,
        "first_scale_up_second": 20.0,
        "first_late_second": None,
        "late_share": 0.0,
        "failed": 0,
    }


def test_all_fleets_get_the_same_requests_and_only_the_thinking_differs() -> None:
    sent = {fleet.name: requests_for(fleet) for fleet in FLEETS}
    bare = {
        name: [(r.at_seconds, r.prompt_tokens, r.answer_tokens) for r in requests]
        for name, requests in sent.items()
    }
    assert all(requests == bare["short"] for requests in bare.values())
    assert mean_thinking_tokens(sent["short"]) == pytest.approx(30, abs=0.5)
    assert mean_thinking_tokens(sent["long"]) == pytest.approx(300, abs=0.5)
    assert sent["long"] == sent["long-fixed"] == sent["long-hpa-concurrency"]
