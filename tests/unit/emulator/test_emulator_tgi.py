"""The emulator as TGI: its routes, its rounds of 1,024 tokens, and what it refuses how."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from huggingface_hub import AsyncInferenceClient
from huggingface_hub.errors import ValidationError

from tests.unit.emulator.emulator_process import PLAN, Emulator, chat, is_up, plan, wait_for

Shared = Callable[..., Emulator]
TGI = ("--dialect", "tgi", "--a0-milliseconds", "0.5")


def tgi(shared: Shared, *flags: str) -> Emulator:
    return shared(*TGI, *flags)


def events(emulator: Emulator, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a stream, whose end mark is optional."""
    sent = emulator.open_stream(path, body)
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        data += sent.recv(65536)
    sent.close()
    lines = data.split(b"\r\n\r\n", 1)[1].decode().replace("\r\n", "\n").split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def test_every_token_is_one_event_and_tags_stay_in_the_text(shared: Shared) -> None:
    stream = tgi(shared).stream(
        "/v1/chat/completions",
        chat(stream_options={"include_usage": True}, **plan(5, 3)) | {"model": "tgi"},
    )
    assert stream.text("content").count("</think>") == 1
    assert len(stream.choices) == stream.usage["completion_tokens"] == 5 + 2 + 3 + 1
    assert stream.finish["finish_reason"] == "stop"
    assert all(event["id"] == "" for event in stream.events)


def test_a_completion_shows_the_end_token_and_its_usage_in_the_last_event(shared: Shared) -> None:
    stream = tgi(shared).stream("/v1/completions", {"prompt": "x <think>\n", **plan(3, 2)})
    assert [c["finish_reason"] for c in stream.choices][:-1] == [""] * 7
    assert stream.choices[-1]["finish_reason"] == "eos_token"
    assert stream.choices[-1]["text"] == "<|im_end|>"
    assert stream.usage["completion_tokens"] == 8


async def test_the_hub_clients_text_generation_works_streamed_and_whole(shared: Shared) -> None:
    client = AsyncInferenceClient(model=tgi(shared).url, provider="hf-inference")
    whole = await client.text_generation("say <think>\n", details=True, max_new_tokens=12)
    assert whole.details is not None
    assert whole.details.generated_tokens == 12
    assert whole.details.finish_reason == "length"
    tokens = [
        token
        async for token in await client.text_generation(
            "say <think>\n", stream=True, details=True, max_new_tokens=12
        )
    ]
    assert len(tokens) == 12
    assert tokens[-1].details is not None
    counted = tgi(shared).post("/tokenize", {"inputs": "say <think>\n"})[1]
    assert tokens[-1].details.input_length == len(counted)
    info = await client.get_endpoint_info()
    assert info["max_total_tokens"] == info["max_input_tokens"] + 1
    with pytest.raises(ValidationError, match="too large"):
        await client.text_generation("say", max_new_tokens=10_000_000)
    await client.close()


@pytest.mark.parametrize(
    ("asked", "comes"),
    [(1000, 1000), (1024, 1024), (1025, 2048), (None, 2500)],
)
def test_what_is_asked_above_a_round_is_overshot_to_the_next(
    shared: Shared, asked: int | None, comes: int
) -> None:
    body = chat(stream_options={"include_usage": True}, **plan(2500, 9)) | {"model": "tgi"}
    if asked is None:
        body[PLAN]["thinking_tokens"] = 2500 - 9 - 3
    else:
        body["max_tokens"] = asked
    stream = tgi(shared, "--a0-milliseconds", "0.05").stream("/v1/chat/completions", body)
    assert stream.usage["completion_tokens"] == comes


@pytest.mark.parametrize(
    ("flags", "comes"),
    [
        (("--max-total-tokens", "2600", "--max-input-tokens", "1030"), 1024),
        (("--max-total-tokens", "2600"), 2048),
    ],
)
def test_a_round_that_does_not_fit_ends_the_generation_without_a_word(
    shared: Shared, flags: tuple[str, ...], comes: int
) -> None:
    body = chat(max_tokens=2400, stream_options={"include_usage": True}, **plan(5000, 9))
    stream = tgi(shared, "--a0-milliseconds", "0.05", *flags).stream(
        "/v1/chat/completions", body | {"model": "tgi"}
    )
    assert stream.usage["completion_tokens"] == comes
    assert stream.finish["finish_reason"] == "length"


def test_a_stream_is_refused_inside_http_200_in_either_shape(shared: Shared) -> None:
    too_much = {"model": "tgi", "max_tokens": 10_000_000}
    (told,) = events(tgi(shared), "/v1/chat/completions", chat(**too_much))
    assert told["error"]["http_status_code"] == 422
    (told,) = events(tgi(shared), "/v1/completions", {"prompt": "x", **too_much})
    assert told["error_type"] == "validation"
    status, told = tgi(shared).post("/v1/completions", {"prompt": "x", **too_much})
    assert (status, told["error_type"]) == (422, "validation")


def test_whatever_is_beyond_its_limit_is_refused_at_once_and_counted(shared: Shared) -> None:
    emulator = tgi(shared, "--max-concurrent-requests", "1", "--a0-milliseconds", "20")
    held = emulator.open_stream("/v1/chat/completions", chat(model="tgi", **plan(500, 5)))
    assert b"200 OK" in held.recv(4096)
    (told,) = events(emulator, "/v1/chat/completions", chat(model="tgi"))
    assert told["error"]["message"] == "Model is overloaded"
    assert emulator.post("/v1/completions", {"prompt": "x"})[0] == 429
    held.close()
    wait_for(lambda: emulator.metric("tgi_batch_current_size") == 0)
    text = emulator.get("/metrics")
    assert 'tgi_request_failure{err="overloaded"} 2' in text
    assert 'tgi_request_failure{err="dropped"} 1' in text


def test_a_name_is_an_adapters_and_both_spellings_of_a_limit_are_one_too_many(
    shared: Shared,
) -> None:
    assert tgi(shared).post("/v1/chat/completions", chat())[0] == 422
    both = chat(max_tokens=5, max_completion_tokens=5) | {"model": "tgi"}
    assert "duplicate field" in tgi(shared).post("/v1/chat/completions", both)[1]["error"]


def test_its_metrics_have_no_label_of_the_model_and_move_at_the_end(shared: Shared) -> None:
    emulator = tgi(shared, "--a0-milliseconds", "5")
    sent = emulator.open_stream("/v1/chat/completions", chat(model="tgi", **plan(60, 5)))
    wait_for(lambda: emulator.metric("tgi_batch_current_size") == 1)
    assert emulator.metric("tgi_request_duration_count") == 0
    assert emulator.metric("tgi_batch_current_max_tokens") > 0
    while not sent.recv(65536).endswith(b"0\r\n\r\n"):
        pass
    sent.close()
    wait_for(lambda: emulator.metric("tgi_request_duration_count") == 1)
    assert emulator.metric("tgi_request_generated_tokens_sum") == 60 + 2 + 5 + 1
    assert "model_name" not in emulator.get("/metrics")


def test_it_closes_its_port_at_once_and_finishes_what_it_has(own: Shared) -> None:
    emulator = own(*TGI, "--a0-milliseconds", "10", "--graceful-termination-timeout", "30")
    wait_for(lambda: is_up(emulator))
    sent = emulator.open_stream("/v1/chat/completions", chat(model="tgi", **plan(60, 5)))
    assert b"200 OK" in sent.recv(4096)
    emulator.process.terminate()

    def refuses() -> bool:
        try:
            emulator.get("/health")
        except OSError:
            return True
        return False

    wait_for(refuses)
    data = b""
    while piece := sent.recv(65536):
        data += piece
    sent.close()
    assert data.rstrip().endswith(b"0")
    assert b"data: [DONE]" in data
    assert emulator.process.wait(10) == 0
