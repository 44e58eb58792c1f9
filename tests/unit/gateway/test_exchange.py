"""The exchange against a pure engine: whatever is cut or nudged, ids and text agree, and no byte
comes twice or is lost.
"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinkscale.engines.dialect import CLOSING, Route, Tags
from thinkscale.engines.vllm_requests import VllmRequests
from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.exchange import Exchange
from thinkscale.gateway.request import parse
from thinkscale.gateway.sse import SseParser
from thinkscale.model.gateway_config import NUDGE, GatewayConfig

CONFIG = GatewayConfig(service="n/s", model="m", seats_per_replica=1)

OPEN, CLOSE, EOS = 3, 4, 2
WORDS = {OPEN: "<think>", CLOSE: "</think>", EOS: "", 5: "\n", 6: "\n\n", 7: "\nWait,"}
TAGS = Tags(open_id=OPEN, close_id=CLOSE, closing_ids=(5, 4, 6), nudge_ids=(7,))
PROMPT = [1, 50, OPEN, 5]


def word(token: int) -> str:
    return WORDS.get(token, f" w{token}")


def text_of(ids: list[int]) -> str:
    return "".join(word(token) for token in ids)


class PureEngine:
    """Streams given ids as vLLM does: on the chat route in a spelling, or raw."""

    def __init__(self, sizes: list[int], spelling: str) -> None:
        self.sizes = sizes
        self.spelling = spelling

    def stream(self, ids: list[int], *, chat: bool, identity: str) -> bytes:
        first: dict[str, Any] = {"index": 0, "delta": {"role": "assistant", "content": ""}}
        if not chat:
            first = {"index": 0, "text": ""}
        out = [self._event(identity, [{**first, "finish_reason": None}], prompt_token_ids=PROMPT)]
        thinking, position, turn = True, 0, 0
        while position < len(ids):
            size = self.sizes[turn % len(self.sizes)]
            piece, position, turn = ids[position : position + size], position + size, turn + 1
            choice: dict[str, Any] = {"index": 0}
            if not chat:
                choice["text"] = text_of(piece)
            elif not self.spelling:
                choice["delta"] = {"content": text_of(piece)}
            else:
                delta = choice["delta"] = {}
                for token in piece:
                    if token == CLOSE:
                        thinking = False
                        continue
                    name = self.spelling if thinking else "content"
                    delta[name] = delta.get(name, "") + word(token)
            ended = piece[-1] == EOS
            choice |= {"finish_reason": "stop" if ended else None, "token_ids": piece}
            out.append(self._event(identity, [choice]))
        usage = {"prompt_tokens": len(PROMPT), "completion_tokens": len(ids)}
        out.append(self._event(identity, [], usage=usage))
        return b"".join(out) + b"data: [DONE]\n\n"

    def _event(self, identity: str, choices: list[dict[str, Any]], **extra: Any) -> bytes:
        chunk = {"id": identity, "created": 1, "model": "m", "choices": choices, **extra}
        return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def run_stage(exchange: Exchange, stream: bytes, step: int) -> bytes:
    parser, out = SseParser(), b""
    for start in range(0, len(stream), step):
        for event in parser.feed(stream[start : start + step]):
            out += exchange.feed(event)
            if exchange.turn is not None:
                if (trim := exchange.turn.trim) is not None:
                    out += exchange.trimmed(text_of(list(trim.ids)))
                return out + exchange.turned()
    return out


def told(stream: bytes) -> tuple[str, str, list[str], list[dict[str, Any]]]:
    events = [json.loads(b[6:]) for b in stream.split(b"\n\n") if b.startswith(b"data: {")]
    deltas = [c.get("delta", {"content": c.get("text")}) for e in events for c in e["choices"]]
    thinking = "".join(d.get("reasoning") or d.get("reasoning_content") or "" for d in deltas)
    content = "".join(d.get("content") or "" for d in deltas)
    reasons = [c["finish_reason"] for e in events for c in e["choices"] if c["finish_reason"]]
    assert len({event["id"] for event in events}) == 1
    return thinking, content, reasons, events


def exchange_of(route: Route, *, limit: int | None, minimum: int = 0) -> Exchange:
    body = {"stream": True, "stream_options": {"include_usage": True}, "prompt": "x"}
    return Exchange(
        parse(route, json.dumps(body).encode(), CONFIG),
        BudgetMachine(limit=limit, minimum=minimum),
        TAGS,
        model="m",
        stops_when_exhausted=False,
        keeps_ids=True,
    )


few = settings(max_examples=40, deadline=None)
steps = st.sampled_from([3, 50, 700, 100_000])
"""Bytes that the network delivers at a time."""
thoughts = st.lists(st.integers(10, 40), max_size=25)
answers = st.lists(st.integers(10, 40), max_size=10)
sizes = st.lists(st.integers(1, 6), min_size=1, max_size=5)
routes = pytest.mark.parametrize(
    ("route", "spelling"),
    [
        (Route.CHAT, "reasoning"),
        (Route.CHAT, "reasoning_content"),
        (Route.CHAT, ""),
        (Route.COMPLETIONS, ""),
    ],
)


@routes
@few
@given(
    thought=thoughts,
    answer=answers,
    sizes=sizes,
    limit=st.one_of(st.none(), st.integers(0, 30)),
    step=steps,
)
def test_a_cut_thought_and_its_answer_read_as_one_stream(
    route: Route,
    spelling: str,
    thought: list[int],
    answer: list[int],
    sizes: list[int],
    limit: int | None,
    step: int,
) -> None:
    engine = PureEngine(sizes, spelling)
    exchange = exchange_of(route, limit=limit)
    first = engine.stream(
        [*thought, CLOSE, 6, *answer, EOS], chat=route is Route.CHAT, identity="one"
    )
    out = run_stage(exchange, first, step)
    kept = thought if limit is None else thought[:limit]
    if kept != thought:
        body = exchange.transcript.continuation(VllmRequests(), "m")
        assert body["prompt"] == [*PROMPT, *kept, *TAGS.closing_ids]
        out += run_stage(exchange, engine.stream([*answer, EOS], chat=False, identity="two"), step)
    assert exchange.done
    thinking, content, reasons, events = told(out)
    closing = CLOSING if kept != thought else "</think>\n\n"
    if spelling:
        assert thinking == text_of(kept)
        assert content == ("" if kept != thought else "\n\n") + text_of(answer)
    else:
        assert content == text_of(kept) + closing + text_of(answer)
    assert reasons == ["stop"]
    usage = events[-1]["usage"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] == len(kept) if kept else True
    assert exchange.account.thinking == len(kept)
    tags = len(TAGS.closing_ids) if kept != thought else len([CLOSE, 6])
    assert exchange.account.completion == len(kept) + tags + len(answer) + len([EOS])
    if kept != thought:
        assert usage["completion_tokens"] == exchange.account.completion
    assert b"token_ids" not in out


@routes
@few
@given(
    rounds=st.lists(thoughts, min_size=1, max_size=4),
    answer=answers,
    sizes=sizes,
    minimum=st.integers(1, 40),
    step=steps,
)
def test_a_thought_that_is_nudged_on_reads_as_one_stream(
    route: Route,
    spelling: str,
    rounds: list[list[int]],
    answer: list[int],
    sizes: list[int],
    minimum: int,
    step: int,
) -> None:
    engine = PureEngine(sizes, spelling)
    exchange = exchange_of(route, limit=None, minimum=minimum)
    out, sent = b"", list(PROMPT)
    for number, thought in enumerate(rounds):
        chat = route is Route.CHAT and number == 0
        stream = engine.stream([*thought, CLOSE, *answer, EOS], chat=chat, identity=str(number))
        out += run_stage(exchange, stream, step)
        sent += thought
        if exchange.done:
            break
        sent += TAGS.nudge_ids
        assert exchange.transcript.continuation(VllmRequests(), "m")["prompt"] == sent
    thought_ids = sent[len(PROMPT) :]
    assert exchange.account.thinking == len(thought_ids)
    thinking, content, _, _ = told(out)
    whole = text_of(thought_ids)
    if exchange.done:
        assert len(thought_ids) >= minimum or number == 4
        if spelling:
            assert (thinking, content) == (whole, text_of(answer))
        else:
            assert content == whole + "</think>" + text_of(answer)
    else:
        assert (thinking if spelling else content) == whole
        assert NUDGE in whole


def test_the_answer_maximum_cuts_inside_a_chunk() -> None:
    body = {"stream": True, "stream_options": {"include_usage": True}}
    exchange = Exchange(
        parse(Route.CHAT, json.dumps(body).encode(), CONFIG),
        BudgetMachine(limit=None, answer_limit=3),
        TAGS,
        model="m",
        stops_when_exhausted=False,
        keeps_ids=False,
    )
    stream = PureEngine([4], "reasoning").stream(
        [10, CLOSE, 11, 12, 13, 14, 15, EOS], chat=True, identity="x"
    )
    _, content, reasons, events = told(run_stage(exchange, stream, 100))
    assert content == text_of([11, 12, 13])
    assert reasons == ["length"]
    assert events[-1]["usage"]["completion_tokens"] == 5


def test_text_that_cannot_be_told_is_left_out_together_with_its_ids() -> None:
    exchange = exchange_of(Route.CHAT, limit=2)
    stream = PureEngine([5], "reasoning").stream(
        [10, 11, 12, 13, 14, CLOSE, EOS], chat=True, identity="x"
    )
    parser = SseParser()
    for event in parser.feed(stream):
        exchange.feed(event)
        if exchange.turn is not None:
            break
    assert exchange.trimmed(None) == b""
    exchange.turned()
    assert exchange.transcript.continuation(VllmRequests(), "m")["prompt"] == [
        *PROMPT,
        *TAGS.closing_ids,
    ]


def test_without_the_prompts_ids_nothing_is_cut() -> None:
    """There would be nothing to go on from: the thought is left alone, and the answer comes."""
    exchange = exchange_of(Route.CHAT, limit=2)
    stream = PureEngine([2], "reasoning").stream(
        [10, 11, 12, 13, CLOSE, 20, EOS], chat=True, identity="x"
    )
    stream = stream.replace(b'"prompt_token_ids"', b'"something_else"')
    thinking, content, reasons, _ = told(run_stage(exchange, stream, 100))
    assert (thinking, content, reasons) == (text_of([10, 11, 12, 13]), text_of([20]), ["stop"])


def test_a_stop_string_inside_the_thought_is_the_clients_will() -> None:
    """A minimum does not argue with it."""
    exchange = exchange_of(Route.CHAT, limit=None, minimum=50)
    stream = PureEngine([2], "reasoning").stream([10, 11, 12, EOS], chat=True, identity="x")
    stream = stream.replace(
        b'"finish_reason":"stop"', b'"finish_reason":"stop","stop_reason":" w12"'
    )
    thinking, _, reasons, _ = told(run_stage(exchange, stream, 100))
    assert exchange.done
    assert reasons == ["stop"]
    assert thinking == text_of([10, 11, 12])
