"""How llm-d's Workload Variant Autoscaler gets its way: a metric, and an HPA on it.

It publishes `wva_desired_replicas`, and an HPA of External `AverageValue` 1 follows. Source:
llm-d/llm-d-workload-variant-autoscaler @b08b1c77, `docs/benchmark.md`: up at once, down after
240 s, ten pods in 150 s. The HPA's tolerance of a tenth is left out, in the rival's favour: it
would swallow single steps from eleven replicas on.
"""

from typing import Final

from thinkscale.model.intent import Behavior, StepPolicy
from thinkscale.simulation.rivals.hpa import Hpa, external_average
from thinkscale.simulation.scenario import Scenario

INTERVAL_SECONDS: Final = 15.0
_TEN: Final = (StepPolicy(pods=10, period_seconds=150.0),)
UP: Final = Behavior(stabilization_window_seconds=0.0, policies=_TEN)
DOWN: Final = Behavior(stabilization_window_seconds=240.0, policies=_TEN)


class Actuation:
    """The HPA behind the metric."""

    def __init__(self, scenario: Scenario) -> None:
        intent = scenario.intent
        self._hpa = Hpa(intent.min_replicas, intent.max_replicas, up=UP, down=DOWN)

    def step(self, now: float, current: int, desired: int) -> int:
        """Replicas from now on."""
        proposal = external_average(current, desired, 1.0, tolerance=0.0)
        return self._hpa.step(now, current, [proposal])
