"""Knative's KPA on concurrency: a stable window, a panic window, the larger of both in a panic.

Source: knative/serving @98e5ef90, `pkg/autoscaler/scaling/autoscaler.go` and
`pkg/autoscaler/config/config.go`. Concurrency is summed over the pods, so it is divided by the
target without looking at their number; there is no tolerance and no memory beyond the windows. It
starts in a panic where more than one pod is ready, so that a restart does not shrink. Samples are
taken at each tick of 2 s instead of each second; the target burst capacity is left aside (it only
moves the activator).
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from thinkscale.simulation.policy import Factory, Policy
from thinkscale.simulation.rivals.load_test import load_test
from thinkscale.simulation.rivals.rival import Driver, Rival
from thinkscale.simulation.rivals.scrape import Fleet, Scrape
from thinkscale.simulation.scenario import Scenario

TICK_SECONDS: Final = 2.0
SHORTEST_PANIC_SECONDS: Final = 1.0
DELAY_SECONDS: Final = 120.0
"""`scale-down-delay` of the variant that has one: the window that our own scale-down has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`config-autoscaler`; its defaults."""

    target: float
    """Requests in flight per replica, the utilisation percentage included."""
    stable_seconds: float = 60.0
    panic_percent: float = 10.0
    panic_threshold: float = 2.0
    up_rate: float = 1000.0
    down_rate: float = 2.0
    delay_seconds: float = 0.0
    least: int = 0
    most: int = 0
    """0: no limit."""


class Kpa:
    """One revision's autoscaler."""

    def __init__(self, settings: Settings, *, ready: int, now: float) -> None:
        self._settings = settings
        self._panic_seconds = max(
            SHORTEST_PANIC_SECONDS, round(settings.stable_seconds * settings.panic_percent / 100)
        )
        self._samples: deque[tuple[float, float]] = deque()
        self._wanted: deque[tuple[float, int]] = deque()
        self._panic_at = now if ready > 1 else None
        self._most_in_panic = ready

    def sample(self, now: float, concurrency: float) -> None:
        """In flight now, over all pods."""
        self._samples.append((now, concurrency))

    def step(self, now: float, ready: int) -> int | None:
        """Replicas wanted; None: nothing was sampled within the stable window.

        A target of 10, 4 ready, 60 s at 80 in flight: ceil(80 / 10) = 8, twice the ready ones,
        which is a panic: the size cannot fall until a whole stable window has passed without one.
        """
        settings = self._settings
        while self._samples and self._samples[0][0] <= now - settings.stable_seconds:
            self._samples.popleft()
        if not self._samples:
            return None
        stable = sum(v for _, v in self._samples) / len(self._samples)
        recent = [v for t, v in self._samples if t > now - self._panic_seconds]
        panic = sum(recent) / len(recent) if recent else 0.0
        pods = max(1, ready)
        wanted = self._within_rates(math.ceil(stable / settings.target), pods)
        bare_panic = math.ceil(panic / settings.target)
        self._judge_panic(now, bare_panic / pods)
        if self._panic_at is not None:
            in_panic = self._within_rates(bare_panic, pods)
            self._most_in_panic = max(self._most_in_panic, wanted, in_panic)
            wanted = self._most_in_panic
        wanted = self._delayed(now, wanted)
        if settings.most:
            wanted = min(wanted, settings.most)
        return max(wanted, settings.least)

    def _within_rates(self, wanted: int, pods: int) -> int:
        most = math.ceil(self._settings.up_rate * pods)
        return min(max(wanted, math.floor(pods / self._settings.down_rate)), most)

    def _judge_panic(self, now: float, ratio: float) -> None:
        if ratio >= self._settings.panic_threshold:
            self._panic_at = now
        elif self._panic_at is not None and self._panic_at + self._settings.stable_seconds < now:
            self._panic_at, self._most_in_panic = None, 0

    def _delayed(self, now: float, wanted: int) -> int:
        if self._settings.delay_seconds <= 0:
            return wanted
        self._wanted.append((now, wanted))
        while self._wanted[0][0] <= now - self._settings.delay_seconds:
            self._wanted.popleft()
        return max(w for _, w in self._wanted)


class ConcurrencyLaw:
    """The KPA on requests in flight; without samples it decides nothing, and the size stays."""

    def __init__(self, scenario: Scenario, target: float, delay_seconds: float) -> None:
        self._settings = Settings(
            target=target,
            delay_seconds=delay_seconds,
            least=scenario.intent.min_replicas,
            most=scenario.intent.max_replicas,
        )
        self._kpa: Kpa | None = None

    def step(self, now: float, fleet: Fleet, scrape: Scrape | None) -> int:
        """Sample and decide."""
        if self._kpa is None:
            self._kpa = Kpa(self._settings, ready=fleet.ready, now=now)
        if scrape is not None:
            self._kpa.sample(now, scrape.in_flight)
        wanted = self._kpa.step(now, fleet.ready)
        return fleet.current if wanted is None else wanted


def _concurrency(delay_seconds: float, share: float) -> Factory:
    def make(scenario: Scenario) -> Policy:
        target = share * load_test(scenario).batch
        return Driver(ConcurrencyLaw(scenario, target, delay_seconds), scenario, TICK_SECONDS)

    return make


def _plain(share: float) -> Factory:
    return _concurrency(0.0, share)


def _with_delay(share: float) -> Factory:
    return _concurrency(DELAY_SECONDS, share)


SOURCE: Final = "knative/serving @98e5ef90, pkg/autoscaler/scaling/autoscaler.go"
SHARES: Final = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
KNOB: Final = "requests in flight per replica, as a share of a load test's"
RIVALS: Final = (
    Rival(name="kpa", settings=SHARES, knob=KNOB, make=_plain, source=SOURCE),
    Rival(name="kpa-delay", settings=SHARES, knob=KNOB, make=_with_delay, source=SOURCE),
)
