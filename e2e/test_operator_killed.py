"""The operator is killed at five seeded random moments inside a scale-up and a roll.

The data path must not notice: every request is answered, and the replicas over time are those of a
run in which nobody was killed. The load wants more than the maximum, so the wished path is known:
from one replica to the maximum in one step, and there it stays while the pods roll.
"""

import random
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from e2e.harness import PRODUCT_IMAGE, ClusterClient, LocalCluster, eventually, fixtures
from e2e.harness.assets import find as find_assets
from e2e.story.generator import Stream
from e2e.story.kubewatch import watch_events
from e2e.story.run import TrafficRun
from e2e.story.traffic import Request

PLAN_FIELD = f"plan_{uuid.uuid4().hex}"
SEED = 20261125
NAME = "steady"
MAXIMUM = 4
LANES = 14
"""Requests in flight at a time: 14 on 4 replicas of 4 seats is more than 80 % of the seats."""
THOUGHT_TOKENS, TOKEN_SECONDS = 600, 0.02
ROLL_AT_SECONDS = 10.0
KILLS_IN_SCALE_UP = (0.5, 6.0)
KILLS_IN_ROLL = (ROLL_AT_SECONDS, ROLL_AT_SECONDS + 14.0)
TRAFFIC_SECONDS = 36.0
SAME_STEP_SECONDS = 12.0
"""An operator that was killed is back within this time (a new pod must start), and goes on."""
PASSING_SECONDS = 2.0
"""A count held shorter than this is a look at a load that was still arriving, in either run."""


def service(args: list[str]) -> dict[str, Any]:
    """The service under test; `args` are what rolls it."""
    return {
        "apiVersion": "thinkscale.dev/v1alpha1",
        "kind": "ReasoningService",
        "metadata": {"name": NAME},
        "spec": {
            "model": {"uri": "hf://acme/reasoner", "name": "reasoner"},
            "engine": {
                "image": PRODUCT_IMAGE,
                "command": ["thinkscale", "emulator"],
                "args": [
                    f"--plan-field={PLAN_FIELD}",
                    "--startup-seconds=2",
                    f"--a0-milliseconds={TOKEN_SECONDS * 1000:g}",
                    *args,
                ],
                "reasoningParser": "deepseek_r1",
                "contextTokens": 8192,
                "maxConcurrentRequests": 4,
                "gpus": {"count": 0},
                "drainSeconds": 60,
            },
            "scaling": {
                "minReplicas": 1,
                "maxReplicas": MAXIMUM,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
            },
        },
    }


class DesiredReplicas:
    """`spec.replicas` of the model Deployment over time, as a watch tells it."""

    def __init__(self, cluster: LocalCluster, namespace: str) -> None:
        self.steps: list[tuple[float, int]] = []
        kubectl = str(find_assets().path("kubectl"))
        command = [kubectl, "--kubeconfig", str(cluster.kubeconfig), "-n", namespace]
        command += ["get", "deployments", "-o", "json", "--watch", "--output-watch-events"]
        self._began = time.monotonic()
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for event in watch_events(self._process.stdout):
            item = event["object"]
            if item["metadata"]["name"] != f"{NAME}-model":
                continue
            replicas = int(item["spec"]["replicas"])
            if not self.steps or self.steps[-1][1] != replicas:
                self.steps.append((time.monotonic() - self._began, replicas))

    def since(self) -> float:
        """Seconds since the watch began."""
        return time.monotonic() - self._began

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(5)
        self._thread.join(5)
        if self._process.stdout is not None:
            self._process.stdout.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one run came to."""

    steps: tuple[tuple[float, int], ...]
    failed: tuple[str, ...]
    answered: int
    kills: int


def requests() -> tuple[Request, ...]:
    """Lanes of thoughts one after another: a load that stays the same."""
    service_seconds = THOUGHT_TOKENS * TOKEN_SECONDS
    rounds = int(TRAFFIC_SECONDS / service_seconds)
    return tuple(
        Request(
            at_seconds=turn * service_seconds + lane * 0.01,
            prompt_tokens=20,
            thinking_tokens=THOUGHT_TOKENS,
            answer_tokens=20,
        )
        for turn in range(rounds)
        for lane in range(LANES)
    )


def settled(steps: tuple[tuple[float, int], ...]) -> list[tuple[float, int]]:
    """The first and the last step, and of those between the ones that were held."""
    held = [step for step, after in pairwise(steps[1:]) if after[0] - step[0] > PASSING_SECONDS]
    return [steps[0], *held, steps[-1]]


def kill_operator(cluster: ClusterClient, namespace: str) -> bool:
    """SIGKILL for whatever operator pod runs now; False if none did."""
    labels = "app.kubernetes.io/name=thinkscale,app.kubernetes.io/component=operator"
    found = cluster.get("pods", "-n", namespace, "-l", labels)["items"]
    names = [pod["metadata"]["name"] for pod in found if pod["status"].get("phase") == "Running"]
    if not names:
        return False
    cluster.kubectl("delete", "pod", *names, "-n", namespace, "--grace-period=0", "--force")
    return True


def rolled_out(cluster: ClusterClient, namespace: str) -> bool:
    """All replicas are of the new template, available, and no other is left."""
    deployment = cluster.get("deployment", f"{NAME}-model", "-n", namespace)
    status = deployment["status"]
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    observed = status["observedGeneration"] == deployment["metadata"]["generation"]
    return observed and counts == [MAXIMUM] * 3


def run(
    cluster: LocalCluster, operator: str, directory: Path, kill_at_seconds: list[float]
) -> Told:
    """One scale-up and one roll under load, with the operator killed at these seconds."""
    spaces = fixtures.namespace(cluster)
    namespace = next(spaces)
    cluster.apply(service([]), "-n", namespace)
    cluster.kubectl(
        "wait", f"rsvc/{NAME}", "-n", namespace, "--for=condition=Ready", "--timeout=60s"
    )
    address = cluster.get("service", NAME, "-n", namespace)["spec"]["clusterIP"]
    stream = Stream(
        name=NAME,
        url=f"http://{address}/v1",
        model="reasoner",
        plan_field=PLAN_FIELD,
        requests=requests(),
    )
    seen = DesiredReplicas(cluster, namespace)
    kills = 0
    pending = sorted([*((at, "kill") for at in kill_at_seconds), (ROLL_AT_SECONDS, "roll")])
    with TrafficRun(directory, [stream], stop_after_seconds=TRAFFIC_SECONDS + 60) as traffic:
        while pending or not traffic.finished():
            if pending and traffic.now() >= pending[0][0]:
                match pending[0][1]:
                    case "kill":
                        if not kill_operator(cluster, operator):
                            time.sleep(0.1)
                            continue  # none runs: this moment is had as soon as one does
                        kills += 1
                    case _:
                        cluster.apply(service(["--seed=7"]), "-n", namespace)
                pending.pop(0)
            time.sleep(0.05)
        offset = seen.since() - traffic.now()
        outcomes = traffic.outcomes()
    eventually(lambda: rolled_out(cluster, namespace), 90, "the roll is complete")
    seen.stop()
    next(spaces, None)
    return Told(
        steps=tuple((second - offset, replicas) for second, replicas in seen.steps),
        failed=tuple(
            f"{each.index}: {each.status} {each.error}" for each in outcomes if each.failed
        ),
        answered=sum(each.answer_tokens > 0 for each in outcomes),
        kills=kills,
    )


@pytest.fixture
def moments() -> list[float]:
    """Two inside the scale-up, three inside the roll."""
    chance = random.Random(SEED)
    scale_up = [chance.uniform(*KILLS_IN_SCALE_UP) for _ in range(2)]
    return [*scale_up, *(chance.uniform(*KILLS_IN_ROLL) for _ in range(3))]


def test_killing_the_operator_changes_neither_the_data_path_nor_the_replicas(
    cluster: ClusterClient, operator: str, tmp_path: Path, moments: list[float]
) -> None:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("asks a Service's address from outside of the pods")
    for name in ("undisturbed", "disturbed"):
        (tmp_path / name).mkdir()
    undisturbed = run(cluster, operator, tmp_path / "undisturbed", [])
    disturbed = run(cluster, operator, tmp_path / "disturbed", moments)

    assert disturbed.kills == 5
    assert undisturbed.failed == disturbed.failed == ()
    assert undisturbed.answered == disturbed.answered == len(requests())
    (_, reached), (_, reached_disturbed) = settled(undisturbed.steps), settled(disturbed.steps)
    assert [reached[1], reached_disturbed[1]] == [MAXIMUM, MAXIMUM], (undisturbed, disturbed)
    assert reached_disturbed[0] == pytest.approx(reached[0], abs=SAME_STEP_SECONDS)
