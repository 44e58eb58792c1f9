"""Streams and whole replies, compared with what the real engine sent."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.emulator.emulator_process import Emulator, Stream, chat, plan
from thinkscale.emulator.vocabulary import BLANK_LINE, END_THINK, EOS, encode

RECORDING = Path(__file__).parents[2] / "data" / "vllm_chat_deepseek_r1.sse"
Shared = Callable[..., Emulator]
R1 = ("--reasoning-parser", "deepseek_r1")
QWEN = ("--reasoning-parser", "qwen3")
COUNTED: dict[str, Any] = {
    "return_token_ids": True,
    "stream_options": {"include_usage": True, "continuous_usage_stats": True},
}


def shape(value: Any) -> Any:
    """Keys and types, in order; what differs between any two models is left out."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return value if value in ("", "\n\n", "stop", "assistant") else type(value).__name__


def test_a_chat_stream_has_the_recorded_shape_key_by_key(shared: Shared) -> None:
    text = RECORDING.read_text()
    recorded = [json.loads(e[6:]) for e in text.split("\n\n") if e.startswith("data: {")]
    emulated = shared(*R1).stream("/v1/chat/completions", chat(**COUNTED, **plan(4, 3)))
    assert [shape(event) for event in emulated.events] == [shape(event) for event in recorded]


def test_tokens_come_one_by_one_and_are_counted_honestly(shared: Shared) -> None:
    stream = shared(*R1).stream("/v1/chat/completions", chat(**COUNTED, **plan(30, 10)))
    assert [len(c.get("token_ids", [0])) for c in stream.choices] == [1] * len(stream.choices)
    assert stream.token_ids[30:32] == [END_THINK, BLANK_LINE]
    assert stream.token_ids[-1] == EOS
    assert stream.usage["completion_tokens"] == len(stream.token_ids) == 30 + 2 + 10 + 1
    assert stream.usage["prompt_tokens"] == len(stream.events[0]["prompt_token_ids"])
    counts = [e["usage"]["completion_tokens"] for e in stream.events]
    assert counts == [*range(44), 43]
    assert encode(stream.text("reasoning")) == stream.token_ids[:30]


def test_without_token_ids_the_end_of_thought_is_no_chunk(shared: Shared) -> None:
    stream = shared(*R1).stream("/v1/chat/completions", chat(**plan(3, 2)))
    assert [list(c["delta"]) for c in stream.choices[1:]] == [["reasoning"]] * 3 + [["content"]] * 4
    assert all(c["token_ids"] is None for c in stream.choices[1:])
    assert "usage" not in stream.events[-1]


@pytest.mark.parametrize(
    ("flags", "details"),
    [
        (QWEN, {"reasoning_tokens": 12}),
        (R1, {"reasoning_tokens": 0}),
        ((*R1, "--no-template-opens-think"), {"reasoning_tokens": 13}),
        ((), None),
    ],
)
def test_reasoning_tokens_are_counted_as_each_parser_does(
    shared: Shared, flags: tuple[str, ...], details: Any
) -> None:
    status, reply = shared(*flags).post("/v1/chat/completions", chat(**plan(12, 3)))
    assert status == 200
    assert reply["usage"]["completion_tokens_details"] == details


def test_three_spellings_of_thinking(shared: Shared) -> None:
    body = chat(**plan(4, 2))
    plain = shared(*QWEN).stream("/v1/chat/completions", body)
    older = shared(*QWEN, "--reasoning-field", "reasoning_content").stream(
        "/v1/chat/completions", body
    )
    inside = shared().stream("/v1/chat/completions", body)
    thought, answer = plain.text("reasoning"), plain.text("content")
    assert older.text("reasoning_content") == thought
    assert older.text("content") == answer
    assert inside.text("content") == f"{thought}</think>{answer}"
    opened = shared("--no-template-opens-think").stream("/v1/chat/completions", body)
    assert opened.text("content").startswith("<think>\n")


def test_a_whole_reply_says_what_the_stream_says(shared: Shared) -> None:
    body = chat(return_token_ids=True, **plan(7, 5))
    stream = shared(*R1).stream("/v1/chat/completions", body)
    _, whole = shared(*R1).post("/v1/chat/completions", body)
    choice = whole["choices"][0]
    assert choice["message"]["reasoning"] == stream.text("reasoning")
    assert choice["message"]["content"] == stream.text("content")
    assert choice["token_ids"] == stream.token_ids
    assert choice["finish_reason"] == "stop"
    assert whole["prompt_token_ids"] == stream.events[0]["prompt_token_ids"]


def test_several_choices_are_told_apart_by_index(shared: Shared) -> None:
    body = chat(n=3, stream_options={"include_usage": True}, **plan(3, 2))
    stream = shared(*R1).stream("/v1/chat/completions", body)
    for index in range(3):
        own = Stream([{"choices": [c]} for c in stream.choices if c["index"] == index])
        assert own.choices[0]["delta"]["role"] == "assistant"
        assert len(encode(own.text("reasoning"))) == 3
        assert own.finish["finish_reason"] == "stop"
    assert stream.usage["completion_tokens"] == 3 * 8


@pytest.mark.parametrize(
    ("prompt", "replies"),
    [("so <think>\n", 1), (["so <think>\n", "now <think>\n"], 2), ([4, 5], 1), ([[4, 5], [4]], 2)],
)
def test_raw_prompts_come_as_text_or_ids_one_or_many(
    shared: Shared, prompt: Any, replies: int
) -> None:
    _, reply = shared().post("/v1/completions", {"prompt": prompt, "max_tokens": 5, **plan(9, 9)})
    assert [c["index"] for c in reply["choices"]] == list(range(replies))
    assert reply["usage"]["completion_tokens"] == 5 * replies
    assert {c["finish_reason"] for c in reply["choices"]} == {"length"}


def test_a_raw_stream_carries_text_ids_and_the_prompt_once(shared: Shared) -> None:
    body = {"prompt": "so <think>\n", "max_tokens": 99, "return_token_ids": True, **plan(3, 2)}
    stream = shared(*R1).stream("/v1/completions", body)
    assert [("prompt_token_ids" in c) for c in stream.choices] == [True] + [False] * 7
    assert stream.choices[0]["prompt_token_ids"] == encode("so <think>\n")
    assert encode(stream.text("text")) == stream.token_ids[:-1]
    assert "</think>\n\n" in stream.text("text")


def test_a_continuation_by_ids_equals_one_by_text_and_the_uninterrupted_stream(
    shared: Shared,
) -> None:
    emulator = shared(*R1)
    whole = emulator.stream("/v1/chat/completions", chat(**COUNTED, **plan(20, 6)))
    prompt = [*whole.events[0]["prompt_token_ids"], *whole.token_ids[:11]]
    fields = {"max_tokens": 99, "return_token_ids": True, **plan(20, 6)}
    by_ids = emulator.stream("/v1/completions", {"prompt": prompt, **fields})
    _, text = emulator.post("/detokenize", {"tokens": prompt})
    by_text = emulator.stream("/v1/completions", {"prompt": text["prompt"], **fields})
    assert by_ids.token_ids == by_text.token_ids == whole.token_ids[11:]


def test_the_native_budget_cuts_and_the_answer_still_comes(shared: Shared) -> None:
    stream = shared(*R1).stream(
        "/v1/chat/completions", chat(thinking_token_budget=10, **COUNTED, **plan(300, 6))
    )
    assert stream.token_ids.index(END_THINK) == 9
    assert len(encode(stream.text("content"))) == 1 + 6
    assert stream.finish["finish_reason"] == "stop"


def test_a_custom_end_of_thought_is_streamed_as_reasoning(shared: Shared) -> None:
    config = '{"reasoning_end_str": "\\n\\n time to answer</think>\\n\\n"}'
    stream = shared(*QWEN, "--reasoning-config", config).stream(
        "/v1/chat/completions", chat(thinking_token_budget=5, **COUNTED, **plan(99, 2))
    )
    assert stream.text("reasoning").endswith("\n\n time to answer")
    assert stream.usage["completion_tokens_details"]["reasoning_tokens"] == 4 + 4


def test_a_server_can_be_told_to_ignore_the_budget_in_silence(shared: Shared) -> None:
    stream = shared(*R1, "--ignore-native-budget").stream(
        "/v1/chat/completions", chat(thinking_token_budget=10, **COUNTED, **plan(40, 2))
    )
    assert stream.token_ids.index(END_THINK) == 40


def test_tokens_can_come_several_to_a_chunk(shared: Shared) -> None:
    stream = shared(*R1, "--coalesce", "4").stream(
        "/v1/chat/completions", chat(**COUNTED, **plan(6, 3))
    )
    assert [len(c["token_ids"]) for c in stream.choices[1:]] == [4, 4, 4]
    # Words five and six, the silent end of the thought, and the blank line after it.
    assert list(stream.choices[2]["delta"]) == ["reasoning", "content"]
    assert stream.choices[2]["delta"]["content"] == "\n\n"
    assert stream.usage["completion_tokens"] == 12


def test_the_stop_token_is_counted_and_not_shown(shared: Shared) -> None:
    body = chat(stop_token_ids=[END_THINK], min_tokens=20, **COUNTED, **plan(5, 3))
    stream = shared(*R1).stream("/v1/chat/completions", body)
    assert stream.token_ids.index(END_THINK) == 20
    assert (stream.finish["finish_reason"], stream.finish["stop_reason"]) == ("stop", END_THINK)
    assert stream.text("content") == ""
    _, reply = shared(*R1).post("/v1/chat/completions", body)
    assert reply["choices"][0]["message"]["content"] is None


def test_a_stop_string_ends_a_raw_completion_and_is_held_back(shared: Shared) -> None:
    body: dict[str, Any] = {"prompt": "so <think>\n", "max_tokens": 99, **plan(5, 3)}
    stream = shared().stream("/v1/completions", body | {"stop": ["</think>\n\n"]})
    assert len(encode(stream.text("text"))) == 5
    assert stream.finish["stop_reason"] == "</think>\n\n"
    shown = shared().stream(
        "/v1/completions", body | {"stop": "</think>", "include_stop_str_in_output": True}
    )
    assert shown.text("text").endswith("</think>")


def test_stop_strings_do_not_end_a_thought_that_a_parser_sees(shared: Shared) -> None:
    thought = shared(*R1).stream("/v1/chat/completions", chat(**plan(8, 0))).text("reasoning")
    word = thought.split(" ")[3]
    stream = shared(*R1).stream("/v1/chat/completions", chat(stop=[f" {word}"], **plan(8, 0)))
    assert stream.text("reasoning") == thought


def test_a_request_id_of_the_client_is_kept(shared: Shared) -> None:
    _, reply = shared().post("/v1/chat/completions", chat(**plan(1, 1)), **{"X-Request-Id": "abc"})
    assert reply["id"] == "chatcmpl-abc"


def test_unknown_fields_are_ignored(shared: Shared) -> None:
    assert shared().post("/v1/chat/completions", chat(unknown_field=1, **plan(1, 1)))[0] == 200


def test_a_configured_end_of_thought_makes_budgets_work_without_a_parser(shared: Shared) -> None:
    stream = shared("--reasoning-config", '{"reasoning_end_str": "</think>"}').stream(
        "/v1/chat/completions", chat(thinking_token_budget=5, **COUNTED, **plan(50, 2))
    )
    assert stream.token_ids.index(END_THINK) == 4
