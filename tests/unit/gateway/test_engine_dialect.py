"""What the gateway reads of an engine: its metrics in old and new names, and its endpoints."""

from typing import Any

import pytest

from thinkscale.engines.vllm_metrics import EngineLoad, parse_load
from thinkscale.engines.vllm_requests import VllmRequests
from thinkscale.gateway.kube_source import replicas_of
from thinkscale.gateway.routing import Replica

NEW = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 3.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"} 99.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
vllm:cache_config_info{block_size="16",engine="0",kv_cache_size_tokens="1024",x="7"} 1.0
"""
OLD = """vllm:num_requests_running{model_name="x"} 1
vllm:num_requests_waiting{model_name="x"} 0
vllm:gpu_cache_usage_perc{model_name="x"} 0.5
vllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1.0
"""


def test_old_and_new_metric_names_are_read() -> None:
    assert parse_load(NEW) == EngineLoad(
        running=3, waiting=2, kv_usage=0.25, kv_capacity_tokens=1024
    )
    assert parse_load(OLD) == EngineLoad(
        running=1, waiting=0, kv_usage=0.5, kv_capacity_tokens=1600
    )


def test_several_engines_behind_one_port_add_up() -> None:
    both = NEW + NEW.replace('engine="0"', 'engine="1"').replace("0.25", "0.75")
    assert parse_load(both) == EngineLoad(
        running=6, waiting=4, kv_usage=0.5, kv_capacity_tokens=2048
    )


def test_other_peoples_metrics_are_no_load() -> None:
    assert parse_load("process_cpu_seconds_total 1\n") is None


def test_a_continuation_keeps_sampling_and_extras_and_drops_the_template() -> None:
    body = {
        "model": "alias", "messages": [], "temperature": 0.3, "my_extra": {"a": 1}, "stop": ["x"],
        "stream": True, "max_completion_tokens": 99, "min_tokens": 40, "reasoning_effort": "low",
    }  # fmt: skip
    out = VllmRequests().continuation_body(
        body, model="m", prompt=[1, 2], max_tokens=7, generated=30
    )
    assert out == {
        "model": "m", "prompt": [1, 2], "max_tokens": 7, "min_tokens": 10, "temperature": 0.3,
        "my_extra": {"a": 1}, "stop": ["x"], "stream": True, "return_token_ids": True,
        "stream_options": {"include_usage": True}, "skip_special_tokens": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "limits"),
    [
        ({"messages": []}, {"max_tokens": 50}),
        ({"messages": [], "max_completion_tokens": 99}, {"max_completion_tokens": 50}),
        ({"messages": [], "max_tokens": 20}, {"max_tokens": 20}),
        ({"messages": [], "max_tokens": None}, {"max_tokens": 50}),
        ({"prompt": ["x", "y"]}, {}),  # has vLLM's default, 16
        ({"prompt": ["x", "y"], "max_tokens": 99}, {"max_tokens": 50}),
    ],
)
def test_the_most_tokens_lower_what_the_client_asks_and_never_raise_it(
    body: dict[str, Any], limits: dict[str, int]
) -> None:
    for write in (VllmRequests().first_body, VllmRequests().plain_body):
        out = write(body, model="m", native_budget=None, most_tokens=50)
        assert {name: value for name, value in out.items() if name.startswith("max_")} == limits


def test_only_a_refusal_of_the_budget_field_means_no_native_budgets() -> None:
    message = "thinking_token_budget is set but reasoning_config is not configured."
    assert VllmRequests().refuses_native_budget(400, message)
    assert not VllmRequests().refuses_native_budget(400, "temperature must be positive")
    assert not VllmRequests().refuses_native_budget(500, message)


def endpoint(name: str, address: str, **conditions: bool) -> dict[str, Any]:
    return {
        "addresses": [address],
        "conditions": conditions,
        "targetRef": {"kind": "Pod", "name": name},
    }


def test_endpoints_become_replicas_named_after_their_pods() -> None:
    slices = [
        {
            "addressType": "IPv4",
            "endpoints": [
                endpoint("p1", "10.0.0.1", ready=True),
                endpoint("p2", "10.0.0.2", ready=False),
                endpoint("p3", "10.0.0.3", ready=True, terminating=True),
                {"addresses": []},
            ],
        },
        {"addressType": "IPv6", "endpoints": [endpoint("p4", "fd00::1")]},
        {"addressType": "IPv4", "endpoints": [endpoint("p2", "10.0.0.2", ready=True)]},
        {"addressType": "IPv4", "endpoints": None},
    ]
    assert {r.name: r for r in replicas_of(slices)} == {
        "p1": Replica(name="p1", url="http://10.0.0.1:8000", ready=True),
        "p2": Replica(name="p2", url="http://10.0.0.2:8000", ready=True),
        "p3": Replica(name="p3", url="http://10.0.0.3:8000", ready=False),
        "p4": Replica(name="p4", url="http://[fd00::1]:8000", ready=True),
    }
