"""What a sample makes of the objects that Kubernetes shows."""

from typing import Any

from e2e.story.kubewatch import watch_events
from e2e.story.sampling import Sample, sample_of


def pod(name: str, service: str = "demo", component: str = "model", **changes: Any) -> Any:
    """A pod that runs on a node."""
    labels = {"thinkscale.dev/service": service, "app.kubernetes.io/component": component}
    made = {
        "metadata": {"name": name, "labels": labels},
        "spec": {"nodeName": "node1"},
        "status": {"phase": "Running"},
    }
    return {**made, **changes}


SERVICE = {
    "metadata": {"name": "demo"},
    "spec": {"engine": {"gpus": {"count": 2}}},
    "status": {
        "thinkingDepth": 12,
        "backlogSeconds": 4,
        "firstAnswerP95Milliseconds": 7250,
        "effectiveMaxTokens": 2048,
        "slos": [{"name": "first-answer", "attainedPercent": "98.2"}],
        "lastDecision": {
            "id": "7f3a",
            "from": 1,
            "to": 2,
            "reason": "ThinkingOccupancy",
            "message": "12 requests in flight",
        },
    },
}
DEPLOYMENT = {"spec": {"replicas": 2}, "status": {"readyReplicas": 1}}


def sample(pods: list[Any], service: Any = SERVICE, deployment: Any = DEPLOYMENT) -> Sample:
    """The sample of these objects."""
    return sample_of(3.0, service, deployment, {p["metadata"]["name"]: p for p in pods})


def test_a_draining_pod_still_holds_its_gpus_though_the_deployment_does_not_count_it() -> None:
    draining = pod("c")
    draining["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    seen = sample([pod("a"), pod("b"), draining])
    assert (seen.desired, seen.ready, seen.pods, seen.gpus) == (2, 1, 3, 6)


def test_pods_of_others_gateways_and_pods_without_a_node_hold_no_gpu() -> None:
    others = [
        pod("a", service="other"),
        pod("b", component="gateway"),
        pod("c", spec={}),
        pod("d", status={"phase": "Failed"}),
    ]
    assert sample(others).gpus == 0


def test_the_status_is_read_as_it_is_published() -> None:
    seen = sample([])
    assert (seen.depth, seen.backlog_seconds, seen.first_answer_p95_seconds) == (12, 4, 7.25)
    assert seen.attained_percent == {"first-answer": "98.2"}
    assert (seen.decision, seen.decision_id) == ("1 → 2 ThinkingOccupancy", "7f3a")


def test_before_anything_exists_nothing_is_made_up() -> None:
    seen = sample_of(0.0, {}, {}, {})
    assert (seen.desired, seen.ready, seen.gpus) == (0, 0, 0)
    assert (seen.depth, seen.backlog_seconds, seen.decision) == (None, None, "")


def test_documents_of_kubectl_are_taken_apart_one_a_line_or_indented() -> None:
    lines = ['{"type":"ADDED","object":{}}\n', "{\n", '  "type": "DELETED"\n', "}\n"]
    assert [event["type"] for event in watch_events(lines)] == ["ADDED", "DELETED"]
