"""AIBrix's APA: the mean of a pod metric by its target, with tolerances, rates and cooldowns.

Source: vllm-project/aibrix @e3e10f9e, `pkg/controller/podautoscaler/{algorithm,context,metrics}`.
As coded, the cooldown takes the *smallest* recommendation of the last 300 s to shrink by, the
reverse of the HPA, and multiplies the ready pods' mean by all pods, so that warming ones call for
more. `aibrix` is the law with both mended (largest recommendation; ready pods), `aibrix-as-coded`
is what we read at that commit. The metric is their examples': KV-cache usage. A lost scrape adds no
sample; without any in the window the size stays.
"""

import math
from collections import deque
from typing import Final

from thinkscale.simulation.policy import Factory, Policy
from thinkscale.simulation.rivals.rival import Driver, Rival
from thinkscale.simulation.rivals.scrape import Fleet, Scrape
from thinkscale.simulation.scenario import Scenario

RESYNC_SECONDS: Final = 10.0
WINDOW_SECONDS: Final = 180.0
TOLERANCE: Final = 0.1
RATE: Final = 2.0
DOWN_COOLDOWN_SECONDS: Final = 300.0


def apa(mean: float, target: float, pods: int) -> int:
    """The algorithm. Four pods at 0.9 with a target of 0.5: min(ceil(7.2), 8) = 8; at 0.1:
    max(ceil(0.8), 2) = 2; at 0.52 they stay.
    """
    ratio = mean / target
    if ratio > 1 + TOLERANCE:
        return min(math.ceil(pods * ratio), math.ceil(RATE * pods))
    if ratio < 1 - TOLERANCE:
        return max(math.ceil(pods * ratio), math.floor(pods / RATE))
    return pods


class Cooldown:
    """Recommendations of the last 300 s; growing needs none (its window is 0 s)."""

    def __init__(self, *, as_coded: bool) -> None:
        self._pick = min if as_coded else max
        self._recommended: deque[tuple[float, int]] = deque()

    def stabilized(self, now: float, current: int, wanted: int) -> int:
        """What becomes of a recommendation."""
        self._recommended.append((now, wanted))
        while self._recommended[0][0] <= now - DOWN_COOLDOWN_SECONDS:
            self._recommended.popleft()
        if wanted >= current:
            return wanted
        return min(current, self._pick(r for _, r in self._recommended))


class ApaLaw:
    """One PodAutoscaler on KV-cache usage."""

    def __init__(self, scenario: Scenario, target: float, *, as_coded: bool) -> None:
        self._target = target
        self._as_coded = as_coded
        self._least = scenario.intent.min_replicas
        self._most = scenario.intent.max_replicas
        self._samples: deque[tuple[float, float]] = deque()
        self._cooldown = Cooldown(as_coded=as_coded)

    def step(self, now: float, fleet: Fleet, scrape: Scrape | None) -> int:
        """One resync."""
        if scrape is not None and scrape.pods:
            usage = sum(pod.kv_usage for pod in scrape.pods) / len(scrape.pods)
            self._samples.append((now, usage))
        while self._samples and self._samples[0][0] <= now - WINDOW_SECONDS:
            self._samples.popleft()
        if not self._samples:
            return fleet.current
        mean = sum(value for _, value in self._samples) / len(self._samples)
        pods = fleet.current if self._as_coded else fleet.ready
        wanted = apa(mean, self._target, pods)
        if wanted == pods:
            wanted = fleet.current
        wanted = max(self._least, min(self._most, wanted))
        return self._cooldown.stabilized(now, fleet.current, wanted)


def _mended(target: float) -> Factory:
    def make(scenario: Scenario) -> Policy:
        return Driver(ApaLaw(scenario, target, as_coded=False), scenario, RESYNC_SECONDS)

    return make


def _as_coded(target: float) -> Factory:
    def make(scenario: Scenario) -> Policy:
        return Driver(ApaLaw(scenario, target, as_coded=True), scenario, RESYNC_SECONDS)

    return make


SOURCE: Final = "vllm-project/aibrix @e3e10f9e, podautoscaler/algorithm/apa.go"
TARGETS: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
KNOB: Final = "KV-cache usage"
RIVALS: Final = (
    Rival(name="aibrix", settings=TARGETS, knob=KNOB, make=_mended, source=SOURCE),
    Rival(name="aibrix-as-coded", settings=TARGETS, knob=KNOB, make=_as_coded, source=SOURCE),
)
