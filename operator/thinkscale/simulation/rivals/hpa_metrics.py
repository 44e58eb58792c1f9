"""The HPA on four metrics: request rate, concurrency, KV-cache usage, queue length.

Its default behaviour throughout (15 s, tolerance 0.1, up at once by at most doubling or four pods,
down after 300 s); source: see `hpa`. Rate and concurrency targets are shares of what a load test of
the present mix gives; KV usage and queue length are absolute, as their users write them. A metric
that cannot be read proposes nothing, so the size stays.
"""

from collections.abc import Callable
from typing import Final

from thinkscale.simulation.policy import Factory, Policy
from thinkscale.simulation.rivals.hpa import SYNC_SECONDS, Hpa, external_average, pods_average
from thinkscale.simulation.rivals.load_test import load_test
from thinkscale.simulation.rivals.rival import Driver, Rival
from thinkscale.simulation.rivals.scrape import Fleet, History, Scrape
from thinkscale.simulation.scenario import Scenario

RATE_WINDOW_SECONDS: Final = 60.0
SOURCE: Final = "kubernetes/website HPA page @01650250; kubernetes podautoscaler @00067268"

Proposal = Callable[[float, Fleet, Scrape | None], int | None]


class MetricLaw:
    """The HPA with one metric."""

    def __init__(self, scenario: Scenario, proposal: Proposal) -> None:
        self._hpa = Hpa(scenario.intent.min_replicas, scenario.intent.max_replicas)
        self._proposal = proposal

    def step(self, now: float, fleet: Fleet, scrape: Scrape | None) -> int:
        """One sync."""
        return self._hpa.step(now, fleet.current, [self._proposal(now, fleet, scrape)])


class RateProposal:
    """External metric: requests per second over a minute, by a target for each replica."""

    def __init__(self, target_per_second: float) -> None:
        self.target = target_per_second
        self._history = History(RATE_WINDOW_SECONDS)

    def __call__(self, now: float, fleet: Fleet, scrape: Scrape | None) -> int | None:
        """None: no two scrapes within the window."""
        self._history.add(scrape, now)
        rate = self._history.arrivals_per_second()
        return None if rate is None else external_average(fleet.current, rate, self.target)


def concurrency_proposal(target: float) -> Proposal:
    """Pods metric: requests in flight (running and waiting) of each replica."""

    def propose(_: float, fleet: Fleet, scrape: Scrape | None) -> int | None:
        if scrape is None or not scrape.pods:
            return None
        values = [pod.running + pod.waiting for pod in scrape.pods]
        return _pods(fleet, values, target)

    return propose


def kv_proposal(target: float) -> Proposal:
    """Pods metric: the share of the KV cache in use."""

    def propose(_: float, fleet: Fleet, scrape: Scrape | None) -> int | None:
        if scrape is None or not scrape.pods:
            return None
        return _pods(fleet, [pod.kv_usage for pod in scrape.pods], target)

    return propose


def queue_proposal(target: float) -> Proposal:
    """External metric: requests waiting, in sum, by a target for each replica."""

    def propose(_: float, fleet: Fleet, scrape: Scrape | None) -> int | None:
        if scrape is None:
            return None
        return external_average(fleet.current, scrape.waiting, target)

    return propose


def _pods(fleet: Fleet, values: list[float], target: float) -> int | None:
    missing = max(0, fleet.ready - len(values))
    pending = max(0, fleet.current - fleet.ready)
    return pods_average(fleet.current, values, target, missing=missing, pending=pending)


def _rate(share: float) -> Factory:
    def make(scenario: Scenario) -> Policy:
        target = share * load_test(scenario).requests_per_second
        return Driver(MetricLaw(scenario, RateProposal(target)), scenario, SYNC_SECONDS)

    return make


def _concurrency(share: float) -> Factory:
    def make(scenario: Scenario) -> Policy:
        target = share * load_test(scenario).batch
        return Driver(MetricLaw(scenario, concurrency_proposal(target)), scenario, SYNC_SECONDS)

    return make


def _kv(usage: float) -> Factory:
    def make(scenario: Scenario) -> Policy:
        return Driver(MetricLaw(scenario, kv_proposal(usage)), scenario, SYNC_SECONDS)

    return make


def _queue(waiting: float) -> Factory:
    def make(scenario: Scenario) -> Policy:
        return Driver(MetricLaw(scenario, queue_proposal(waiting)), scenario, SYNC_SECONDS)

    return make


RIVALS: Final = (
    Rival(
        name="hpa-rate",
        settings=(0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        knob="requests/s per replica, as a share of a load test's",
        make=_rate,
        source=SOURCE,
    ),
    Rival(
        name="hpa-concurrency",
        settings=(0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        knob="requests in flight per replica, as a share of a load test's",
        make=_concurrency,
        source=SOURCE,
    ),
    Rival(
        name="hpa-kv",
        settings=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        knob="KV-cache usage",
        make=_kv,
        source=SOURCE,
    ),
    Rival(
        name="hpa-queue",
        settings=(0.5, 1.0, 2.0, 5.0, 10.0, 20.0),
        knob="requests waiting per replica",
        make=_queue,
        source=SOURCE,
    ),
)
