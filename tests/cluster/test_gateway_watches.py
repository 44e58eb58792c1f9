"""The gateway's view of a real cluster: the runtime ConfigMap by name, and the EndpointSlices of
the model servers, as they change.
"""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.harness import ClusterClient, eventually
from tests.cluster.operator_kit import free_port, kubeconfig_of

CONFIG = {"service": "ns/r1", "model": "r1", "seatsPerReplica": 8}


def runtime(config: dict[str, Any], directive: str) -> dict[str, Any]:
    order = {"id": directive, "issuedAt": "2026-01-01T00:00:00Z", "cordoned": ["pod-b"]}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "r1-runtime"},
        "data": {"config.json": json.dumps(config), "directive.json": json.dumps(order)},
    }


def endpoint(name: str, address: str, *, ready: bool, terminating: bool = False) -> dict[str, Any]:
    return {
        "addresses": [address],
        "conditions": {"ready": ready, "serving": ready, "terminating": terminating},
        "targetRef": {"kind": "Pod", "name": name},
    }


def endpoint_slice(service: str, *endpoints: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-1", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"port": 8000, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


class Gateway:
    """The gateway as its own process, in no pod."""

    def __init__(self, cluster: ClusterClient, namespace: str) -> None:
        self.admin = free_port()
        command = [sys.executable, "-m", "thinkscale", "gateway", "--service", "r1"]
        command += ["--namespace", namespace, "--host", "127.0.0.1", "--drain-delay-seconds", "0"]
        self.process = subprocess.Popen(
            [*command, "--port", str(free_port()), "--admin-port", str(self.admin)],
            env={**os.environ, "KUBECONFIG": str(kubeconfig_of(cluster))},
        )

    def page(self, path: str) -> str:
        """A page of the admin port; raises for anything but a 200."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def ready(self) -> dict[str, bool]:
        """Replicas and whether they are ready, as the gateway sees them."""
        signals = json.loads(self.page("/signals"))
        return {name: replica["ready"] for name, replica in signals["replicas"].items()}

    def memory_megabytes(self) -> float:
        """Peak of the resident set."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@pytest.fixture
def gateway(control_plane: ClusterClient, namespace: str) -> Iterator[Gateway]:
    running = Gateway(control_plane, namespace)
    yield running
    running.process.kill()
    running.process.wait()


def test_a_gateway_follows_its_configmap_and_its_endpoints_and_nobody_elses(
    control_plane: ClusterClient, namespace: str, gateway: Gateway
) -> None:
    eventually(lambda: gateway.page("/healthz"), 20, "the gateway is up")
    with pytest.raises(urllib.error.HTTPError, match="503"):
        gateway.page("/readyz")
    control_plane.apply(runtime(CONFIG, "one"), "-n", namespace)
    eventually(lambda: gateway.page("/readyz"), 10, "the configuration has arrived")
    assert json.loads(gateway.page("/signals"))["directiveId"] == "one"

    ours = [
        endpoint("pod-a", "10.9.0.1", ready=True),
        endpoint("pod-b", "10.9.0.2", ready=True),
        endpoint("pod-c", "10.9.0.3", ready=False),
    ]
    other = endpoint_slice("other-model", endpoint("pod-x", "10.9.0.9", ready=True))
    control_plane.apply(other, "-n", namespace)
    control_plane.apply(endpoint_slice("r1-model", *ours), "-n", namespace)
    expected = {"pod-a": True, "pod-b": True, "pod-c": False}
    eventually(lambda: gateway.ready() == expected, 10, "the replicas are known")
    assert json.loads(gateway.page("/signals"))["replicas"]["pod-b"]["cordoned"]

    ours[0] = endpoint("pod-a", "10.9.0.1", ready=True, terminating=True)
    control_plane.apply(endpoint_slice("r1-model", *ours), "-n", namespace)
    expected["pod-a"] = False
    eventually(lambda: gateway.ready() == expected, 10, "a terminating replica is not ready")

    control_plane.apply(runtime({**CONFIG, "maxTokens": 123}, "two"), "-n", namespace)
    eventually(
        lambda: json.loads(gateway.page("/signals"))["budget"]["effectiveMaxTokens"] == 123,
        10,
        "a changed budget takes effect",
    )
    control_plane.kubectl("delete", "endpointslice", "r1-model-1", "-n", namespace)
    eventually(lambda: gateway.ready() == {}, 10, "the replicas are gone")
    control_plane.kubectl("delete", "configmap", "r1-runtime", "-n", namespace)
    assert gateway.page("/readyz") == "ok\n"
    assert gateway.memory_megabytes() < 90
