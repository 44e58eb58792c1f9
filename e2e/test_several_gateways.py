"""Two gateways of one service, on real nodes: both serve, the status is their sum, and one that
goes loses nothing: no stream, no request that comes meanwhile, and nothing that it has counted.

Clients call the Service and open a connection for each request, so kube-proxy shares them out. What
is promised is far above what a short thought takes and far below a long one, so that each request's
part in the attained share is known beforehand.
"""

import json
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from e2e.harness import PRODUCT_IMAGE, ClusterClient, LocalCluster, eventually, fixtures

PLAN_FIELD = f"plan_{uuid.uuid4().hex}"
NAME = "shared"
STEP_MILLISECONDS = 5
SHORT, LONG = 40, 2400
"""Thinking tokens: a quarter of a second, and 12 s."""
LIMIT_MILLISECONDS = 5000
ANSWERS = 7
STREAMS = 14
ASKED = 24
SERVICE: dict[str, Any] = {
    "apiVersion": "thinkscale.dev/v1alpha1",
    "kind": "ReasoningService",
    "metadata": {"name": NAME},
    "spec": {
        "replicas": 2,
        "model": {"uri": "hf://acme/reasoner", "name": "reasoner"},
        "engine": {
            "image": PRODUCT_IMAGE,
            "command": ["thinkscale", "emulator"],
            "args": [
                f"--plan-field={PLAN_FIELD}",
                "--startup-seconds=0.5",
                f"--a0-milliseconds={STEP_MILLISECONDS}",
                "--a1-milliseconds=0",
            ],
            "reasoningParser": "deepseek_r1",
            "contextTokens": 8192,
            "maxConcurrentRequests": 16,
            "gpus": {"count": 0},
            "drainSeconds": 60,
        },
        "slos": [
            {
                "name": "first-answer",
                "indicator": "TimeToFirstAnswer",
                "thresholdMilliseconds": LIMIT_MILLISECONDS,
                "objectivePercent": "99",
            }
        ],
        "scaling": {"mode": "Manual", "maxReplicas": 2},
        "gateway": {"minReplicas": 2, "maxReplicas": 2},
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client got."""

    status: int
    thinking_tokens: int
    words: int
    done: bool


class Service:
    """The service under test, as a client and as its owner."""

    def __init__(self, cluster: LocalCluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.address = ""
        self.short = 0
        """Requests with a short thought so far."""

    def gateways(self) -> dict[str, str]:
        """Addresses of the gateways' admin ports, by pod; those on their way out among them."""
        labels = f"thinkscale.dev/service={NAME},app.kubernetes.io/component=gateway"
        pods = self.cluster.get("pods", "-n", self.namespace, "-l", labels)["items"]
        return {pod["metadata"]["name"]: f"http://{pod['status']['podIP']}:9090" for pod in pods}

    def signals(self) -> dict[str, dict[str, Any]]:
        """Each gateway's own account."""
        return {name: _page(f"{url}/signals") for name, url in self.gateways().items()}

    def depths(self) -> list[int]:
        """Requests without an answer yet, by gateway."""
        told = [signals["phases"] for signals in self.signals().values()]
        return [phases["queued"] + phases["thinking"] for phases in told]

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.cluster.get("rsvc", NAME, "-n", self.namespace)["status"]
        return status

    def told_anew(self) -> int:
        """Have the operator write the whole status, which it does for a new generation; else a
        number that has moved by less than a fifth waits for half a minute. Returns the depth.
        """
        patch = json.dumps({"spec": {"scaling": {"maxReplicas": 3}}})
        self.cluster.kubectl(
            "patch", "rsvc", NAME, "-n", self.namespace, "--type=merge", f"--patch={patch}"
        )
        generation = self.cluster.get("rsvc", NAME, "-n", self.namespace)["metadata"]["generation"]
        status = eventually(
            lambda: (s := self.status())["observedGeneration"] == generation and s, 10, "a status"
        )
        return int(status["thinkingDepth"])

    def attained(self) -> float:
        """Percent, in the status."""
        (slo,) = self.status()["slos"]
        return float(slo["attainedPercent"])

    def ask(self, thinking: int) -> Answer:
        """One streamed request on a connection of its own."""
        body = {
            "model": "reasoner",
            "messages": [{"role": "user", "content": f"why {uuid.uuid4().hex}?"}],
            "stream": True,
            "stream_options": {"include_usage": True},
            PLAN_FIELD: {"thinking_tokens": thinking, "answer_tokens": ANSWERS},
        }
        request = urllib.request.Request(
            f"http://{self.address}/v1/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=90) as got:
            lines = [line.strip() for line in got if line.startswith(b"data: ")]
        events = [json.loads(line[6:]) for line in lines if line != b"data: [DONE]"]
        deltas = [choice["delta"] for event in events for choice in event["choices"]]
        details = events[-1]["usage"]["completion_tokens_details"]
        return Answer(
            status=got.status,
            thinking_tokens=details["reasoning_tokens"],
            words=len("".join(delta.get("content") or "" for delta in deltas).split()),
            done=lines[-1] == b"data: [DONE]",
        )

    def ask_shortly(self) -> None:
        """One that is served in time."""
        assert self.ask(SHORT) == whole(SHORT)
        self.short += 1


def _page(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        parsed: dict[str, Any] = json.load(answer)
    return parsed


def whole(thinking: int) -> Answer:
    """Nothing is missing."""
    return Answer(status=200, thinking_tokens=thinking, words=ANSWERS, done=True)


@pytest.fixture
def service(cluster: ClusterClient, operator: str) -> Iterator[Service]:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("asks a Service's address from outside of the pods")
    spaces = fixtures.namespace(cluster)
    made = Service(cluster, next(spaces))
    cluster.apply(SERVICE, "-n", made.namespace)
    cluster.kubectl(
        "wait", f"rsvc/{NAME}", "-n", made.namespace, "--for=condition=Ready", "--timeout=60s"
    )
    made.address = str(cluster.get("service", NAME, "-n", made.namespace)["spec"]["clusterIP"])
    eventually(
        lambda: [len(told["replicas"]) for told in made.signals().values()] == [2, 2],
        60,
        "two gateways that know both replicas",
    )
    yield made
    next(spaces, None)


def test_two_gateways_serve_as_one_and_one_that_goes_loses_nothing(service: Service) -> None:
    for _ in range(ASKED):
        service.ask_shortly()
    arrivals = [told["counters"]["arrivals"] for told in service.signals().values()]
    assert sum(arrivals) == ASKED
    assert min(arrivals) > 0, "one gateway got everything"
    assert service.status()["gatewayReplicas"] == 2
    eventually(lambda: service.attained() == 100.0, 30, "all of them in time")

    with ThreadPoolExecutor(STREAMS) as clients:
        streams = [clients.submit(service.ask, LONG) for _ in range(STREAMS)]
        eventually(lambda: sum(service.depths()) == STREAMS, 5, "all of them think")
        assert min(service.depths()) > 0, "one gateway got every stream"
        assert service.told_anew() == STREAMS, "the sum in the status"
        _let_one_go(service, streams)
        answers = [stream.result() for stream in streams]
    assert answers == [whole(LONG)] * STREAMS

    eventually(lambda: len(service.gateways()) == 2, 30, "the old one is gone")
    for _ in range(4):
        service.ask_shortly()
    share = round(100 * service.short / (service.short + STREAMS), 1)
    eventually(lambda: service.attained() == share, 40, f"{share} % of all requests")
    eventually(lambda: service.status()["thinkingDepth"] == 0, 40, "nobody thinks")


def _let_one_go(service: Service, streams: list[Future[Answer]]) -> None:
    """Delete a gateway with streams on it, and ask for as long as these last."""
    going = next(iter(service.gateways()))
    service.cluster.kubectl("delete", "pod", going, "-n", service.namespace, "--wait=false")
    while not all(stream.done() for stream in streams):
        service.ask_shortly()
    assert service.short > ASKED + 10, "hardly anybody came meanwhile"
