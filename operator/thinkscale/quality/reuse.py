"""One full trace serves every level: its prefix is cut at the budget, only the answer is new. Pure.

Where an endpoint tells token ids and takes raw prompts, a forced run at a budget of B is: the
prompt, the first B tokens that the model would have thought anyhow, the closing tag, and an answer.
So the first three need not be generated again. What is put behind a cut is what the gateway puts
there, and by the same rule (a thought that ends by itself at exactly B was not cut), so that what
is found here holds there. A minimum is the gateway's too: in place of an early end comes its nudge,
a bounded number of times, and longer minima go on from shorter ones.

All levels of a sample share one trace: they are paired by construction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from thinkscale.engines.dialect import Route, Tags
from thinkscale.quality.calls import Call, Reply, answer_text
from thinkscale.quality.dataset import Row
from thinkscale.quality.levels import Level
from thinkscale.quality.outcome import Answered
from thinkscale.quality.settings import UNKNOWN_CONTEXT, Settings, chat_bytes

MOST_WAITS: Final = 4
"""As the gateway: a model that insists is let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A reply in token ids."""

    before: tuple[int, ...]
    """The prompt, with the opening tag."""
    thought: tuple[int, ...]
    closed: bool
    """The thought ended by itself."""
    behind: int
    """Tokens after the thought, without the closing tag."""


def trace_of(reply: Reply, tags: Tags) -> Trace | None:
    """None: without ids, or without tags of one token each, nothing can be cut."""
    if reply.prompt_ids is None or reply.token_ids is None or tags.close_id is None:
        return None
    before, ids = reply.prompt_ids, reply.token_ids
    if not tags.opens(before):
        if tags.open_id is None or tags.open_id not in ids:
            return Trace(before=before, thought=(), closed=True, behind=len(ids))
        start = ids.index(tags.open_id) + 1
        before, ids = before + ids[:start], ids[start:]
    if tags.close_id not in ids:
        return Trace(before=before, thought=ids, closed=False, behind=0)
    end = ids.index(tags.close_id)
    return Trace(before=before, thought=ids[:end], closed=True, behind=len(ids) - end - 1)


def full_call(
    row: Row, sample: str, levels: Sequence[Level], settings: Settings, tags: Tags
) -> Call:
    """The one trace: without a limit, or as long as the largest maximum needs."""
    limits = [level.max_tokens for level in levels]
    largest = max((limit for limit in limits if limit is not None), default=0)
    name, most, context = "full", settings.request_tokens, tags.context_tokens
    if None not in limits:
        name, needed = f"full{largest}", largest + 1 + settings.answer_tokens
        most = needed if most is None else min(most, needed)
    if most is not None and context is not None and most + chat_bytes(row) > context:
        most = None  # an engine refuses what may not fit, and holds to its context by itself
    body = {**settings.sampling, "messages": list(row.messages), "return_token_ids": True}
    if most is not None:
        body["max_tokens"] = most
    return Call(
        key=f"{sample}/{name}",
        route=Route.CHAT,
        body=body,
        most_output_tokens=most or context or UNKNOWN_CONTEXT,
        most_prompt_tokens=chat_bytes(row),
    )


def next_call(
    row: Row,
    sample: str,
    levels: Sequence[Level],
    settings: Settings,
    tags: Tags,
    known: Mapping[str, Reply],
) -> Call | None:
    """The next call that this sample needs; None: all levels are known. ValueError: the full
    reply has no ids.
    """
    full = full_call(row, sample, levels, settings, tags)
    if full.key not in known:
        return full
    trace = trace_of(known[full.key], tags)
    if trace is None:
        raise ValueError("a trace without token ids cannot be reused")
    for level in levels:
        limit = level.max_tokens
        if limit is not None and len(trace.thought) > limit:
            call = _cut_call(full.key, trace, limit, settings, tags)
            if call.key not in known:
                return call
    return _wait_call(sample, trace, levels, settings, tags, known)


def _cut_key(full_key: str, limit: int) -> str:
    """Names the trace that is cut: another one of the same sample has another prefix."""
    sample, _, name = full_key.rpartition("/")
    return f"{sample}/cut{limit}" + ("" if name == "full" else f" of {name}")


def _cut_call(full_key: str, trace: Trace, limit: int, settings: Settings, tags: Tags) -> Call:
    prompt = [*trace.before, *trace.thought[:limit], *tags.closing_ids]
    room = _room(prompt, tags)
    most = settings.answer_tokens if room is None else max(1, min(settings.answer_tokens, room))
    body = {**settings.sampling, "prompt": prompt, "max_tokens": most}
    return _raw(_cut_key(full_key, limit), body)


def _room(prompt: Sequence[int], tags: Tags) -> int | None:
    """Tokens that the context still holds behind a prompt; None: it is not known."""
    return None if tags.context_tokens is None else tags.context_tokens - len(prompt)


def _raw(key: str, body: Mapping[str, Any]) -> Call:
    return Call(
        key=key,
        route=Route.COMPLETIONS,
        body=body,
        most_output_tokens=int(body["max_tokens"]),
        most_prompt_tokens=len(body["prompt"]),
    )


def _wait_call(
    sample: str,
    trace: Trace,
    levels: Sequence[Level],
    settings: Settings,
    tags: Tags,
    known: Mapping[str, Reply],
) -> Call | None:
    largest = max(level.min_tokens for level in levels)
    longer, _, waits = _extended(sample, trace, largest, tags, known)
    if not _goes_on(longer, largest, waits, settings, tags):
        return None
    prompt = [*longer.before, *longer.thought, *tags.nudge_ids]
    body = {
        **settings.sampling,
        "prompt": prompt,
        "max_tokens": _left(longer, settings, tags),
        "return_token_ids": True,
        "skip_special_tokens": False,
    }
    return _raw(f"{sample}/wait{waits + 1}", body)


def _goes_on(trace: Trace, least: int, waits: int, settings: Settings, tags: Tags) -> bool:
    """Whether a wait is due, and possible."""
    too_short = trace.closed and len(trace.thought) < least and waits < MOST_WAITS
    return too_short and _left(trace, settings, tags) > 0


def _left(trace: Trace, settings: Settings, tags: Tags) -> int:
    """Output tokens that a further wait may have."""
    prompt = [*trace.before, *trace.thought, *tags.nudge_ids]
    used = len(trace.thought) + len(tags.nudge_ids)
    own = (settings.request_tokens or UNKNOWN_CONTEXT) - used
    room = _room(prompt, tags)
    return own if room is None else min(own, room)


def _extended(
    sample: str, trace: Trace, least: int, tags: Tags, known: Mapping[str, Reply]
) -> tuple[Trace, Reply | None, int]:
    """The trace with as many waits as a minimum asks for and are known; the reply that ended it
    (None: no wait was needed), and how many there were.
    """
    last, waits = None, 0
    while trace.closed and len(trace.thought) < least and waits < MOST_WAITS:
        reply = known.get(f"{sample}/wait{waits + 1}")
        if reply is None or reply.token_ids is None:
            break
        waits, last = waits + 1, reply
        ids, closed = reply.token_ids, tags.close_id in reply.token_ids
        end = ids.index(tags.close_id) if closed and tags.close_id is not None else len(ids)
        trace = Trace(
            before=trace.before,
            thought=(*trace.thought, *tags.nudge_ids, *ids[:end]),
            closed=closed,
            behind=max(0, len(ids) - end - 1),
        )
    return trace, last, waits


def answers(
    row: Row,
    sample: str,
    levels: Sequence[Level],
    settings: Settings,
    tags: Tags,
    known: Mapping[str, Reply],
) -> list[Answered]:
    """What the levels that are known by now came to."""
    full = full_call(row, sample, levels, settings, tags).key
    trace = trace_of(known[full], tags) if full in known else None
    if trace is None:
        return []
    found = [_answer(full, level, trace, settings, tags, known) for level in levels]
    return [answered for answered in found if answered is not None]


def _answer(
    full_key: str,
    level: Level,
    trace: Trace,
    settings: Settings,
    tags: Tags,
    known: Mapping[str, Reply],
) -> Answered | None:
    sample, full = full_key.rpartition("/")[0], known[full_key]
    reply, thinking, behind, waits = full, len(trace.thought), trace.behind, 0
    text = answer_text(full.text) if trace.closed else ""
    limit = level.max_tokens
    cut = limit is not None and thinking > limit
    if limit is not None and cut:
        continued = known.get(_cut_key(full_key, limit))
        if continued is None:
            return None
        reply, thinking = continued, limit
        text, behind = answer_text(reply.text), reply.output_tokens
    elif level.min_tokens:
        longer, last, waits = _extended(sample, trace, level.min_tokens, tags, known)
        if _goes_on(longer, level.min_tokens, waits, settings, tags):
            return None
        if last is not None:
            thinking, behind = len(longer.thought), longer.behind
            text = answer_text(last.text) if longer.closed else ""
    return Answered(
        sample=sample,
        level=level,
        text=text,
        prompt_tokens=full.prompt_tokens,
        thinking_tokens=thinking,
        answer_tokens=behind,
        cut=cut,
        counted=True,
        waits=waits,
    )
