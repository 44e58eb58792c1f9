"""The emulator as older vLLMs: what was renamed, and when."""

import json
from collections.abc import Callable

import pytest

from tests.unit.emulator.emulator_process import Emulator, chat, plan
from thinkscale.engines import DIALECTS

Shared = Callable[..., Emulator]


@pytest.mark.parametrize(
    ("version", "fields"),
    [
        ("0.9", {"reasoning_content"}),
        ("0.12", {"reasoning", "reasoning_content"}),
        ("0.32", {"reasoning"}),
    ],
)
def test_the_thoughts_field_is_the_releases(shared: Shared, version: str, fields: set[str]) -> None:
    emulator = shared("--reasoning-parser", "deepseek_r1", "--vllm-version", version)
    stream = emulator.stream("/v1/chat/completions", chat(**plan(4, 2)))
    spelled = {name for name in ("reasoning", "reasoning_content") if stream.text(name)}
    assert spelled == fields
    whole = emulator.post("/v1/chat/completions", chat(**plan(4, 2)))[1]
    message = whole["choices"][0]["message"]
    assert {name for name in ("reasoning", "reasoning_content") if message.get(name)} == fields


@pytest.mark.parametrize("version", ["0.9", "0.32"])
def test_old_and_new_names_of_metrics_are_read_alike(shared: Shared, version: str) -> None:
    emulator = shared("--reasoning-parser", "deepseek_r1", "--vllm-version", version)
    assert json.loads(emulator.get("/version")) == {"version": f"{version}.0"}
    page = emulator.get("/metrics")
    assert ("vllm:gpu_cache_usage_perc{" in page) == (version == "0.9")
    assert ("vllm:kv_cache_usage_perc{" in page) == (version == "0.32")
    assert ("vllm:time_per_output_token_seconds_count" in page) == (version == "0.9")
    load = DIALECTS["VLLM"].parse_load(page)
    assert load is not None
    assert (load.running, load.kv_capacity_tokens) == (0, 65_536)
