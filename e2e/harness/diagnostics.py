"""What a person would ask for when a test failed: events, pods, logs of pods and of components.

Collecting must never hide the failure itself: what cannot be read is named and left out. Sizes are
bounded, the newest kept; what most often tells the reason comes last, next to pytest's own summary.
"""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from e2e.harness.client import ClusterClient
from e2e.harness.cluster import LocalCluster

EVENTS = 40
LOG_LINES = 60
COMPONENT_LINES = 15
MAX_LOGGED_PODS = 12
READ_SECONDS = 20


def collect(cluster: ClusterClient, namespace: str | None) -> str:
    """The state of the cluster as text: one namespace and the operator, or everything."""
    return "\n\n".join(_sections(cluster, namespace))


def _sections(cluster: ClusterClient, namespace: str | None) -> Iterator[str]:
    if isinstance(cluster, LocalCluster):
        for log in sorted(cluster.logs.glob("*.log")):
            if lines := log.read_text(errors="replace").splitlines():
                yield "\n".join([f"--- {log.name}", *lines[-COMPONENT_LINES:]])
    scope = ["-n", namespace] if namespace else ["-A"]
    yield _read(cluster, "get", "reasoningservices", "-o", "yaml", *scope)
    yield _read(cluster, "get", "events", "--sort-by=.lastTimestamp", *scope, keep=EVENTS)
    yield _read(cluster, "get", "pods", "-o", "wide", "-A")
    pods = _pods(cluster)
    ours = [pod for pod in pods if namespace is None or pod["metadata"]["namespace"] == namespace]
    for pod in ours:
        if not _ready(pod):
            yield _read(cluster, "describe", "pod", *_name(pod), keep=EVENTS)
    operators = [pod for pod in pods if _is_operator(pod) and pod not in ours]
    for pod in [*operators, *ours[:MAX_LOGGED_PODS]]:
        yield _read(cluster, "logs", "--all-containers", f"--tail={LOG_LINES}", *_name(pod))
        if any(s.get("restartCount") for s in pod["status"].get("containerStatuses", [])):
            yield _read(cluster, "logs", "--previous", f"--tail={LOG_LINES}", *_name(pod))


def _read(cluster: ClusterClient, *arguments: str, keep: int = 0) -> str:
    title = f"--- kubectl {' '.join(arguments)}"
    try:
        done = cluster.kubectl(*arguments, check=False, timeout_seconds=READ_SECONDS)
    except subprocess.TimeoutExpired:
        return f"{title}\n(no answer within {READ_SECONDS} s)"
    lines = (done.stdout or done.stderr).splitlines()
    return "\n".join([title, *lines[-keep:]])


def _pods(cluster: ClusterClient) -> list[dict[str, Any]]:
    try:
        done = cluster.kubectl(
            "get", "pods", "-A", "-o", "json", check=False, timeout_seconds=READ_SECONDS
        )
    except subprocess.TimeoutExpired:
        return []
    return list(json.loads(done.stdout)["items"]) if done.returncode == 0 else []


def _name(pod: dict[str, Any]) -> list[str]:
    metadata = pod["metadata"]
    return ["-n", metadata["namespace"], metadata["name"]]


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _is_operator(pod: dict[str, Any]) -> bool:
    labels = pod["metadata"].get("labels", {})
    return bool(labels.get("app.kubernetes.io/name") == "thinkscale")
