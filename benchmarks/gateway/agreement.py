"""Whether aiperf and the gateway tell the same of the same requests. Pure.

Counts must be equal. Times must agree within the larger of a share and a few milliseconds: both
look at the same chunk, one when it is sent and one when it is read, and aiperf's clock begins
before the connection does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.gateway.aiperf import Seen

SHARE, SLACK_SECONDS = 0.03, 0.015
"""Between aiperf and the gateway's own metrics."""
DIRECT_SHARE, DIRECT_SLACK_SECONDS = 0.1, 0.02
"""Between aiperf through the gateway and aiperf at the engine: two runs."""
_PREFIX = "thinkscale_gateway_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the gateway's metrics say of one run; seconds are means over its requests."""

    requests: int
    not_completed: int
    prompt_tokens: int
    thinking_tokens: int
    answer_tokens: int
    cuts: int
    first_token_seconds: float
    first_answer_seconds: float
    whole_seconds: float
    answer_token_seconds: float

    @classmethod
    def between(cls, before: str, after: str) -> Self:
        """From `/metrics` before and after the run."""
        first, last = _samples(before), _samples(after)

        def rise(name: str, **labels: str) -> float:
            return sum(
                value - first.get(key, 0.0)
                for key, value in last.items()
                if key[0] == _PREFIX + name and labels.items() <= set(key[1])
            )

        def mean(name: str) -> float:
            return rise(f"{name}_sum") / max(1.0, rise(f"{name}_count"))

        completed = rise("requests_total", outcome="completed")
        return cls(
            requests=round(completed),
            not_completed=round(rise("requests_total") - completed),
            prompt_tokens=round(rise("tokens_total", phase="prompt")),
            thinking_tokens=round(rise("tokens_total", phase="thinking")),
            answer_tokens=round(rise("tokens_total", phase="answering")),
            cuts=round(rise("budget_events_total", event="cut")),
            first_token_seconds=mean("time_to_first_token_seconds"),
            first_answer_seconds=mean("time_to_first_answer_seconds"),
            whole_seconds=mean("e2e_seconds"),
            answer_token_seconds=mean("time_per_answer_token_seconds"),
        )


def disagreements(
    seen: Seen, told: Told, *, requests: int, thinking: int, paced: bool = True
) -> Iterator[str]:
    """Where they differ, or something else than `requests` with `thinking` tokens each came.

    `paced`: the pace of an answer is compared too. (aiperf takes the events that end a response of
    the Responses API, which repeat its text, for its last token.)
    """
    if told.not_completed:
        yield f"{told.not_completed} requests not completed, by the gateway's metrics"
    yield from _served(seen, requests, thinking)
    for what, by_aiperf, by_gateway in (
        ("requests", seen.requests, told.requests),
        ("prompt tokens", seen.prompt_tokens, told.prompt_tokens),
        ("thinking tokens", seen.thinking_tokens, told.thinking_tokens),
        ("thinking tokens in usage", seen.told_thinking_tokens, told.thinking_tokens),
        ("answer tokens", seen.answer_tokens, told.answer_tokens),
    ):
        if by_aiperf != by_gateway:
            yield f"{what}: aiperf {by_aiperf}, gateway {by_gateway}"
    for name in ("first_token_seconds", "first_answer_seconds", "whole_seconds"):
        yield from _far(name, getattr(seen, name), "gateway", getattr(told, name))
    if paced:
        ours, theirs = told.answer_token_seconds, seen.answer_token_seconds
        yield from _far("answer_token_seconds", theirs, "gateway", ours, slack_seconds=0.0005)


def slower(direct: Seen, through: Seen, *, requests: int, thinking: int) -> Iterator[str]:
    """Where a run through the gateway that no budget touched is not what the engine gives alone."""
    yield from _served(direct, requests, thinking)
    if direct.answer_tokens != through.answer_tokens:
        yield f"answer tokens: direct {direct.answer_tokens}, through {through.answer_tokens}"
    for name in ("first_token_seconds", "first_answer_seconds", "whole_seconds"):
        slack = DIRECT_SLACK_SECONDS
        ours, theirs = getattr(through, name), getattr(direct, name)
        yield from _far(name, ours, "direct", theirs, share=DIRECT_SHARE, slack_seconds=slack)
    ours, theirs = through.token_seconds, direct.token_seconds
    share = DIRECT_SHARE
    yield from _far("token_seconds", ours, "direct", theirs, share=share, slack_seconds=0.001)


def _served(seen: Seen, requests: int, thinking: int) -> Iterator[str]:
    if seen.failed or seen.requests != requests:
        yield f"{seen.requests} of {requests} requests done and {seen.failed} failed, by aiperf"
    if seen.thinking_tokens != requests * thinking:
        yield f"{seen.thinking_tokens} thinking tokens where {requests * thinking} were due"


def _far(
    what: str,
    seen: float,
    name: str,
    other: float,
    *,
    share: float = SHARE,
    slack_seconds: float = SLACK_SECONDS,
) -> Iterator[str]:
    if abs(seen - other) > max(slack_seconds, share * other):
        yield f"{what}: aiperf {1e3 * seen:.1f} ms, {name} {1e3 * other:.1f} ms"


def _samples(text: str) -> Mapping[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
