"""Every level has a request of its own, for endpoints that take no raw prompts. Pure.

A maximum is written into a field of the request (`thinking_token_budget` unless told otherwise), an
effort into `reasoning_effort`. Endpoints that know no such field mostly ignore it in silence: what
they thought in truth is compared with what was asked, and a sweep that would compare nothing but
luck is ended early.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from thinkscale.engines.dialect import THINK_CLOSE, Route
from thinkscale.quality.calls import CHARACTERS_A_TOKEN, Call, Reply, answer_text
from thinkscale.quality.dataset import Row
from thinkscale.quality.levels import Level
from thinkscale.quality.outcome import Answered
from thinkscale.quality.settings import UNKNOWN_CONTEXT, Settings, chat_bytes

EXCESS_SHARE: Final = 0.25
EXCESS_TOKENS: Final = 32
"""Beyond these a budget was not held: some engines close a thought with a sentence."""
ESTIMATE_FACTOR: Final = 2.0
"""An estimate must be over by so much before it accuses anybody."""
IGNORED_CASES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """A request whose budget was not held."""

    sample: str
    asked_tokens: int
    thought_tokens: int


def call_of(
    row: Row, sample: str, level: Level, settings: Settings, context_tokens: int | None
) -> Call:
    """The request at one level; `context_tokens`: what the endpoint holds, if it says so."""
    most = settings.request_tokens
    body: dict[str, Any] = {**settings.sampling, "messages": list(row.messages)}
    if most is not None:
        body["max_tokens" if level.effort is None else "max_completion_tokens"] = most
    if level.effort is not None:
        body["reasoning_effort"] = level.effort.value
    elif level.max_tokens is not None:
        _write(body, settings.budget_field, level.max_tokens)
    return Call(
        key=key_of(sample, level),
        route=Route.CHAT,
        body=body,
        most_output_tokens=most or context_tokens or UNKNOWN_CONTEXT,
        most_prompt_tokens=chat_bytes(row),
    )


def key_of(sample: str, level: Level) -> str:
    """The key of that request."""
    return f"{sample}/as {level.name}"


def _write(body: dict[str, Any], field: str, tokens: int) -> None:
    outer, _, inner = field.partition(".")
    body[outer] = {inner: tokens} if inner else tokens


def next_call(
    row: Row,
    sample: str,
    levels: Sequence[Level],
    settings: Settings,
    context_tokens: int | None,
    known: Mapping[str, Reply],
) -> Call | None:
    """The next call that this sample needs; None: all levels are known."""
    for level in levels:
        call = call_of(row, sample, level, settings, context_tokens)
        if call.key not in known:
            return call
    return None


def answers(sample: str, levels: Sequence[Level], known: Mapping[str, Reply]) -> list[Answered]:
    """What the levels that are known by now came to."""
    found = []
    for level in levels:
        reply = known.get(key_of(sample, level))
        if reply is not None:
            found.append(_answered(sample, level, reply))
    return found


def _answered(sample: str, level: Level, reply: Reply) -> Answered:
    thinking, counted = thinking_of(reply)
    return Answered(
        sample=sample,
        level=level,
        text=answer_text(reply.text),
        prompt_tokens=reply.prompt_tokens,
        thinking_tokens=thinking,
        answer_tokens=max(0, reply.output_tokens - thinking),
        cut=level.max_tokens is not None and thinking >= level.max_tokens,
        counted=counted,
    )


def thinking_of(reply: Reply) -> tuple[int, bool]:
    """Thinking tokens, and whether they were counted or estimated.

    Some engines count none of what they plainly show: a zero beside a thought is not believed. The
    line break before a closing tag is no thought.
    """
    shown = reply.thought_characters or len(reply.text.rpartition(THINK_CLOSE)[0].strip())
    if reply.thought_tokens is not None and (reply.thought_tokens or not shown):
        return reply.thought_tokens, True
    answer = len(answer_text(reply.text))
    if shown and shown + answer:
        return round(reply.output_tokens * shown / (shown + answer)), False
    return shown // CHARACTERS_A_TOKEN, not shown


def ignored(answered: Iterable[Answered]) -> list[Ignored]:
    """Those that thought well beyond what they were allowed."""
    found = []
    for one in answered:
        limit = one.level.max_tokens
        if limit is None:
            continue
        allowed = max(limit * (1 + EXCESS_SHARE), limit + EXCESS_TOKENS)
        if one.thinking_tokens > (allowed if one.counted else allowed * ESTIMATE_FACTOR):
            found.append(
                Ignored(sample=one.sample, asked_tokens=limit, thought_tokens=one.thinking_tokens)
            )
    return found


class Vigil:
    """Watches whether budgets are held, over all samples."""

    def __init__(self) -> None:
        self._cases: set[Ignored] = set()
        self._held: set[tuple[str, Level]] = set()

    def see(self, answers: Sequence[Answered]) -> str | None:
        """What one sample came to; a complaint once it is plain that nobody pays attention: three
        times at least, and more often than a budget was held.
        """
        cases = ignored(answers)
        wrong = {(case.sample, case.asked_tokens) for case in cases}
        self._cases.update(cases)
        self._held |= {
            (one.sample, one.level)
            for one in answers
            if one.cut and (one.sample, one.level.max_tokens) not in wrong
        }
        if len(self._cases) < IGNORED_CASES or len(self._cases) <= len(self._held):
            return None
        worst = max(self._cases, key=lambda case: case.thought_tokens - case.asked_tokens)
        return (
            f"the endpoint ignores budgets: asked for {worst.asked_tokens} thinking tokens, got "
            f"{worst.thought_tokens}, and {len(self._cases)} times so; put the gateway before it, "
            "or name the endpoint's own field with --budget-field"
        )
