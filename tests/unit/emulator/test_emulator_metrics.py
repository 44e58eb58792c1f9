"""What /metrics says, and when each number moves."""

from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.unit.emulator.emulator_process import Emulator, chat, plan, wait_for
from thinkscale.emulator.lag import ENOUGH_STEPS, Lag

Shared = Callable[..., Emulator]
CHAT, RAW = "/v1/chat/completions", "/v1/completions"
QUEUE = ("--max-num-seqs", "3", "--kv-tokens", "600", "--max-model-len", "500")


def test_the_exposition_is_valid_and_has_the_engines_names(own: Callable[..., Emulator]) -> None:
    emulator = own("--served-model-name", "m")
    wait_for(lambda: _up(emulator))
    emulator.post(CHAT, chat(**plan(20, 5)))
    families = {f.name: f for f in text_string_to_metric_families(emulator.get("/metrics"))}
    for name, kind in {
        "num_requests_running": "gauge",
        "num_requests_waiting": "gauge",
        "num_requests_waiting_by_reason": "gauge",
        "kv_cache_usage_perc": "gauge",
        "cache_config_info": "gauge",
        "prompt_tokens": "counter",
        "generation_tokens": "counter",
        "num_preemptions": "counter",
        "prefix_cache_hits": "counter",
        "request_success": "counter",
        "time_to_first_token_seconds": "histogram",
        "inter_token_latency_seconds": "histogram",
        "e2e_request_latency_seconds": "histogram",
        "request_queue_time_seconds": "histogram",
        "iteration_tokens_total": "histogram",
    }.items():
        assert families[f"vllm:{name}"].type == kind
    labels = families["vllm:num_requests_running"].samples[0].labels
    assert labels == {"engine": "0", "model_name": "m"}
    assert emulator.metric("vllm:generation_tokens_total") == 28
    assert emulator.metric("vllm:inter_token_latency_seconds_count") == 27
    assert emulator.metric("vllm:time_to_first_token_seconds_count") == 1
    assert emulator.metric("vllm:e2e_request_latency_seconds_count") == 1
    assert emulator.metric("vllm:request_generation_tokens_sum") == 28


def _up(emulator: Emulator) -> bool:
    try:
        emulator.get("/health")
    except OSError:
        return False
    return True


def test_a_client_that_hangs_up_is_aborted_at_once_and_leaves_no_trace(shared: Shared) -> None:
    emulator = shared()
    before = emulator.metric("vllm:request_success_total")
    tokens = emulator.metric("vllm:generation_tokens_total")
    opened = emulator.open_stream(CHAT, chat(**plan(5_000, 1)))
    wait_for(lambda: emulator.metric("vllm:generation_tokens_total") > tokens)
    assert emulator.metric("vllm:num_requests_running") == 1
    opened.close()
    wait_for(lambda: emulator.metric("vllm:num_requests_running") == 0, within_seconds=0.5)
    assert emulator.metric("vllm:kv_cache_usage_perc") == 0
    assert emulator.metric("vllm:request_success_total") == before


def test_what_a_calibration_needs_is_told_while_a_request_runs(shared: Shared) -> None:
    """Steps, prompt tokens once their prefill is done, tokens generated: live, not at the end."""
    emulator = shared()
    names = (
        "iteration_tokens_total_count", "iteration_tokens_total_sum", "generation_tokens_total",
        "prompt_tokens_total", "prompt_tokens_cached_total",
    )  # fmt: skip

    def told() -> list[float]:
        families = text_string_to_metric_families(emulator.get("/metrics"))
        values = {s.name: s.value for family in families for s in family.samples}
        return [values[f"vllm:{name}"] for name in names]

    before = told()
    opened = emulator.open_stream(CHAT, chat(**plan(5_000, 1)))
    wait_for(lambda: told()[2] - before[2] >= 50)
    grown = [now - then for now, then in zip(told(), before, strict=True)]
    opened.close()
    steps, worked, generated, prompt, cached = grown
    assert generated == steps >= 50
    assert prompt > cached
    assert worked == prompt - cached + generated - 1, "the prefill gave the first token"


def test_a_continuation_finds_its_prefix_in_the_cache(shared: Shared) -> None:
    emulator = shared()
    counted: dict[str, Any] = {"return_token_ids": True, "max_tokens": 300, **plan(299, 1)}
    _, first = emulator.post(RAW, {"prompt": "a cached one <think>\n", **counted})
    hits = emulator.metric("vllm:prefix_cache_hits_total")
    choice = first["choices"][0]
    prompt = choice["prompt_token_ids"] + choice["token_ids"]
    emulator.post(RAW, {"prompt": prompt, "max_tokens": 1})
    assert emulator.metric("vllm:prefix_cache_hits_total") - hits == len(prompt) // 16 * 16


def test_a_full_cache_shows_as_preemptions_and_everybody_still_finishes(shared: Shared) -> None:
    emulator = shared(*QUEUE, "--max-num-batched-tokens", "512")
    prompts = [f"{word} <think>\n" for word in ("one", "two", "three")]
    body = {"prompt": prompts, "max_tokens": 250, "ignore_eos": True, **plan(2_000, 1)}
    status, reply = emulator.post(RAW, body)
    assert status == 200
    assert reply["usage"]["completion_tokens"] == 3 * 250
    assert emulator.metric("vllm:num_preemptions_total") >= 1


def test_a_run_is_void_only_when_steps_end_late() -> None:
    lag = Lag()
    for _ in range(ENOUGH_STEPS * 2):
        lag.add(0.001, 0.030)
    assert not lag.void
    assert lag.p99_seconds < 0.0013
    for _ in range(3):
        lag.add(0.007, 0.030)
    assert lag.void
    assert lag.p99_seconds >= 0.007


def test_an_early_timer_is_in_time_and_few_steps_say_nothing() -> None:
    lag = Lag()
    assert lag.p99_seconds == 0
    lag.add(-0.0005, 0.03)
    assert lag.p99_seconds <= 0.0001
    lag.add(1.0, 0.03)
    assert not lag.void
