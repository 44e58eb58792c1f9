"""A chat stream as events of the Responses API: the same text whatever the chunks, and a grammar
that holds for all of them. The events are checked against the types of OpenAI's own library.
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from thinkscale.engines.dialect import Tags
from thinkscale.gateway.http.message import Reply
from thinkscale.gateway.responses.client import EventsClient, ResponseClient
from thinkscale.gateway.responses.events import Translator
from thinkscale.gateway.responses.request import read

RECORDING = Path(__file__).parents[2] / "data" / "vllm_chat_deepseek_r1.sse"
ECHO = read(b'{"input": "why?", "metadata": {"a": "b"}}', "m").echo
OPENED = Tags(open_id=3, close_id=4)
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 9,
    "total_tokens": 16,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
Segment = tuple[str, Any]


class Recorder:
    """The far end of a stream: remembers what it was sent."""

    def __init__(self) -> None:
        self.data = b""
        self.began = False

    def expect(self, tags: Tags, *, opened: bool = False) -> None:
        raise AssertionError("the stream that it gets has no tags")

    def prepare(self, headers: Mapping[str, str]) -> None:
        raise AssertionError("nobody asks an engine here")

    async def begin(self, headers: Mapping[str, str]) -> None:
        self.began = True

    def write(self, data: bytes) -> bool:
        self.data += data
        return True

    async def drained(self) -> None:
        raise AssertionError("it is never behind")

    async def send(self, data: bytes) -> None:
        self.write(data)

    async def finish(self) -> None:
        pass


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "created": 1, "model": "m", "choices": [choice], **more}


def encoded(payloads: list[dict[str, Any]]) -> bytes:
    return b"".join(b"data: " + json.dumps(p).encode() + b"\n\n" for p in payloads)


DONE = b"data: [DONE]\n\n"


def cut(text: str, sizes: list[int]) -> list[str]:
    pieces, turn = [], 0
    while text:
        size = sizes[turn % len(sizes)]
        pieces.append(text[:size])
        text, turn = text[size:], turn + 1
    return pieces


def chat_stream(
    segments: list[Segment], spelling: str, sizes: list[int], reason: str
) -> list[dict[str, Any]]:
    """What an engine would send for these segments, in pieces of these sizes. `spelling`: a field,
    or `tags`, or `hidden` (the template has opened the tag, the ids of the prompt tell).
    """
    ids = [3] if spelling == "hidden" else [4]
    chunks = [chunk({"role": "assistant", "content": ""}, prompt_token_ids=[1, *ids])]
    number = 0
    tagged = ""
    for kind, content in segments:
        if kind == "call":
            name, arguments = content
            chunks += [chunk({"content": piece}) for piece in cut(tagged, sizes)]
            tagged = ""
            head = {"index": number, "id": f"call-{number}", "type": "function"}
            first = {**head, "function": {"name": name, "arguments": ""}}
            pieces = [
                {"index": number, "function": {"arguments": each}} for each in cut(arguments, sizes)
            ]
            chunks += [chunk({"tool_calls": [piece]}) for piece in [first, *pieces]]
            number += 1
        elif spelling in ("tags", "hidden"):
            opening = "<think>" if spelling == "tags" else ""
            tagged += f"{opening}{content}</think>" if kind == "think" else content
        else:
            field = spelling if kind == "think" else "content"
            chunks += [chunk({field: piece}) for piece in cut(content, sizes)]
    chunks += [chunk({"content": piece}) for piece in cut(tagged, sizes)]
    return [*chunks, chunk({}, reason), {**chunk({}), "choices": [], "usage": USAGE}]


def translated(data: bytes, steps: list[int]) -> tuple[list[dict[str, Any]], bytes]:
    """The events for a chat stream that comes in pieces of these sizes; and their bytes."""

    async def run() -> bytes:
        inner = Recorder()
        client = EventsClient(inner, Translator("id", 5, ECHO))
        client.expect(OPENED)
        await client.begin({})
        await client.begin({})  # a second attempt
        rest, turn = data, 0
        while rest:
            step = steps[turn % len(steps)]
            await client.send(rest[:step])
            rest, turn = rest[step:], turn + 1
        await client.finish()
        return inner.data

    raw = asyncio.run(run())
    events = []
    for block in raw.decode().split("\n\n"):
        lines = block.split("\n")
        if not block.startswith(":") and block:
            assert len(lines) == 2
            event = json.loads(lines[1].removeprefix("data: "))
            assert lines[0] == f"event: {event['type']}"
            events.append(event)
    return events, raw


def waited(data: bytes) -> tuple[int, dict[str, Any]]:
    async def run() -> Reply:
        client = ResponseClient(Translator("id", 5, ECHO))
        client.expect(OPENED)
        await client.begin({"x-thinkscale-budget": "none"})
        await client.send(data)
        answer = await client.finish()
        assert answer.headers["x-thinkscale-budget"] == "none"
        return answer

    answer = asyncio.run(run())
    return answer.status, json.loads(answer.body)


def joined(segments: list[Segment], kind: str) -> str:
    return "".join(content for name, content in segments if name == kind)


def texts(response: dict[str, Any], kind: str, part: str) -> str:
    items = [item for item in response["output"] if item["type"] == kind]
    assert all(p["type"] == part for item in items for p in item["content"])
    return "".join(p["text"] for item in items for p in item["content"])


def check_grammar(events: list[dict[str, Any]]) -> None:
    """What a reader of the stream may rely on."""
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    items: dict[int, dict[str, Any]] = {}
    heard: dict[int, str] = {}
    done: dict[int, dict[str, Any]] = {}
    for event in events[2:-1]:
        kind, place = event["type"].removeprefix("response."), event["output_index"]
        assert place not in done
        if kind == "output_item.added":
            assert place == len(items)
            items[place], heard[place] = event["item"], ""
            assert event["item"]["status"] == "in_progress"
            continue
        if kind == "output_item.done":
            done[place] = event["item"]
            assert event["item"]["id"] == items[place]["id"]
            continue
        assert event["item_id"] == items[place]["id"]
        if kind.endswith(".delta"):
            assert event["delta"]
            heard[place] += event["delta"]
        elif kind != "content_part.added":
            part = event.get("part", event)
            assert part.get("text", part.get("arguments")) == heard[place]
    assert [done[place] for place in items] == events[-1]["response"]["output"]


TEXT = st.text(st.sampled_from('ab<t k/>\n"é漢😀'), min_size=1, max_size=12).filter(
    lambda text: "<" not in text and text.strip() != ""
)
CALL = st.tuples(st.sampled_from(["f", "g"]), st.sampled_from(["", "{}", '{"a": "é \\n"}']))


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Segment], str, str]:
    spelling = draw(st.sampled_from(["reasoning", "reasoning_content", "tags", "hidden"]))
    segments: list[Segment] = []
    if spelling == "hidden" or draw(st.booleans()):
        segments.append(("think", draw(TEXT)))
    if draw(st.booleans()):
        segments.append(("answer", draw(TEXT)))
    segments += [("call", each) for each in draw(st.lists(CALL, max_size=3))]
    if spelling == "reasoning" and draw(st.booleans()):
        segments += [("think", draw(TEXT)), ("answer", draw(TEXT))]  # it thinks again
    return segments, spelling, draw(st.sampled_from(["stop", "length"]))


SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@settings(max_examples=80, deadline=None)
@given(streams(), SIZES, SIZES, st.lists(st.integers(1, 400), min_size=1, max_size=4))
def test_any_chunking_gives_the_same_text_in_well_formed_events(
    stream: tuple[list[Segment], str, str],
    sizes: list[int],
    other_sizes: list[int],
    steps: list[int],
) -> None:
    segments, spelling, reason = stream
    data = encoded(chat_stream(segments, spelling, sizes, reason)) + DONE
    events, raw = translated(data, steps)
    assert translated(data, [len(data)])[1] == raw

    for event in events:
        EVENT.validate_python(event)
    check_grammar(events)

    response = events[-1]["response"]
    assert texts(response, "reasoning", "reasoning_text") == joined(segments, "think")
    assert texts(response, "message", "output_text") == joined(segments, "answer")
    called = [
        (i["call_id"], i["name"], i["arguments"])
        for i in response["output"]
        if i["type"] == "function_call"
    ]
    calls = [content for kind, content in segments if kind == "call"]
    assert called == [(f"call-{n}", name, text) for n, (name, text) in enumerate(calls)]

    again = encoded(chat_stream(segments, spelling, other_sizes, reason)) + DONE
    assert waited(again) == (200, response)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_thought_and_its_answer_are_told_in_this_order() -> None:
    segments: list[Segment] = [("think", "ab"), ("answer", "c")]
    events, _ = translated(encoded(chat_stream(segments, "reasoning", [1], "stop")) + DONE, [99])
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    response = events[-1]["response"]
    assert response["status"] == "completed"
    assert response["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 16,
    }
    assert response["metadata"] == {"a": "b"}
    assert response["created_at"] == 5
    assert Response.model_validate(response).output_text == "c"


def test_a_call_is_added_with_its_name_and_done_with_its_arguments() -> None:
    segments: list[Segment] = [("answer", "x"), ("call", ("f", "{}")), ("call", ("g", ""))]
    events, _ = translated(encoded(chat_stream(segments, "reasoning", [9], "tool_calls")), [99])
    assert kinds(events)[5:] == [
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "output_item.added",
        "function_call_arguments.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    added = [event["item"] for event in events if event["type"].endswith("item.added")]
    assert [item.get("name") for item in added] == [None, "f", "g"]


def test_pieces_of_two_calls_may_be_mixed() -> None:
    pieces = [
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": "["}},
        {"index": 0, "function": {"arguments": "}"}},
        {"index": 1, "function": {"arguments": "]"}},
    ]
    events, _ = translated(encoded([chunk({"tool_calls": [p]}) for p in pieces]), [99])
    check_grammar(events)
    assert [item["arguments"] for item in events[-1]["response"]["output"]] == ["{}", "[]"]


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_the_finish_reason_becomes_the_status_of_the_response_and_of_its_last_item(
    reason: str, status: str, details: Any
) -> None:
    segments: list[Segment] = [("think", "a"), ("answer", "b")]
    data = encoded(chat_stream(segments, "reasoning", [9], reason)) + DONE
    events, _ = translated(data, [99])
    response = events[-1]["response"]
    assert events[-1]["type"] == f"response.{status}"
    assert (response["status"], response["incomplete_details"]) == (status, details)
    assert [item["status"] for item in response["output"]] == ["completed", status]


@pytest.mark.parametrize(
    ("code", "name"), [(502, "server_error"), (429, "rate_limit_exceeded"), (400, "invalid_prompt")]
)
def test_an_error_inside_the_stream_is_the_last_event_and_keeps_what_came(
    code: int, name: str
) -> None:
    error = {"error": {"message": "it broke", "type": "Bad Gateway", "param": None, "code": code}}
    data = encoded([chunk({"reasoning": "a"}), error, chunk({"content": "late"})]) + DONE
    events, _ = translated(data, [99])
    assert events[-1]["type"] == "response.failed"
    EVENT.validate_python(events[-1])
    response = events[-1]["response"]
    assert response["error"] == {"code": name, "message": "it broke"}
    assert [item["status"] for item in response["output"]] == ["incomplete"]
    assert waited(data) == (code, error)


def test_of_two_calls_that_a_limit_ends_the_first_is_whole() -> None:
    pieces = [
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{"}},
    ]
    chunks = [chunk({"tool_calls": [piece]}) for piece in pieces]
    ended = [*chunks, chunk({}, "length"), chunk({})]  # whatever comes behind the end
    events, _ = translated(encoded(ended) + DONE, [99])
    response = events[-1]["response"]
    assert response["status"] == "incomplete"
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]


def test_comments_of_the_stream_pass() -> None:
    data = b": resumed by b\n\n" + encoded([chunk({"content": "a"}, "stop")]) + DONE
    events, raw = translated(data, [3])
    assert b"\n\n: resumed by b\n\nevent: response.output_item.added" in raw
    assert kinds(events)[-1] == "completed"


def test_what_may_be_the_beginning_of_a_tag_is_not_lost_when_the_stream_ends() -> None:
    events, _ = translated(encoded([chunk({"content": " <th"})]) + DONE, [99])
    assert texts(events[-1]["response"], "message", "output_text") == " <th"
    opened = chunk({"content": "a</th"}, prompt_token_ids=[3])
    events, _ = translated(encoded([opened]) + DONE, [99])
    assert texts(events[-1]["response"], "reasoning", "reasoning_text") == "a</th"


def test_an_engine_without_ids_may_have_said_that_its_template_opens_the_thought() -> None:
    translator = Translator("id", 5, ECHO)
    translator.expect(Tags(), opened=True)
    for text in ("hm", "m</thi", "nk>so"):
        translator.feed(chunk({"content": text}))
    translator.finish()
    response = translator.response()
    assert texts(response, "reasoning", "reasoning_text") == "hmm"
    assert texts(response, "message", "output_text") == "so"


def test_a_stream_recorded_from_a_real_engine_is_one_thought_and_one_answer() -> None:
    data = RECORDING.read_bytes()
    events, _ = translated(data, [1000])
    check_grammar(events)
    response = events[-1]["response"]
    deltas = [
        choice["delta"]
        for line in data.split(b"\n\n")
        if line.startswith(b"data: {")
        for choice in json.loads(line[6:])["choices"]
    ]
    thinking = "".join(delta.get("reasoning") or "" for delta in deltas)
    answer = "".join(delta.get("content") or "" for delta in deltas)
    assert thinking
    assert answer
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]
    assert texts(response, "reasoning", "reasoning_text") == thinking
    assert texts(response, "message", "output_text") == answer
    assert response["usage"]["input_tokens"] == 21


def test_other_choices_and_empty_chunks_add_nothing() -> None:
    other = {**chunk({"content": "x"}), "choices": [{"index": 1, "delta": {"content": "x"}}]}
    events, _ = translated(encoded([chunk({}), other, chunk({"content": ""}, "stop")]), [99])
    assert kinds(events) == ["created", "in_progress", "completed"]
    assert events[-1]["response"]["output"] == []
