"""Refusals, overload and the small routes: status and shape of the real engine."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.emulator.emulator_process import Emulator, chat, plan, wait_for

Shared = Callable[..., Emulator]
CHAT, RAW = "/v1/chat/completions", "/v1/completions"
R1 = ("--reasoning-parser", "deepseek_r1")

REFUSED: list[tuple[str, Any, int, str, str | None]] = [
    (CHAT, {"messages": [], "model": "m"}, 400, "Bad Request", "body.messages"),
    (CHAT, {"model": "m"}, 400, "Bad Request", "body.messages"),
    (CHAT, b"{no json", 400, "Bad Request", "body"),
    (CHAT, chat() | {"model": "other"}, 404, "NotFoundError", "model"),
    (CHAT, chat(temperature=-1), 400, "BadRequestError", "temperature"),
    (CHAT, chat(max_tokens=0), 400, "BadRequestError", "max_tokens"),
    (CHAT, chat(max_tokens=10**6), 400, "BadRequestError", "max_tokens"),
    (CHAT, chat(max_tokens=5, min_tokens=6), 400, "BadRequestError", None),
    (CHAT, chat(thinking_token_budget="x"), 400, "Bad Request", "body.thinking_token_budget"),
    (CHAT, chat(thinking_token_budget=1.5), 400, "Bad Request", "body.thinking_token_budget"),
    (CHAT, chat(continue_final_message=True), 400, "BadRequestError", None),
    (CHAT, chat("word " * 40_000, stream=True), 400, "BadRequestError", "input_tokens"),
    (CHAT, chat(n=9), 400, "BadRequestError", "n"),
    (RAW, {"prompt": [10**6]}, 400, "BadRequestError", None),
    (RAW, {}, 400, "Bad Request", "body.prompt"),
]


@pytest.mark.parametrize(("path", "body", "status", "kind", "param"), REFUSED)
def test_a_bad_request_is_refused_in_the_engines_words(
    shared: Shared, path: str, body: Any, status: int, kind: str, param: str | None
) -> None:
    got, reply = shared(*R1).post(path, body)
    assert (got, reply["error"]["type"], reply["error"]["param"]) == (status, kind, param)
    assert list(reply["error"]) == ["message", "type", "param", "code"]
    assert reply["error"]["code"] == status
    assert reply["error"]["message"]


def test_a_budget_without_a_parser_is_refused_and_not_silent(shared: Shared) -> None:
    status, reply = shared().post(CHAT, chat(thinking_token_budget=5))
    assert status == 400
    assert reply["error"]["message"].startswith("thinking_token_budget is set but")
    assert shared().post(CHAT, chat(thinking_token_budget=-1, **plan(1, 1)))[0] == 200


def test_continuing_a_message_with_a_closed_thought_is_refused(shared: Shared) -> None:
    body = chat(continue_final_message=True, add_generation_prompt=False, **plan(6, 2))
    thinking = {"role": "assistant", "content": "<think>\n so the"}
    body["messages"].append(thinking)
    _, reply = shared(*R1).post(CHAT, body)
    assert reply["choices"][0]["message"]["reasoning"].count(" ") == 4
    thinking["content"] += "</think>"
    assert shared(*R1).post(CHAT, body)[0] == 400


def test_wrong_paths_and_methods(shared: Shared) -> None:
    emulator = shared()
    assert emulator.post("/v1/nothing", {}) == (404, {"detail": "Not Found"})
    assert emulator.post("/health", {}) == (405, {"detail": "Method Not Allowed"})


def test_the_small_routes(shared: Shared) -> None:
    emulator = shared()
    assert emulator.get("/health") == emulator.get("/ping") == ""
    assert json.loads(emulator.get("/version")) == {"version": "0.32.0"}
    assert json.loads(emulator.get("/load")) == {"server_load": 0}
    card = json.loads(emulator.get("/v1/models"))["data"][0]
    assert (card["id"], card["max_model_len"]) == ("m", 32_768)


def test_any_text_can_be_tokenized_and_back(shared: Shared) -> None:
    for text in ("\n</think>\n\n", "Grüße, 世界", ""):
        _, reply = shared().post("/tokenize", {"model": "m", "prompt": text})
        assert reply["count"] == len(reply["tokens"])
        _, back = shared().post("/detokenize", {"model": "m", "tokens": reply["tokens"]})
        assert back["prompt"] == text
    _, reply = shared().post("/tokenize", chat("x", return_token_strs=True))
    assert reply["token_strs"][-2:] == ["<think>", "\n"]


def test_an_overloaded_engine_takes_everything_and_lets_it_wait(shared: Shared) -> None:
    emulator = shared("--max-num-seqs", "2")
    sockets = [emulator.open_stream(CHAT, chat(**plan(2_000, 1))) for _ in range(6)]
    try:
        for opened in sockets:
            assert opened.recv(15) == b"HTTP/1.1 200 OK"
        wait_for(lambda: emulator.metric("vllm:num_requests_running") == 2)
        assert emulator.metric("vllm:num_requests_waiting") == 4
    finally:
        for opened in sockets:
            opened.close()
    wait_for(lambda: emulator.metric("vllm:num_requests_running") == 0)
    assert emulator.metric("vllm:num_requests_waiting") == 0


def test_a_limited_queue_refuses_a_stream_inside_of_http_200(shared: Shared) -> None:
    emulator = shared("--max-num-queued-reqs", "1", "--enable-server-load-tracking")
    with emulator.open_stream(CHAT, chat(**plan(2_000, 1))) as held:
        held.recv(15)
        wait_for(lambda: json.loads(emulator.get("/load"))["server_load"] == 1)
        stream = emulator.stream(CHAT, chat())
        assert stream.events[0]["error"]["type"] == "Service Unavailable"
        assert stream.events[0]["error"]["code"] == 503
        assert emulator.post(CHAT, chat())[0] == 503
        assert emulator.metric("vllm:admission_rejections_total") == 2
