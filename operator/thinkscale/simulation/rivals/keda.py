"""KEDA on the number of waiting requests: activation, an HPA behind it, a fallback.

Source: kedacore/keda @8b4f083c, `pkg/scaling/executor`, `apis/keda/v1alpha1`,
`pkg/scalers/prometheus_scaler.go`; fallback of 2 replicas after 3 failures, polling 15 s and
cooldown 360 s from the Helm values of vllm-project/production-stack @a6c01db0. Polling decides
between none and one replica only; between one and many it is a plain HPA on External
`AverageValue`. `ignoreNullValues` is off here: on, its default, a lost metric reads as no load.
"""

from typing import Final

from thinkscale.simulation.policy import Factory, Policy
from thinkscale.simulation.rivals.hpa import SYNC_SECONDS, Hpa, external_average
from thinkscale.simulation.rivals.rival import Driver, Rival
from thinkscale.simulation.rivals.scrape import Fleet, Scrape
from thinkscale.simulation.scenario import Scenario

COOLDOWN_SECONDS: Final = 360.0
ACTIVATION: Final = 0.0
FAILURE_THRESHOLD: Final = 3
FALLBACK_REPLICAS: Final = 2


def activated(
    current: int,
    values: list[float],
    *,
    idle_seconds: float,
    least: int,
    cooldown_seconds: float = COOLDOWN_SECONDS,
) -> int:
    """What polling makes of the size: from none to one as soon as a trigger is strictly over its
    activation threshold, to none after the cooldown (only if the minimum is none).
    """
    if any(value > ACTIVATION for value in values):
        return max(1, least) if current == 0 else current
    if current > 0 and least == 0 and idle_seconds > cooldown_seconds:
        return 0
    return current


class QueueLaw:
    """One ScaledObject with one trigger: waiting requests."""

    def __init__(self, scenario: Scenario, threshold: float) -> None:
        intent = scenario.intent
        self._least = intent.min_replicas
        self._hpa = Hpa(max(1, intent.min_replicas), intent.max_replicas)
        self._threshold = threshold
        self._failures = 0
        self._active_at: float | None = None

    def step(self, now: float, fleet: Fleet, scrape: Scrape | None) -> int:
        """Polling and the HPA's sync are both every 15 s."""
        if scrape is None:
            self._failures += 1
        else:
            self._failures = 0
        if self._active_at is None or (scrape is not None and scrape.waiting > ACTIVATION):
            self._active_at = now
        size = fleet.current
        if scrape is not None:
            size = activated(
                size,
                [scrape.waiting],
                idle_seconds=now - self._active_at,
                least=self._least,
            )
        if size == 0 or fleet.current == 0:
            return size
        return self._hpa.step(now, size, [self._proposal(size, scrape)])

    def _proposal(self, size: int, scrape: Scrape | None) -> int | None:
        if scrape is not None:
            return external_average(size, scrape.waiting, self._threshold)
        return FALLBACK_REPLICAS if self._failures > FAILURE_THRESHOLD else None


def _queue(threshold: float) -> Factory:
    def make(scenario: Scenario) -> Policy:
        return Driver(QueueLaw(scenario, threshold), scenario, SYNC_SECONDS)

    return make


RIVALS: Final = (
    Rival(
        name="keda-queue",
        settings=(0.5, 1.0, 2.0, 5.0, 10.0, 20.0),
        knob="requests waiting per replica (threshold)",
        make=_queue,
        source="kedacore/keda @8b4f083c; production-stack Helm values @a6c01db0",
    ),
)
