"""What every rival has in common: a law that is asked at its own clock, and a grid of settings.

A law sees the fleet as Kubernetes shows it and the metrics as its Prometheus would hold them
(`scrape`), and nothing else. `Driver` makes a `Policy` of it: it keeps the limits of the intent,
and leaves the replicas alone while the fleet itself cannot be read. A rival has no gateway of ours,
hence no directive: requests wait first come, first served, and the engines admit by seats and KV
cache.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from thinkscale.model.intent import Intent
from thinkscale.model.observation import Observation
from thinkscale.simulation.policy import Factory, Order
from thinkscale.simulation.rivals.scrape import Fleet, Scrape, fleet_of, scrape_of
from thinkscale.simulation.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """One rival family."""

    name: str
    settings: tuple[Any, ...]
    """What is searched: values of the one knob that its users turn, from lavish to lean."""
    knob: str
    """What the setting is, in a few words."""
    make: Callable[[Any], Factory]
    source: str
    """Where its law was read: repository, file, commit."""


class Law(Protocol):
    """One rival in one run. It may keep state in itself."""

    def step(self, now: float, fleet: Fleet, scrape: Scrape | None) -> int:
        """Replicas wanted at this second. `scrape` None: the metrics could not be read."""
        ...


class Driver:
    """A law as a policy: its clock, the limits, and no answer without a fleet to answer for."""

    def __init__(self, law: Law, scenario: Scenario, every_seconds: float) -> None:
        self.law = law
        self._intent: Intent = scenario.intent
        self._every = every_seconds
        self._last = self._limited(scenario.initial_replicas)

    def tick(self, observation: Observation, now: datetime) -> Order:
        """Look, and order."""
        fleet = fleet_of(observation)
        if fleet is not None:
            at = now.timestamp()
            self._last = self._limited(self.law.step(at, fleet, scrape_of(observation, at)))
        return Order(replicas=self._last, next_tick_seconds=self._every)

    def _limited(self, replicas: int) -> int:
        return max(self._intent.min_replicas, min(self._intent.max_replicas, replicas))
