"""Whatever an engine's `/metrics` says, it is read without a failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.engines.vllm_metrics import EngineLoad, parse_load

values = st.one_of(st.floats().map(str), st.sampled_from(["NaN", "+Inf", "-Inf", "1e400", "x"]))


@pytest.mark.parametrize("odd", ["NaN", "+Inf", "1e400", "1e300", "-1", "nonsense"])
def test_a_value_that_no_engine_can_mean_is_skipped(odd: str) -> None:
    text = f"vllm:num_requests_running 3\nvllm:num_requests_waiting {odd}\n"
    assert parse_load(text) == EngineLoad(running=3, waiting=0, kv_usage=0.0)
    assert parse_load(f"vllm:num_requests_running {odd}\n") is None


def test_a_capacity_that_only_looks_like_a_number_is_unknown() -> None:
    text = 'vllm:num_requests_running 1\nvllm:cache_config_info{kv_cache_size_tokens="²"} 1\n'
    assert parse_load(text) == EngineLoad(running=1, waiting=0, kv_usage=0.0)


def test_steps_and_tokens_are_told_and_a_cached_prompt_was_not_computed() -> None:
    """Lines as the real engine (0.32) writes them."""
    labels = '{engine="0",model_name="tiny"}'
    text = "\n".join(
        (
            f"vllm:num_requests_running{labels} 2.0",
            f"vllm:num_requests_waiting{labels} 0.0",
            f"vllm:kv_cache_usage_perc{labels} 0.25",
            f"vllm:prompt_tokens_total{labels} 321.0",
            'vllm:prompt_tokens_by_source_total{engine="0",source="local_compute"} 65.0',
            f"vllm:prompt_tokens_cached_total{labels} 256.0",
            f"vllm:prompt_tokens_created{labels} 1.7e+09",
            f"vllm:generation_tokens_total{labels} 1200.0",
            'vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="tiny"} 5.0',
            f"vllm:iteration_tokens_total_count{labels} 640.0",
            f"vllm:iteration_tokens_total_sum{labels} 1265.0",
            'vllm:cache_config_info{block_size="128",enable_prefix_caching="True",engine="0",'
            'kv_cache_size_tokens="98304"} 1.0',
        )
    )
    assert parse_load(text) == EngineLoad(
        running=2, waiting=0, kv_usage=0.25, kv_capacity_tokens=98_304, prefix_block_tokens=128,
        steps=640, prompt_tokens=65, generated_tokens=1200,
    )  # fmt: skip


def test_without_a_prefix_cache_no_block_is_told() -> None:
    cache = 'vllm:cache_config_info{block_size="16",enable_prefix_caching="False"} 1\n'
    load = parse_load("vllm:num_requests_running 1\n" + cache)
    assert load == EngineLoad(running=1, waiting=0, kv_usage=0.0)


@given(running=st.lists(values, max_size=3), usage=st.lists(values, max_size=3))
def test_no_text_fails_and_the_usage_is_a_share(running: list[str], usage: list[str]) -> None:
    lines = [f"vllm:num_requests_running {value}" for value in running]
    lines += [f"vllm:kv_cache_usage_perc {value}" for value in usage]
    load = parse_load("\n".join(lines))
    assert load is None or (load.running >= 0 and 0 <= load.kv_usage <= 1)
