"""The verdict on aiperf and the gateway: agreement passes, and every kind of difference is told."""

from dataclasses import replace

import pytest

from benchmarks.gateway.agreement import Told, disagreements, slower
from benchmarks.gateway.aiperf import Seen

EXPORT = {
    "request_count": {"unit": "requests", "avg": 4.0},
    "completed_request_count": {"unit": "requests", "avg": 4.0},
    "total_usage_prompt_tokens": {"avg": 100.0},
    "total_usage_reasoning_tokens": {"avg": 160.0},
    "total_reasoning_tokens": {"avg": 160.0},
    "total_output_tokens": {"avg": 84.0},
    "time_to_first_token": {"unit": "ms", "avg": 39.0},
    "time_to_first_output_token": {"unit": "ms", "avg": 860.0},
    "request_latency": {"unit": "ms", "avg": 1260.0},
    "http_req_duration": {"unit": "ms", "avg": 1283.0},
    "inter_token_latency": {"unit": "ms", "avg": 20.4},
}
SEEN = Seen.of(EXPORT)


def metrics(times: int) -> str:
    """A gateway's `/metrics` after so many such runs, and one request that was refused before."""
    label = 'service="local/m"'
    told = {
        f'requests_total{{outcome="completed",{label}}}': 4 * times,
        f'requests_total{{outcome="refused",{label}}}': 1,
        f'tokens_total{{phase="prompt",{label}}}': 100 * times,
        f'tokens_total{{phase="thinking",{label}}}': 160 * times,
        f'tokens_total{{phase="answering",{label}}}': 84 * times,
        f'tier_tokens_total{{phase="thinking",{label},tier="low"}}': 7 * times,
        f'budget_events_total{{event="cut",{label}}}': 3 * times,
    }
    for name, mean in (
        ("time_to_first_token", 0.037),
        ("time_to_first_answer", 0.857),
        ("e2e", 1.281),
        ("time_per_answer_token", 0.02),
    ):
        told[f"{name}_seconds_count{{{label}}}"] = 4 * times
        told[f"{name}_seconds_sum{{{label}}}"] = 4 * times * mean
    return "".join(f"thinkscale_gateway_{name} {value}\n" for name, value in told.items())


TOLD = Told.between(metrics(2), metrics(3))


def found(seen: Seen = SEEN, told: Told = TOLD, *, paced: bool = True) -> list[str]:
    return list(disagreements(seen, told, requests=4, thinking=40, paced=paced))


def test_the_same_from_both_sides_is_agreement() -> None:
    assert TOLD.requests == 4
    assert TOLD.not_completed == 0
    assert TOLD.cuts == 3
    assert found() == []
    assert list(slower(SEEN, SEEN, requests=4, thinking=40)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"failed": 1}, "1 failed"),
        ({"requests": 3}, "requests: aiperf 3, gateway 4"),
        ({"prompt_tokens": 99}, "prompt tokens"),
        ({"thinking_tokens": 161}, "thinking tokens: aiperf 161"),
        ({"told_thinking_tokens": 0}, "thinking tokens in usage"),
        ({"answer_tokens": 80}, "answer tokens: aiperf 80"),
        ({"first_token_seconds": 0.053}, "first_token_seconds: aiperf 53.0 ms"),
        ({"first_answer_seconds": 0.9}, "first_answer_seconds"),
        ({"whole_seconds": 1.2}, "whole_seconds"),
        ({"last_token_seconds": 1.281}, "answer_token_seconds"),
    ],
)
def test_each_difference_is_told(change: dict[str, float], told: str) -> None:
    assert any(told in fault for fault in found(replace(SEEN, **change)))


def test_what_the_gateway_did_not_complete_is_told() -> None:
    assert "1 requests not completed" in found(told=replace(TOLD, not_completed=1))[0]


def test_a_pace_that_aiperf_cannot_tell_is_left_out() -> None:
    assert found(replace(SEEN, last_token_seconds=1.281), paced=False) == []


def test_a_budget_that_was_held_on_neither_side_is_told() -> None:
    faults = list(disagreements(SEEN, TOLD, requests=4, thinking=24))
    assert faults == ["160 thinking tokens where 96 were due"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"first_token_seconds": 0.06}, "first_token_seconds"),
        ({"first_answer_seconds": 1.0}, "first_answer_seconds"),
        ({"token_seconds": 0.023}, "token_seconds"),
        ({"answer_tokens": 83}, "answer tokens: direct 84, through 83"),
    ],
)
def test_a_gateway_that_gives_something_else_than_the_engine_is_told(
    change: dict[str, float], told: str
) -> None:
    faults = slower(SEEN, replace(SEEN, **change), requests=4, thinking=40)
    assert any(told in fault for fault in faults)
