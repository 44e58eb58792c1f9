"""What the operator's tests need around a real API server: the operator as a process, pods whose
status the test writes (there are no nodes), and gateways that say what the test wants.

A stand-in gateway is a real HTTP server that answers `/signals` as the contract says, long poll
included; the real gateway is tested with the operator on real nodes.
"""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from e2e.harness import ClusterClient, eventually
from tests.cluster.crd_inputs import install_crd
from thinkscale.api import names
from thinkscale.model.signals import Counters, GatewaySignals, PhaseCounts, ReplicaSignals

IMAGE = "localhost/thinkscale:dev"
SERVICE: dict[str, Any] = {
    "apiVersion": "thinkscale.dev/v1alpha1",
    "kind": "ReasoningService",
    "metadata": {"name": "r1"},
    "spec": {
        "model": {"uri": "hf://acme/r1"},
        "engine": {
            "image": "localhost/engine:1",
            "contextTokens": 4096,
            "maxConcurrentRequests": 8,
            "startupSeconds": 60,
            "drainSeconds": 30,
        },
        "scaling": {
            "minReplicas": 1,
            "maxReplicas": 6,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    },
}


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Operator:
    """The operator as its own process, as the chart would run it."""

    def __init__(self, kubeconfig: Path, log: Path, *arguments: str) -> None:
        self.port = free_port()
        self.log = log
        command = [sys.executable, "-m", "thinkscale", "operator", f"--image={IMAGE}"]
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [*command, f"--admin-port={self.port}", *arguments],
                stdout=out,
                stderr=out,
                env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            )

    def get(self, path: str) -> str:
        """A page of the admin port; raises for anything but a 200."""
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())

    def wait_ready(self) -> None:
        """Until everything was listed."""
        eventually(lambda: self.get("/readyz"), 20, "the operator is ready")

    def counts(self, what: str) -> Counter[str]:
        """One of its counters so far, by the value of its label."""
        pattern = rf'^thinkscale_operator_{what}_total{{\w+="(\w+)"}} (\S+)$'
        found = re.findall(pattern, self.get("/metrics"), re.MULTILINE)
        return Counter({label: int(float(value)) for label, value in found})

    def writes(self) -> Counter[str]:
        """Writes to the API so far, by kind, by the operator's own count."""
        return self.counts("writes")

    def stop(self) -> float:
        """SIGTERM; returns the seconds it took to be gone, with exit code 0."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0, self.log.read_text()
        return time.monotonic() - begun

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def lines(self) -> list[dict[str, Any]]:
        """Its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def operator(cluster: ClusterClient, log: Path, *arguments: str) -> Iterator[Operator]:
    """A ready operator, stopped at the end."""
    running = Operator(kubeconfig_of(cluster), log, *arguments)
    try:
        running.wait_ready()
        yield running
        if running.process.poll() is None:
            running.stop()
    finally:
        if running.process.poll() is None:
            running.kill()


def define(cluster: ClusterClient) -> None:
    """The resource's definition, established (kubectl cannot wait before it has a status)."""
    eventually(lambda: install_crd(cluster) or True, 30, "the CRD is established")


def kubeconfig_of(cluster: ClusterClient) -> Path:
    """The kubeconfig file of a cluster of the harness."""
    path = getattr(cluster, "kubeconfig", None)
    assert isinstance(path, Path)
    return path


class Fleet:
    """The owned objects and pods of one service, as a kubelet would tell of them."""

    def __init__(self, cluster: ClusterClient, namespace: str, service: str = "r1") -> None:
        self.cluster, self.namespace, self.service = cluster, namespace, service

    def get(self, *what: str) -> dict[str, Any]:
        """`kubectl get` in the namespace."""
        return self.cluster.get(*what, "-n", self.namespace)

    def model(self) -> dict[str, Any]:
        """The model Deployment."""
        return self.get("deployment", names.model_name(self.service))

    def replicas(self) -> int:
        """`spec.replicas` of the model Deployment."""
        return int(self.model()["spec"]["replicas"])

    def status(self) -> dict[str, Any]:
        """The resource's status."""
        status: dict[str, Any] = self.get("rsvc", self.service).get("status", {})
        return status

    def condition(self, type_: str) -> dict[str, Any]:
        """One of its conditions; empty if there is none yet."""
        every = self.status().get("conditions", ())
        return next((c for c in every if c["type"] == type_), {})

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Pods that are not being deleted, oldest first."""
        labels = names.selector(self.service, component)
        selector = ",".join(f"{k}={v}" for k, v in labels.items())
        items: list[dict[str, Any]] = self.get("pods", "-l", selector)["items"]
        alive = [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]
        return sorted(alive, key=lambda p: (p["metadata"]["creationTimestamp"], name_of(p)))

    def make_ready(self, component: str, ip: str = "") -> list[str]:
        """Every pod of a component becomes ready; returns their names."""
        pods = self.pods(component)
        for pod in pods:
            if not is_ready(pod):
                self.patch_status(name_of(pod), ready_status(ip))
        return [name_of(pod) for pod in pods]

    def patch_status(self, pod: str, status: dict[str, Any]) -> None:
        """Write a pod's status."""
        self.cluster.kubectl(
            "patch",
            "pod",
            pod,
            "-n",
            self.namespace,
            "--subresource=status",
            "--type=strategic",
            "-p",
            json.dumps({"status": status}),
        )


def name_of(pod: dict[str, Any]) -> str:
    """A pod's name."""
    return str(pod["metadata"]["name"])


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod says it is ready."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def ready_status(ip: str = "") -> dict[str, Any]:
    """The status of a pod that runs and is ready."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    types = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    status: dict[str, Any] = {
        "phase": "Running",
        "conditions": [
            {"type": t, "status": "True", "lastTransitionTime": now, "reason": "", "message": ""}
            for t in types
        ],
    }
    if ip:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    return status


class StandInGateway:
    """Answers `/signals` on an address of the loopback net; the test says what."""

    def __init__(self, ip: str, service: str) -> None:
        self.ip = ip
        self._signals = GatewaySignals(
            boot_id=uuid.uuid4().hex, sequence=1, gateway=ip, service=service, uptime_seconds=1.0
        )
        self._loop = asyncio.new_event_loop()
        self._moved = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._started = threading.Event()
        self.polls = 0

    def __enter__(self) -> "StandInGateway":
        self._thread.start()
        assert self._started.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop.is_closed():
            return  # the test has stopped it already
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def say(
        self,
        *,
        queued: int = 0,
        thinking: int = 0,
        answering: int = 0,
        arrivals: int = 0,
        replicas: dict[str, ReplicaSignals] | None = None,
        fastest_token_seconds: float | None = None,
        **others: Any,
    ) -> None:
        """This is the state now; `others`: fields that stay until they are told again."""
        update = {
            "sequence": self._signals.sequence + 1,
            "phases": PhaseCounts(queued=queued, thinking=thinking, answering=answering),
            "held": queued,
            "counters": Counters(arrivals=arrivals),
            "replicas": replicas or {},
            "fastest_token_seconds": fastest_token_seconds,
            **others,
        }
        self._signals = self._signals.model_copy(update=update)
        self._loop.call_soon_threadsafe(self._move)

    def _move(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_get("/signals", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, self.ip, names.GATEWAY_ADMIN_PORT)
        self._loop.run_until_complete(site.start())
        self._started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())

    async def _answer(self, request: web.Request) -> web.Response:
        self.polls += 1
        since = int(request.query.get("since", 0))
        if self._signals.sequence <= since:
            try:
                async with asyncio.timeout(float(request.query.get("wait", 0))):
                    await self._moved.wait()
            except TimeoutError:
                pass
        return web.Response(
            text=self._signals.model_dump_json(by_alias=True), content_type="application/json"
        )
