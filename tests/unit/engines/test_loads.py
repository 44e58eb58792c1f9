"""What TGI and SGLang say of themselves, read from their pages."""

from thinkscale.engines import DIALECTS
from thinkscale.engines.load import EngineLoad

TGI = """\
# TYPE tgi_queue_size gauge
tgi_queue_size 3
tgi_batch_current_size 12
tgi_batch_current_max_tokens 30000
tgi_batch_max_total_tokens 120000
tgi_batch_inference_count{method="prefill"} 40
tgi_batch_inference_count{method="decode"} 1000
tgi_request_duration_count 7
"""
SGLANG = """\
sglang:num_running_reqs{engine_type="unified",model_name="m",pp_rank="0",tp_rank="0"} 5.0
sglang:num_running_reqs{engine_type="unified",model_name="m",pp_rank="0",tp_rank="1"} 5.0
sglang:num_running_reqs_offline_batch{model_name="m",tp_rank="0"} 9.0
sglang:num_queue_reqs{model_name="m",tp_rank="0"} 2.0
sglang:token_usage{model_name="m",tp_rank="0"} 0.25
sglang:max_total_num_tokens{model_name="m",tp_rank="0"} 100000.0
sglang:realtime_tokens_total{mode="decode",model_name="m",tp_rank="0"} 777.0
sglang:realtime_tokens_total{mode="prefill_cache",model_name="m",tp_rank="0"} 50.0
sglang:realtime_tokens_total{mode="prefill_compute",model_name="m",tp_rank="0"} 300.0
sglang:generation_tokens_total{model_name="m"} 1.0
"""


def test_tgis_reserved_tokens_stand_for_its_kv_cache() -> None:
    assert DIALECTS["TGI"].parse_load(TGI) == EngineLoad(
        running=12, waiting=3, kv_usage=0.25, kv_capacity_tokens=120_000, steps=1000
    )


def test_a_tgi_that_has_never_had_a_batch_is_idle() -> None:
    assert DIALECTS["TGI"].parse_load("tgi_batch_max_total_tokens 1000\n") == EngineLoad(
        running=0, waiting=0, kv_usage=0.0, kv_capacity_tokens=1000
    )


def test_one_rank_speaks_for_sglang_and_live_tokens_are_not_those_of_the_ended() -> None:
    assert DIALECTS["SGLang"].parse_load(SGLANG) == EngineLoad(
        running=5,
        waiting=2,
        kv_usage=0.25,
        kv_capacity_tokens=100_000,
        prefix_block_tokens=1,
        prompt_tokens=300,
        generated_tokens=777,
    )


def test_data_parallel_groups_of_sglang_add_up() -> None:
    page = "".join(
        f'sglang:num_running_reqs{{dp_rank="{group}",tp_rank="{rank}"}} {running}\n'
        f'sglang:token_usage{{dp_rank="{group}",tp_rank="{rank}"}} {usage}\n'
        for group, rank, running, usage in (
            (0, 0, 1, 0.1), (0, 1, 1, 0.1), (1, 2, 4, 0.3), (1, 3, 4, 0.3),
        )
    )  # fmt: skip
    load = DIALECTS["SGLang"].parse_load(page)
    assert load is not None
    assert (load.running, round(load.kv_usage, 6)) == (5, 0.2)


def test_an_engine_does_not_read_anothers_page() -> None:
    assert DIALECTS["TGI"].parse_load(SGLANG) is None
    assert DIALECTS["SGLang"].parse_load(TGI) is None
    assert DIALECTS["VLLM"].parse_load(TGI + SGLANG) is None
