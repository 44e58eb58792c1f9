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


@given(running=st.lists(values, max_size=3), usage=st.lists(values, max_size=3))
def test_no_text_fails_and_the_usage_is_a_share(running: list[str], usage: list[str]) -> None:
    lines = [f"vllm:num_requests_running {value}" for value in running]
    lines += [f"vllm:kv_cache_usage_perc {value}" for value in usage]
    load = parse_load("\n".join(lines))
    assert load is None or (load.running >= 0 and 0 <= load.kv_usage <= 1)
