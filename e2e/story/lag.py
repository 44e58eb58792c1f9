"""Whether the emulated model servers kept their own time: a run on an overloaded machine is void.

Each emulator exports by how much its steps ended late. Pods come and go with the fleet, so they are
asked every few seconds while they live, and what each said last is added up: the run's lag is the
99th percentile over all steps of all pods. More than a fifth of a step, and the run's timings are
the machine's and not the product's.
"""

import re
import threading
import urllib.error
import urllib.request
from collections import Counter

from e2e.story.sampling import COMPONENT_LABEL, Watches

ASK_SECONDS = 5.0
MODEL_PORT = 8000
STEP_SECONDS = 0.0295
"""One step of the profile `demo` with eight sequences."""
VOID_SHARE_OF_A_STEP = 0.2
BUCKET = re.compile(r'^thinkscale_emulator_lag_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)


def buckets(metrics: str) -> Counter[float]:
    """Steps by upper edge of their lag (not cumulative), from an emulator's metrics."""
    found: Counter[float] = Counter()
    below = 0.0
    for edge, cumulative in BUCKET.findall(metrics):
        found[float(edge)] += round(float(cumulative) - below)
        below = float(cumulative)
    return found


def p99_seconds(steps: Counter[float]) -> float:
    """Upper edge of the bucket that holds the 99th percentile; 0 without a step."""
    wanted, seen = 0.99 * steps.total(), 0
    for edge in sorted(steps):
        seen += steps[edge]
        if seen >= wanted and seen:
            return edge
    return 0.0


class LagWatch:
    """Asks all model pods while it is entered; needs to reach them by their addresses."""

    def __init__(self, watches: Watches) -> None:
        self._watches = watches
        self._said: dict[str, Counter[float]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="lag")

    @property
    def steps(self) -> int:
        """Steps measured: a lag of none would prove nothing."""
        return self._total().total()

    @property
    def p99_seconds(self) -> float:
        """The run's lag."""
        return p99_seconds(self._total())

    @property
    def void(self) -> bool:
        """The run's timings do not count."""
        return self.p99_seconds > VOID_SHARE_OF_A_STEP * STEP_SECONDS

    def __enter__(self) -> "LagWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(10)

    def _total(self) -> Counter[float]:
        return sum(list(self._said.values()), Counter())

    def _run(self) -> None:
        while not self._stopped.wait(ASK_SECONDS):
            self.ask()

    def ask(self) -> None:
        """Ask every model pod once."""
        for name, pod in self._watches.pods.objects().items():
            address = pod.get("status", {}).get("podIP")
            if address and pod["metadata"]["labels"].get(COMPONENT_LABEL) == "model":
                self._ask_one(name, address)

    def _ask_one(self, name: str, address: str) -> None:
        try:
            with urllib.request.urlopen(
                f"http://{address}:{MODEL_PORT}/metrics", timeout=2
            ) as answer:
                text = answer.read().decode()
        except (OSError, urllib.error.URLError):
            return  # Not started yet, or gone: what it said before still counts.
        if said := buckets(text):
            self._said[name] = said
