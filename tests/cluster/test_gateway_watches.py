"""The gateway's view of a real cluster: the runtime ConfigMap by name, and the EndpointSlices of
the model servers, as they change.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from e2e.harness import ClusterClient, eventually
from e2e.harness.netns import node_ip
from tests.cluster.operator_kit import free_port, kubeconfig_of

CONFIG = {"service": "ns/r1", "model": "r1", "seatsPerReplica": 8}


def runtime(config: dict[str, Any], directive: str) -> dict[str, Any]:
    order = {"id": directive, "cordoned": ["pod-b"]}
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

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.port, self.admin = free_port(), free_port()
        command = [sys.executable, "-m", "thinkscale", "gateway", "--service", "r1"]
        command += ["--namespace", namespace, "--host", "127.0.0.1", "--drain-delay-seconds", "0"]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), "--admin-port", str(self.admin)],
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        )

    def page(self, path: str) -> str:
        """A page of the admin port; raises for anything but a 200."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def ready(self) -> dict[str, bool]:
        """Replicas and whether they are ready, as the gateway sees them."""
        signals = json.loads(self.page("/signals"))
        return {name: replica["ready"] for name, replica in signals["replicas"].items()}

    def ask(self) -> dict[str, Any]:
        """The answer to a small request."""
        body = {"model": "r1", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/chat/completions", json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(json.loads(answer.read()))

    def stop(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def memory_megabytes(self) -> float:
        """Peak of the resident set."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@pytest.fixture
def gateway(control_plane: ClusterClient, namespace: str) -> Iterator[Gateway]:
    running = Gateway(kubeconfig_of(control_plane), namespace)
    yield running
    running.stop()


def test_a_gateway_follows_its_configmap_and_its_endpoints_and_nobody_elses(
    control_plane: ClusterClient, namespace: str, gateway: Gateway
) -> None:
    eventually(lambda: gateway.page("/healthz"), 20, "the gateway is up")
    with pytest.raises(urllib.error.HTTPError, match="503"):
        gateway.page("/readyz")
    control_plane.apply(runtime(CONFIG, "one"), "-n", namespace)
    eventually(lambda: gateway.page("/readyz"), 10, "the configuration has arrived")
    assert 'id="one"' in gateway.page("/metrics")

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


class Line:
    """The line to the API server, which can be cut and mended."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.open: list[socket.socket] = []
        self.whole = True
        self.listener = socket.create_server((host, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if not self.whole:
                near.close()
                continue
            far = socket.create_connection(self.target)
            self.open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        self.whole = False
        for end in self.open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let new connections through again."""
        self.whole = True

    def close(self) -> None:
        """Put everything away."""
        self.listener.close()
        self.cut()
        for end in self.open:
            end.close()


@pytest.fixture
def line(control_plane: ClusterClient) -> Iterator[Line]:
    config = yaml.safe_load(kubeconfig_of(control_plane).read_text())
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    assert server.hostname
    made = Line(server.hostname, server.port or 443)
    yield made
    made.close()


@pytest.fixture
def engine() -> Iterator[str]:
    """An emulated engine on the address of a node, where an EndpointSlice may point."""
    address = node_ip(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "thinkscale", "emulator", "r1", "--host", address, "--port", "8000",
         "--startup-seconds", "0", "--a0-milliseconds", "1", "--reasoning-parser", "deepseek_r1"]
    )  # fmt: skip
    yield address
    process.kill()
    process.wait()


def test_a_gateway_that_loses_the_api_serves_with_what_it_knows_and_catches_up_later(
    control_plane: ClusterClient, namespace: str, line: Line, engine: str, tmp_path: Path
) -> None:
    config = yaml.safe_load(kubeconfig_of(control_plane).read_text())
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    config["clusters"][0]["cluster"]["server"] = f"https://{server.hostname}:{line.port}"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    control_plane.apply(runtime(CONFIG, "one"), "-n", namespace)
    there = endpoint_slice("r1-model", endpoint("pod-a", engine, ready=True))
    control_plane.apply(there, "-n", namespace)
    gateway = Gateway(kubeconfig, namespace)
    try:
        eventually(lambda: gateway.ready() == {"pod-a": True}, 20, "the replica is known")
        # The configuration comes by a watch of its own; until then the gateway says 503.
        eventually(lambda: bool(gateway.page("/readyz")), 20, "the configuration is known")
        assert gateway.ask()["usage"]["completion_tokens"] == 5
        line.cut()
        control_plane.apply(runtime(CONFIG, "two"), "-n", namespace)
        for _ in range(5):
            assert gateway.ask()["usage"]["completion_tokens"] == 5
        signals = json.loads(gateway.page("/signals"))
        assert 'id="one"' in gateway.page("/metrics")
        assert signals["counters"]["failed"] == 0
        line.mend()
        eventually(
            lambda: 'id="two"' in gateway.page("/metrics"),
            30,
            "the gateway has caught up",
        )
    finally:
        gateway.stop()
