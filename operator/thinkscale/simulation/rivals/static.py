"""A fleet that stands still: the reference that every autoscaler must beat on cost.

At the peak's size it meets every objective and costs the most; llm-d's published comparison has it
as "static 8, 100 %".
"""

from typing import Final

from thinkscale.simulation.policy import Factory, Policy
from thinkscale.simulation.rivals.rival import Driver, Rival
from thinkscale.simulation.rivals.scrape import Fleet, Scrape
from thinkscale.simulation.scenario import Scenario

TICK_SECONDS: Final = 15.0


class StaticLaw:
    """Always the same size, within the limits."""

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas

    def step(self, now: float, fleet: Fleet, scrape: Scrape | None) -> int:
        """The size."""
        return self._replicas


def _static(replicas: int) -> Factory:
    def make(scenario: Scenario) -> Policy:
        return Driver(StaticLaw(replicas), scenario, TICK_SECONDS)

    return make


RIVALS: Final = (
    Rival(
        name="static",
        settings=(24, 16, 12, 10, 8, 6, 4),
        knob="replicas",
        make=_static,
        source="llm-d/llm-d BENCHMARK.md @d38c9f0c (static 8)",
    ),
)
