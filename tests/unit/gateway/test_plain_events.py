"""An event that is recognised by its bytes comes to the same as one that was read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.engines.dialect import Route, Tags
from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.exchange import Exchange
from thinkscale.gateway.request import parse
from thinkscale.gateway.sse import SseParser
from thinkscale.model.gateway_config import GatewayConfig

OPEN, CLOSE = 3, 4
TAGS = Tags(open_id=OPEN, close_id=CLOSE, closing_ids=(5, CLOSE, 5), nudge_ids=(6,))
CONFIG = GatewayConfig(service="n/s", model="m", seats_per_replica=8)

TEXTS = st.text(max_size=6) | st.sampled_from(
    ["<think>", "</think>", "</th", "ink>", '"', "\\", "«"]
)
TOKENS = st.integers(0, 9) | st.integers(10, 99_999)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["reasoning", "content"]), TEXTS, TOKENS), min_size=1, max_size=30
)


def exchange_of(limit: int | None, *, answer_limit: int | None, wants_ids: bool) -> Exchange:
    body = {"model": "m", "stream": True, "messages": [], "return_token_ids": wants_ids}
    return Exchange(
        parse(Route.CHAT, json.dumps(body).encode(), CONFIG),
        BudgetMachine(limit=limit, answer_limit=answer_limit),
        TAGS,
        model="m",
        stops_when_exhausted=False,
        keeps_ids=True,
    )


def event(
    delta: dict[str, Any], *, ids: list[int] | None = None, ascii_only: bool, **more: Any
) -> bytes:
    choice: dict[str, Any] = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    if ids is not None:
        choice["token_ids"] = ids
    chunk = {"id": "c", "created": 1, "model": "m", "choices": [choice], **more}
    text = json.dumps(chunk, separators=(",", ":"), ensure_ascii=ascii_only)
    return b"data: " + text.encode() + b"\n\n"


FIRST = event({"role": "assistant", "content": ""}, ascii_only=True, prompt_token_ids=[1, 2])


def state(exchange: Exchange) -> tuple[Any, ...]:
    account, budget = exchange.account, exchange._budget
    return (
        (account.thinking, account.control, account.answer, account.basis, account.is_exact),
        (budget.thinking, budget.answer, budget.ended, budget.cut, budget.violated),
        (
            exchange.began,
            exchange.answered,
            exchange.turn,
            exchange.trouble,
            exchange.splitter.phase,
        ),
        (list(exchange.transcript.generated), exchange.transcript.is_complete),
    )


def run(exchange: Exchange, events: list[bytes], *, plain: bool) -> tuple[bytes, int]:
    """What the client gets, and how many events were recognised."""
    parser, out, recognised = SseParser(), b"", 0
    for raw in events:
        passed = exchange.plain.feed(raw) if plain else None
        recognised += passed is not None
        if passed is not None:
            out += passed
            continue
        for each in parser.feed(raw):
            out += exchange.feed(each)
        if exchange.turn is not None or exchange.trouble is not None:
            break
    return out, recognised


@given(
    pieces=EVENTS,
    limit=st.none() | st.integers(0, 12),
    answer_limit=st.none() | st.integers(0, 12),
    wants_ids=st.booleans(),
    ascii_only=st.booleans(),
)
def test_whatever_comes_the_state_and_the_bytes_are_the_same(
    pieces: list[tuple[str, str, int]],
    limit: int | None,
    answer_limit: int | None,
    wants_ids: bool,
    ascii_only: bool,
) -> None:
    events = [FIRST] + [
        event({field: text}, ids=[token], ascii_only=ascii_only) for field, text, token in pieces
    ]
    read = exchange_of(limit, answer_limit=answer_limit, wants_ids=wants_ids)
    recognised = exchange_of(limit, answer_limit=answer_limit, wants_ids=wants_ids)
    expected, _ = run(read, events, plain=False)
    assert run(recognised, events, plain=True)[0] == expected
    assert state(recognised) == state(read)


@pytest.mark.parametrize("field", ["reasoning", "content"])
def test_the_events_of_a_phase_are_recognised_from_the_second_on(field: str) -> None:
    events = [event({field: f" word{n}"}, ids=[1000 + n], ascii_only=True) for n in range(50)]
    exchange = exchange_of(None, answer_limit=None, wants_ids=False)
    assert run(exchange, [FIRST, *events], plain=True)[1] == 49


def test_the_token_beyond_the_budget_is_read_and_cuts() -> None:
    events = [event({"reasoning": "a"}, ids=[1000 + n], ascii_only=True) for n in range(20)]
    exchange = exchange_of(10, answer_limit=None, wants_ids=False)
    assert run(exchange, [FIRST, *events], plain=True)[1] == 9
    assert exchange.turn is not None
    assert exchange.account.thinking == 10


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(b'"finish_reason":"stop"', id="it ends the stream"),
        pytest.param(b'"finish_reason":null,"token_ids":[7,8]', id="it has two tokens"),
        pytest.param(b'"finish_reason":null,"token_ids":[4]', id="its token is a tag"),
        pytest.param(b'"finish_reason":null,"token_ids":[]', id="it has no token"),
    ],
)
def test_an_event_that_differs_in_more_is_not_recognised(other: bytes) -> None:
    like = event({"reasoning": "a"}, ids=[1000], ascii_only=True)
    exchange = exchange_of(None, answer_limit=None, wants_ids=False)
    run(exchange, [FIRST, like], plain=False)
    assert exchange.plain.feed(like) is not None
    assert (
        exchange.plain.feed(like.replace(b'"finish_reason":null,"token_ids":[1000]', other)) is None
    )
    assert exchange.plain.feed(like + like) is None
    assert exchange.plain.feed(like[:-1]) is None
    assert exchange.plain.feed(like.replace(b'"a"', b'"\xff"')) is None
    assert exchange.plain.feed(like.replace(b'"a"', b'"a""')) is None


def test_a_stream_whose_events_are_all_different_is_soon_left_alone() -> None:
    exchange = exchange_of(None, answer_limit=None, wants_ids=False)
    events = [
        event({"content": "a"}, ids=[1000], ascii_only=True, system_fingerprint=str(n))
        for n in range(20)
    ]
    run(exchange, [FIRST, *events], plain=True)
    assert exchange.plain.feed(events[-1]) is None
    assert exchange.account.answer == 20
