"""The emulator as SGLang: what a chat does not show, what is ignored in silence, how it ends."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.emulator.emulator_process import Emulator, chat, is_up, plan, wait_for

Shared = Callable[..., Emulator]
FLAGS = ("--dialect", "sglang", "--reasoning-parser", "deepseek-r1", "--enable-metrics")
RUNNING = {"include_usage": True, "continuous_usage_stats": True}


def sglang(shared: Shared, *flags: str) -> Emulator:
    return shared(*FLAGS, *flags)


def test_a_chat_shows_no_ids_and_its_running_usage_counts_the_hidden_tag(shared: Shared) -> None:
    stream = sglang(shared).stream(
        "/v1/chat/completions",
        chat(return_token_ids=True, stream_options=RUNNING, **plan(4, 3)),
    )
    assert stream.token_ids == []
    assert len(stream.text("reasoning_content").split()) == 4
    assert len(stream.text("content").split()) == 3
    told = [e["usage"]["completion_tokens"] for e in stream.events if e["usage"] and e["choices"]]
    assert told == [1, 2, 3, 4, 6, 7, 8, 9]  # 5 is the tag
    assert stream.usage["completion_tokens"] == 10
    assert stream.usage["reasoning_tokens"] == 4
    assert stream.finish["matched_stop"] == 2
    assert all(
        set(choice["delta"]) == {"role", "content", "reasoning_content", "tool_calls"}
        for choice in stream.choices
    )


def test_a_completion_takes_and_shows_ids(shared: Shared) -> None:
    emulator = sglang(shared)
    ids = emulator.post("/tokenize", {"prompt": "say <think>\n"})[1]["tokens"]
    body = {"prompt": ids, "max_tokens": 50, "return_token_ids": True, **plan(3, 2)}
    stream = emulator.stream("/v1/completions", body)
    assert stream.choices[0]["prompt_token_ids"] == ids
    assert len(stream.token_ids) == 3 + 2 + 2 + 1
    text = emulator.post("/detokenize", {"tokens": stream.token_ids})[1]["text"]
    assert text == stream.text("text")


def test_a_chat_is_rendered_by_the_tokenizers_route(shared: Shared) -> None:
    emulator = sglang(shared)
    rendered = emulator.post("/tokenize", {"messages": chat()["messages"]})[1]
    assert rendered["count"] == len(rendered["tokens"])
    assert rendered["max_model_len"] != emulator.post("/tokenize", {})[0]
    assert emulator.post("/tokenize", {"prompt": "x", "messages": []})[0] == 400


@pytest.mark.parametrize(
    ("flags", "fields", "thinks"),
    [
        (("--enable-strict-thinking",), {"custom_params": {"thinking_budget": 5}}, 5 - 1),
        ((), {"custom_params": {"thinking_budget": 5}}, 20),
        (("--enable-strict-thinking",), {"thinking_token_budget": 5}, 20),
        (("--enable-strict-thinking",), {"max_thinking_tokens": 5}, 20),
    ],
)
def test_a_native_budget_holds_in_one_spelling_and_only_when_it_is_on(
    shared: Shared, flags: tuple[str, ...], fields: dict[str, Any], thinks: int
) -> None:
    stream = sglang(shared, *flags).stream("/v1/chat/completions", chat(**fields, **plan(20, 3)))
    assert len(stream.text("reasoning_content").split()) == thinks


def test_errors_are_flat(shared: Shared) -> None:
    status, told = sglang(shared).post("/v1/chat/completions", chat(max_tokens=10_000_000))
    assert status == 400
    assert told["object"] == "error"
    assert "too large" in told["message"]


def test_its_counters_move_when_a_request_ends_and_only_one_is_live(shared: Shared) -> None:
    emulator = sglang(shared, "--a0-milliseconds", "5")
    sent = emulator.open_stream("/v1/chat/completions", chat(**plan(60, 5)))
    wait_for(lambda: emulator.metric("sglang:realtime_tokens_total") > 30)
    assert emulator.metric("sglang:num_running_reqs") == 1
    assert emulator.metric("sglang:generation_tokens_total") == 0
    while not sent.recv(65536).endswith(b"0\r\n\r\n"):
        pass
    sent.close()
    wait_for(lambda: emulator.metric("sglang:generation_tokens_total") == 60 + 2 + 5 + 1)
    assert emulator.metric("sglang:num_requests_total") == 1


def test_without_the_flag_there_are_no_metrics(shared: Shared) -> None:
    with pytest.raises(OSError, match="404"):
        shared("--dialect", "sglang").get("/metrics")


def test_it_drains_as_long_as_it_takes_and_then_kills_itself(own: Shared) -> None:
    emulator = own(*FLAGS, "--a0-milliseconds", "10")
    wait_for(lambda: is_up(emulator))
    sent = emulator.open_stream("/v1/chat/completions", chat(**plan(60, 5)))
    assert b"200 OK" in sent.recv(4096)
    emulator.process.terminate()

    def refuses() -> bool:
        return emulator.post("/v1/chat/completions", chat(max_tokens=3))[0] == 503

    wait_for(refuses)
    with pytest.raises(OSError, match="503"):
        emulator.get("/health")
    data = b""
    while piece := sent.recv(65536):
        data += piece
    sent.close()
    assert b"data: [DONE]" in data
    assert emulator.process.wait(10) == -signal.SIGKILL
