"""What the API server makes of the CRD: defaults, columns, scale, status, conditions, explain."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from e2e.harness import ClusterClient, CommandError, eventually
from tests.cluster.crd_inputs import changed, install_crd
from thinkscale.api.v1alpha1 import ReasoningService

EXAMPLES = Path(__file__).parents[2] / "examples"
NOW = "2026-11-25T12:00:00Z"
Kubectl = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module", autouse=True)
def _crd(control_plane: ClusterClient) -> None:
    install_crd(control_plane)


def condition(type_: str, status: str) -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": "Test", "lastTransitionTime": NOW}


def apply_status(
    cluster: ClusterClient, namespace: str, manager: str, status: dict[str, Any]
) -> None:
    service = changed({})
    del service["spec"]
    cluster.apply(
        service | {"status": status},
        "-n",
        namespace,
        "--server-side",
        "--subresource=status",
        f"--field-manager={manager}",
    )


def test_defaults_show_in_what_is_stored(control_plane: ClusterClient, namespace: str) -> None:
    control_plane.apply(changed({}), "-n", namespace)
    spec = control_plane.get("rsvc", "r1", "-n", namespace)["spec"]
    assert spec == {
        "model": {"uri": "hf://deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"},
        "engine": {
            "type": "VLLM",
            "image": "vllm/vllm-openai:v0.33.0",
            "contextTokens": 32768,
            "maxConcurrentRequests": 128,
            "gpus": {"count": 1, "resourceName": "nvidia.com/gpu"},
            "startupSeconds": 1800,
            "drainSeconds": 1200,
        },
        "thinking": {"nativeBudgetCheck": "InUse"},
        "scaling": {
            "mode": "Auto",
            "minReplicas": 1,
            "maxReplicas": 4,
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0},
                "scaleDown": {"stabilizationWindowSeconds": 300},
            },
        },
        "gateway": {
            "minReplicas": 1,
            "queue": {"maxRequests": 1000},
            "service": {"type": "ClusterIP"},
        },
    }


def test_defaults_of_list_items_show_too(control_plane: ClusterClient, namespace: str) -> None:
    slo = {
        "name": "a",
        "indicator": "EndToEnd",
        "thresholdMilliseconds": 1000,
        "objectivePercent": "99",
    }
    budget = {"maxTokens": 4096}
    control_plane.apply(
        changed({"spec.slos": [slo], "spec.thinking.budget": budget}), "-n", namespace
    )
    spec = control_plane.get("rsvc", "r1", "-n", namespace)["spec"]
    assert spec["slos"] == [slo | {"windowSeconds": 3600}]
    assert spec["thinking"]["budget"] == budget | {
        "minTokens": 0,
        "truncationAllowancePercent": "1",
        "onExhausted": "Answer",
    }


def test_models_read_what_is_stored(control_plane: ClusterClient, namespace: str) -> None:
    control_plane.apply(changed({"spec.engine.resources.requests": {"cpu": 8}}), "-n", namespace)
    service = ReasoningService.model_validate(control_plane.get("rsvc", "r1", "-n", namespace))
    assert service.metadata.namespace == namespace
    assert service.metadata.generation == 1
    assert (
        service.spec
        == ReasoningService.model_validate(
            changed({"spec.engine.resources.requests": {"cpu": 8}, "metadata.namespace": namespace})
        ).spec
    )


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_are_accepted(example: Path, control_plane: ClusterClient, namespace: str) -> None:
    control_plane.kubectl("apply", "--dry-run=server", "-n", namespace, "-f", str(example))


def test_columns_say_what_matters(control_plane: ClusterClient, namespace: str) -> None:
    control_plane.apply(changed({}), "-n", namespace)
    status = {
        "replicas": 5,
        "readyReplicas": 4,
        "desiredReplicas": 6,
        "gpus": 10,
        "thinkingDepth": 310,
        "backlogSeconds": 62,
        "conditions": [condition("Ready", "True"), condition("SLOsMet", "False")],
        "lastDecision": {
            "id": "7f3a",
            "from": 5,
            "to": 6,
            "reason": "ThinkingBacklog",
            "limitedBy": "None",
            "message": "because",
            "time": NOW,
        },
    }
    apply_status(control_plane, namespace, "operator", status)
    listing = control_plane.kubectl("get", "rsvc", "-n", namespace, "-o", "wide").stdout
    header, row = (line.split() for line in listing.splitlines())
    assert header == (
        "NAME READY REPLICAS DESIRED GPUS DEPTH BACKLOG SLOS REASON AGE".split()  # noqa: SIM905
    )
    assert row[:-1] == ["r1", "True", "4", "6", "10", "310", "62", "False", "ThinkingBacklog"]
    narrow = control_plane.kubectl("get", "rsvc", "-n", namespace).stdout
    assert "REASON" not in narrow


def test_kubectl_scale_sets_the_replicas_in_manual(
    control_plane: ClusterClient, namespace: str
) -> None:
    manual = changed({"spec.replicas": 1, "spec.scaling.mode": "Manual"})
    control_plane.apply(manual, "-n", namespace)
    control_plane.kubectl("scale", "rsvc/r1", "--replicas=3", "-n", namespace)
    assert control_plane.get("rsvc", "r1", "-n", namespace)["spec"]["replicas"] == 3
    with pytest.raises(CommandError, match=r"must be at most scaling\.maxReplicas"):
        control_plane.kubectl("scale", "rsvc/r1", "--replicas=5", "-n", namespace)


def test_the_scale_subresource_tells_replicas_and_selector(
    control_plane: ClusterClient, namespace: str
) -> None:
    manual = changed({"spec.replicas": 2, "spec.scaling.mode": "Manual"})
    control_plane.apply(manual, "-n", namespace)
    selector = "thinkscale.dev/service=r1"
    apply_status(control_plane, namespace, "operator", {"replicas": 1, "selector": selector})
    path = f"/apis/thinkscale.dev/v1alpha1/namespaces/{namespace}/reasoningservices/r1/scale"
    scale = json.loads(control_plane.kubectl("get", "--raw", path).stdout)
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 1, "selector": selector}


def test_kubectl_scale_is_refused_in_auto(control_plane: ClusterClient, namespace: str) -> None:
    control_plane.apply(changed({}), "-n", namespace)
    with pytest.raises(CommandError, match=r"must be absent while scaling\.mode is Auto"):
        control_plane.kubectl("scale", "rsvc/r1", "--replicas=3", "-n", namespace)


def test_status_changes_only_through_its_subresource(
    control_plane: ClusterClient, namespace: str
) -> None:
    control_plane.apply(changed({"status.replicas": 7}), "-n", namespace)
    assert "status" not in control_plane.get("rsvc", "r1", "-n", namespace)
    apply_status(control_plane, namespace, "operator", {"replicas": 7})
    stored = control_plane.get("rsvc", "r1", "-n", namespace)
    assert stored["status"]["replicas"] == 7
    assert stored["metadata"]["generation"] == 1
    patch = json.dumps({"spec": {"scaling": {"maxReplicas": 9}}, "status": {"replicas": 8}})
    control_plane.kubectl("patch", "rsvc", "r1", "-n", namespace, "--type=merge", "-p", patch)
    stored = control_plane.get("rsvc", "r1", "-n", namespace)
    assert (stored["status"]["replicas"], stored["spec"]["scaling"]["maxReplicas"]) == (7, 9)
    assert stored["metadata"]["generation"] == 2


def test_two_managers_keep_their_own_conditions(
    control_plane: ClusterClient, namespace: str
) -> None:
    control_plane.apply(changed({}), "-n", namespace)
    apply_status(control_plane, namespace, "one", {"conditions": [condition("Ready", "False")]})
    apply_status(control_plane, namespace, "two", {"conditions": [condition("Audited", "True")]})
    apply_status(control_plane, namespace, "one", {"conditions": [condition("Ready", "True")]})
    conditions = control_plane.get("rsvc", "r1", "-n", namespace)["status"]["conditions"]
    assert {c["type"]: c["status"] for c in conditions} == {"Ready": "True", "Audited": "True"}


def test_waiting_for_a_condition_works(control_plane: ClusterClient, namespace: str) -> None:
    control_plane.apply(changed({}), "-n", namespace)
    apply_status(control_plane, namespace, "one", {"conditions": [condition("Ready", "True")]})
    control_plane.kubectl("wait", "rsvc/r1", "--for=condition=Ready", "-n", namespace)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("rsvc", "A reasoning model served on GPUs"),
        ("rsvc.spec.thinking.budget.floorTokens", "brown-out is opt-in"),
        ("rsvc.spec.slos.perTokenMilliseconds", "thinking tokens for TimeToFirstAnswer"),
        ("rsvc.spec.scaling.mode", "the operator sets the replicas"),
        ("rsvc.spec.engine.podTemplate.spec.volumes.emptyDir.medium", "a tmpfs"),
    ],
)
def test_explain_tells_what_a_field_does(field: str, words: str, kubectl: Kubectl) -> None:
    def explained() -> bool:
        done = kubectl("explain", field, check=False)
        return words in " ".join(done.stdout.split())

    eventually(explained, 20, f"kubectl explain {field} to say {words!r}")


def test_categories_and_short_name_find_it(control_plane: ClusterClient, namespace: str) -> None:
    control_plane.apply(changed({}), "-n", namespace)
    for name in ("reasoningservices", "reasoningservice", "rsvc", "serving", "thinkscale"):
        listed = control_plane.kubectl("get", name, "-n", namespace, "-o", "name").stdout
        assert listed == "reasoningservice.thinkscale.dev/r1\n"
