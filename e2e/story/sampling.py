"""What a fleet looked like, second by second, put together from the objects that kubectl shows.

`sample_of` is pure; `Sampler` is the thread that calls it. Replicas come from the Deployment and
GPUs from the pods (a pod that drains still holds its GPUs, and the Deployment no longer counts it);
thinking depth, backlog, budget and the last decision come from the ReasoningService's status, the
only place where the operator speaks to people.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from e2e.story.kubewatch import KubeObject, KubeWatch

SERVICE_LABEL = "thinkscale.dev/service"
COMPONENT_LABEL = "app.kubernetes.io/component"
OWNED = "app.kubernetes.io/managed-by=thinkscale"
SAMPLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One fleet at one instant. None: the status does not say (yet)."""

    second: float
    desired: int
    """The workload's `spec.replicas`."""
    ready: int
    pods: int
    """Model pods on a node, draining ones included."""
    gpus: int
    """What those pods hold."""
    depth: int | None = None
    backlog_seconds: int | None = None
    first_answer_p95_seconds: float | None = None
    effective_max_tokens: int | None = None
    attained_percent: Mapping[str, str]
    decision: str = ""
    message: str = ""
    decision_id: str = ""


def sample_of(
    second: float,
    service: KubeObject,
    deployment: KubeObject,
    pods: Mapping[str, KubeObject],
) -> Sample:
    """Read the objects; any of them may be empty while it does not exist."""
    status = service.get("status", {})
    name = service.get("metadata", {}).get("name", "")
    holding = [pod for pod in pods.values() if _holds_a_node(pod, name)]
    gpus = service.get("spec", {}).get("engine", {}).get("gpus", {}).get("count", 1)
    decision = status.get("lastDecision", {})
    p95 = status.get("firstAnswerP95Milliseconds")
    arrow = f"{decision.get('from')} → {decision.get('to')} {decision.get('reason', '')}"
    return Sample(
        second=second,
        desired=deployment.get("spec", {}).get("replicas", 0),
        ready=deployment.get("status", {}).get("readyReplicas", 0),
        pods=len(holding),
        gpus=len(holding) * gpus,
        depth=status.get("thinkingDepth"),
        backlog_seconds=status.get("backlogSeconds"),
        first_answer_p95_seconds=None if p95 is None else p95 / 1000,
        effective_max_tokens=status.get("effectiveMaxTokens"),
        attained_percent={slo["name"]: slo["attainedPercent"] for slo in status.get("slos", ())},
        decision=arrow if decision else "",
        message=decision.get("message", ""),
        decision_id=decision.get("id", ""),
    )


def _holds_a_node(pod: KubeObject, service: str) -> bool:
    labels = pod.get("metadata", {}).get("labels", {})
    return (
        labels.get(SERVICE_LABEL) == service
        and labels.get(COMPONENT_LABEL) == "model"
        and bool(pod.get("spec", {}).get("nodeName"))
        and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    )


class Watches:
    """The three watches that everything here is made from, for one namespace."""

    def __init__(self, kubectl: list[str], namespace: str) -> None:
        self.services = KubeWatch(kubectl, "reasoningservices", namespace)
        self.deployments = KubeWatch(kubectl, "deployments", namespace, OWNED)
        self.pods = KubeWatch(kubectl, "pods", namespace, OWNED)

    def start(self) -> "Watches":
        """Begin to follow."""
        for watch in (self.services, self.deployments, self.pods):
            watch.start()
        return self

    def stop(self) -> None:
        """End all."""
        for watch in (self.services, self.deployments, self.pods):
            watch.stop()

    def sample(self, service: str, second: float) -> Sample:
        """The fleet of one service now."""
        return sample_of(
            second,
            self.services.get(service),
            self.deployments.get(f"{service}-model"),
            self.pods.objects(),
        )

    def ready(self, service: str) -> bool:
        """The resource's own word for it."""
        conditions = self.services.get(service).get("status", {}).get("conditions", ())
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


class Sampler:
    """Takes a sample of each service twice a second, in a thread; `series` has them all."""

    def __init__(self, watches: Watches, services: list[str], now: Callable[[], float]) -> None:
        self._watches = watches
        self._now = now
        self.series: dict[str, list[Sample]] = {service: [] for service in services}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="sampler")

    def start(self) -> "Sampler":
        """Begin."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Take no more samples."""
        self._stopped.set()
        self._thread.join(5)

    def newest(self) -> dict[str, Sample]:
        """The newest sample of each service that has one."""
        return {name: series[-1] for name, series in self.series.items() if series}

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            due += SAMPLE_SECONDS
            second = round(self._now(), 2)
            for service, series in self.series.items():
                series.append(self._watches.sample(service, second))
