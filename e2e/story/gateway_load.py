"""What a request-based autoscaler gets to see of a service: arrival rate and concurrency.

Read each second from the gateways' own `/signals`, so that the rivals in the headline are fed by
the same source as the operator, and only with less of it. A rate is taken over a sliding window of
15 s: short for an autoscaler of this kind, which is to the rivals' favour. A service whose gateways
could not all be read has no value at all; the autoscaler then stays where it is.
"""

import json
import threading
import time
import urllib.request
from collections import deque
from dataclasses import dataclass

from e2e.story.kubewatch import KubeObject
from e2e.story.sampling import COMPONENT_LABEL, SERVICE_LABEL, Watches

ADMIN_PORT = 9090
READ_SECONDS = 1.0
RATE_WINDOW_SECONDS = 15.0
FORGET_SECONDS = 5.0
"""A reading older than that is no reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One service at one instant (monotonic seconds)."""

    at: float
    arrivals: int
    """Since the gateways' boot."""
    in_flight: int


class LoadHistory:
    """The last readings of one service; pure."""

    def __init__(self) -> None:
        self._loads: deque[Load] = deque()

    def add(self, load: Load) -> None:
        """Take a reading; one older than the window is kept, so that a rate has a start."""
        if self._loads and load.arrivals < self._loads[-1].arrivals:
            self._loads.clear()  # A gateway has restarted: its counter began anew.
        self._loads.append(load)
        while len(self._loads) > 2 and self._loads[1].at <= load.at - RATE_WINDOW_SECONDS:
            self._loads.popleft()

    def arrivals_per_second(self, now: float) -> float | None:
        """Mean rate over the window; None without a fresh reading or a second one."""
        if not self._fresh(now) or len(self._loads) < 2:
            return None
        first, last = self._loads[0], self._loads[-1]
        return (last.arrivals - first.arrivals) / (last.at - first.at)

    def concurrency(self, now: float) -> float | None:
        """Requests in flight now, the held ones included; None without a fresh reading."""
        return float(self._loads[-1].in_flight) if self._fresh(now) else None

    def _fresh(self, now: float) -> bool:
        return bool(self._loads) and now - self._loads[-1].at <= FORGET_SECONDS


class LoadReader:
    """Reads the gateways of the given services each second, while it is entered."""

    def __init__(self, watches: Watches, services: list[str]) -> None:
        self._watches = watches
        self._histories = {service: LoadHistory() for service in services}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="gateway-load")

    def __enter__(self) -> "LoadReader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(10)

    def value(self, service: str, metric: str) -> float | None:
        """The value of `arrivals_per_second` or `concurrency`; None: unknown. Else KeyError."""
        history = self._histories[service]
        reads = {
            "arrivals_per_second": history.arrivals_per_second,
            "concurrency": history.concurrency,
        }
        return reads[metric](time.monotonic())

    def _run(self) -> None:
        while not self._stopped.wait(READ_SECONDS):
            pods = list(self._watches.pods.objects().values())
            for service, history in self._histories.items():
                gateways = [pod for pod in pods if is_gateway_of(pod, service)]
                if (load := _read_all(gateways)) is not None:
                    history.add(load)


def is_gateway_of(pod: KubeObject, service: str) -> bool:
    """Whether the pod is a gateway of this service."""
    labels = pod["metadata"].get("labels", {})
    return bool(labels.get(SERVICE_LABEL) == service and labels.get(COMPONENT_LABEL) == "gateway")


def _read_all(gateways: list[KubeObject]) -> Load | None:
    """The sum over all gateways, or nothing: half a sum would look like half the load."""
    arrivals = in_flight = 0
    for pod in gateways:
        address = pod.get("status", {}).get("podIP")
        try:
            with urllib.request.urlopen(
                f"http://{address}:{ADMIN_PORT}/signals", timeout=1
            ) as answer:
                signals = json.load(answer)
        except OSError:
            return None
        arrivals += signals["counters"]["arrivals"]
        in_flight += sum(signals["phases"].values())
    return Load(at=time.monotonic(), arrivals=arrivals, in_flight=in_flight) if gateways else None
