"""llm-d's Workload Variant Autoscaler, saturation analyzer V1: one replica up or down at a time.

Source: llm-d/llm-d-workload-variant-autoscaler @b08b1c77, `internal/saturation/analyzer.go`,
defaults of `config/manager/configmap-saturation-scaling.yaml`. A replica is saturated from 80 % KV
or a queue of 5 on; the mean room of the others decides. Nothing happens in transition: while the
size is not the desired one, or metrics do not come from every replica. Hence a lost scrape holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from thinkscale.simulation.policy import Factory, Policy
from thinkscale.simulation.rivals.rival import Driver, Rival
from thinkscale.simulation.rivals.scrape import Fleet, Scrape
from thinkscale.simulation.rivals.wva_actuation import INTERVAL_SECONDS, Actuation
from thinkscale.simulation.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The ConfigMap."""

    kv: float = 0.80
    queue: float = 5.0
    spare_kv: float = 0.10
    spare_queue: float = 3.0


def analyze(
    replicas: Sequence[tuple[float, float]],
    current: int,
    desired: int | None,
    thresholds: Thresholds,
) -> int:
    """The next desired size, from (KV usage, queue length) of each replica.

    Three at 50 % and nothing queued: 30 points of KV to spare, more than the 10 that trigger. On
    two of them the same load would leave 80 - 50 * 3/2 = 5: stay. At 30 %: 80 - 45 = 35: down.
    """
    if (desired is not None and desired != current) or len(replicas) != current:
        return current if desired is None else desired
    t = thresholds
    room = [(t.kv - kv, t.queue - q) for kv, q in replicas if kv < t.kv and q < t.queue]
    count = len(room)
    kv = sum(each for each, _ in room) / count if count else 0.0
    queue = sum(each for _, each in room) / count if count else 0.0
    if kv < t.spare_kv or queue < t.spare_queue:
        return current + 1
    if count >= 2 and current > 1:
        factor = count / (count - 1)
        kv_left = t.kv - (t.kv - kv) * factor
        queue_left = t.queue - (t.queue - queue) * factor
        if kv_left >= t.spare_kv and queue_left >= t.spare_queue:
            return current - 1
    return current


class SaturationLaw:
    """V1 for one model with one variant."""

    def __init__(self, scenario: Scenario, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._least = scenario.intent.min_replicas
        self._most = scenario.intent.max_replicas
        self._actuation = Actuation(scenario)
        self._desired: int | None = None

    def step(self, now: float, fleet: Fleet, scrape: Scrape | None) -> int:
        """One cycle."""
        pods = scrape.pods if scrape is not None else ()
        replicas = [(pod.kv_usage, pod.waiting) for pod in pods]
        wanted = analyze(replicas, fleet.current, self._desired, self._thresholds)
        self._desired = max(self._least, min(self._most, wanted))
        return self._actuation.step(now, fleet.current, self._desired)


def _saturation(spare_kv: float) -> Factory:
    def make(scenario: Scenario) -> Policy:
        law = SaturationLaw(scenario, Thresholds(spare_kv=spare_kv))
        return Driver(law, scenario, INTERVAL_SECONDS)

    return make


RIVALS: Final = (
    Rival(
        name="wva-v1",
        settings=(0.5, 0.4, 0.3, 0.2, 0.1, 0.05),
        knob="spare KV usage that triggers",
        make=_saturation,
        source="llm-d-workload-variant-autoscaler @b08b1c77, internal/saturation/analyzer.go",
    ),
)
