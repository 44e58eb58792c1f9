"""Each kind of engine as a model pod: valid objects, its own flags, probes and drain; and the
gateway is told which it is.
"""

from typing import Any

import kubernetes_validate
import pytest

from thinkscale.api.v1alpha1 import EngineType, ReasoningService
from thinkscale.resources.intent import gateway_config_of
from thinkscale.resources.model_pods import model_pod_template
from thinkscale.resources.workload import model_deployment, pin_of

KINDS = [kind.value for kind in EngineType]


def service(kind: str, **engine: Any) -> ReasoningService:
    return ReasoningService.model_validate(
        {
            "metadata": {"name": "r1", "namespace": "ns", "uid": "u1", "generation": 3},
            "spec": {
                "model": {"uri": "hf://acme/r1", "cache": {"claimName": "cache"}},
                "engine": {
                    "type": kind,
                    "image": "engine:1",
                    "contextTokens": 4096,
                    "drainSeconds": 600,
                    "gpus": {"count": 2},
                    **engine,
                },
                "scaling": {"maxReplicas": 4},
            },
        }
    )


def container(kind: str, **engine: Any) -> dict[str, Any]:
    made = model_pod_template(service(kind, **engine))["spec"]["containers"][0]
    assert isinstance(made, dict)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_the_deployment_of_every_kind_is_valid_strictly(kind: str) -> None:
    made = service(kind)
    kubernetes_validate.validate(model_deployment(made, pin_of(made, {}), 2), "1.36", strict=True)
    assert gateway_config_of(made).engine == kind


@pytest.mark.parametrize(
    ("kind", "command", "flags"),
    [
        ("VLLM", None, {"acme/r1", "--max-model-len=4096", "--shutdown-timeout=600"}),
        (
            "TGI",
            None,
            {"--model-id=acme/r1", "--max-total-tokens=4096", "--graceful-termination-timeout=600"},
        ),
        (
            "SGLang",
            ["python3", "-m", "sglang.launch_server"],
            {"--model-path=acme/r1", "--context-length=4096", "--enable-metrics"},
        ),
    ],
)
def test_each_is_started_in_its_own_words(
    kind: str, command: list[str] | None, flags: set[str]
) -> None:
    made = container(kind)
    assert made.get("command") == command
    assert flags <= set(made["args"])
    assert container(kind, command=["serve"])["command"] == ["serve"]


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("VLLM", "vllm:num_requests_running"),
        ("TGI", "tgi_batch_current_size"),
        ("SGLang", "sglang:num_running_reqs"),
    ],
)
def test_each_is_asked_and_emptied_by_what_it_tells(kind: str, count: str) -> None:
    made = container(kind)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert made[probe]["httpGet"] == {"path": "/health", "port": 8000}
    drain = made["lifecycle"]["preStop"]["exec"]["command"]
    assert count in drain[3]
    assert drain[4] == "http://127.0.0.1:8000/metrics"
    assert drain[5] == "600"


def test_compiled_code_is_kept_where_each_engine_puts_it() -> None:
    def names(kind: str) -> set[str]:
        return {variable["name"] for variable in container(kind)["env"]}

    assert names("VLLM") == {"HF_HOME", "VLLM_CACHE_ROOT"}
    assert names("TGI") == {"HF_HOME"}
    assert names("SGLang") == {"HF_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"}
