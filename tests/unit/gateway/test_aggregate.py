"""A client that waits gets what a streaming client would have put together."""

import json
from typing import Any

from thinkscale.engines.dialect import Route
from thinkscale.gateway.aggregate import Aggregator


def fed(route: Route, *payloads: dict[str, Any], step: int = 10_000) -> Aggregator:
    whole = Aggregator(route)
    stream = b"".join(b"data: " + json.dumps(p).encode() + b"\n\n" for p in payloads)
    stream += b"data: [DONE]\n\n"
    for start in range(0, len(stream), step):
        whole.feed(stream[start : start + step])
    return whole


def delta(index: int = 0, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": fields, "finish_reason": finish}
    return {"id": "x", "created": 1, "model": "m", "choices": [choice]}


def test_thinking_and_answer_are_joined_whatever_the_chunking() -> None:
    payloads = [
        delta(role="assistant", content=""),
        delta(reasoning="a"),
        delta(reasoning="b"),
        delta(content="c"),
        delta(content="", finish="stop"),
        {"id": "x", "choices": [], "usage": {"completion_tokens": 3}},
    ]
    answers = [fed(Route.CHAT, *payloads, step=step).response() for step in (1, 17, 10_000)]
    assert answers[0] == answers[1] == answers[2]
    choice = answers[0]["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "c", "reasoning": "ab"}
    assert choice["finish_reason"] == "stop"
    assert answers[0]["usage"] == {"completion_tokens": 3}
    assert answers[0]["object"] == "chat.completion"


def test_a_thought_without_an_answer_has_no_content() -> None:
    answer = fed(Route.CHAT, delta(content=""), delta(reasoning="a", finish="length")).response()
    assert answer["choices"][0]["message"]["content"] is None


def test_tool_calls_are_merged_by_their_index() -> None:
    def call(index: int, **fields: Any) -> dict[str, Any]:
        return delta(tool_calls=[{"index": index, **fields}])

    answer = fed(
        Route.CHAT,
        call(0, id="one", type="function", function={"name": "f", "arguments": ""}),
        call(0, function={"arguments": '{"x":'}),
        call(1, id="two", type="function", function={"name": "g", "arguments": "{}"}),
        call(0, function={"arguments": "1}"}),
    ).response()
    message = answer["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "one", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "two", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_choices_and_log_probabilities_keep_apart() -> None:
    payloads = [delta(index=1, content="b"), delta(index=0, content="a")]
    payloads[0]["choices"][0]["logprobs"] = {"content": [{"token": "b"}]}
    more = delta(index=1, content="c", finish="stop")
    more["choices"][0]["logprobs"] = {"content": [{"token": "c"}]}
    answer = fed(Route.CHAT, *payloads, more).response()
    assert [c["message"]["content"] for c in answer["choices"]] == ["a", "bc"]
    assert [t["token"] for t in answer["choices"][1]["logprobs"]["content"]] == ["b", "c"]


def test_an_error_in_the_stream_is_kept() -> None:
    whole = fed(Route.CHAT, {"error": {"code": 503, "message": "busy"}})
    assert whole.error == {"code": 503, "message": "busy"}


def test_completions_join_their_text() -> None:
    pieces = [{"id": "x", "choices": [{"index": 0, "text": t}]} for t in "ab"]
    answer = fed(Route.COMPLETIONS, *pieces).response()
    assert answer["object"] == "text_completion"
    assert answer["choices"][0]["text"] == "ab"
