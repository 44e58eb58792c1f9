"""llm-d's SLO-aware law: the 90th percentile of latency by its SLO, a dead band, in-flight credit.

Source: llm-d/llm-d, `guides/workload-autoscaling/README.slo-aware.md` @d38c9f0c. Every 15 s the
worse of TTFT and TPOT by their SLOs, clamped at 2 before it is smoothed over 45 s; the formula's
result goes through a KEDA-made HPA of target 1. Measured percentiles over a minute stand for the
guide's predicted ones (their own "cold predictor" row); TPOT is that of the engine steps. No data
reads as no load, as their recording rules have it: a lost Prometheus shrinks this fleet.

The HPA's tolerance of a tenth is left out: it never acts at the published size of eight, and would
swallow single steps of larger fleets.
"""

import math
from collections import deque
from typing import Final

from thinkscale.model.intent import Behavior, Indicator, Intent, StepPolicy
from thinkscale.simulation.design_point import pace_limit_seconds
from thinkscale.simulation.policy import Factory, Policy
from thinkscale.simulation.rivals.hpa import SYNC_SECONDS, Hpa, external_average
from thinkscale.simulation.rivals.rival import Driver, Rival
from thinkscale.simulation.rivals.scrape import Fleet, History, Scrape
from thinkscale.simulation.scenario import Scenario

CLAMP: Final = 2.0
SMOOTHED_SECONDS: Final = 45.0
WINDOW_SECONDS: Final = 60.0
QUANTILE: Final = 0.9
DOWN_BY_UP: Final = 0.40 / 0.55
"""The published thresholds; the grid moves both."""
PUBLISHED_TTFT_SECONDS: Final = 3.0
PUBLISHED_TPOT_SECONDS: Final = 0.1
UP: Final = Behavior(
    stabilization_window_seconds=30.0,
    policies=(
        StepPolicy(percent=100, period_seconds=60.0),
        StepPolicy(pods=4, period_seconds=60.0),
    ),
)
DOWN: Final = Behavior(
    stabilization_window_seconds=180.0, policies=(StepPolicy(pods=1, period_seconds=120.0),)
)


def desired(signal: float, replicas: int, ready: int, up: float, down: float) -> int:
    """The control law.

    At 0.55/0.40, 4 replicas all ready, signal 1.1: 4 + ceil(4 * (1.1 / 0.55 - 1)) = 8. The same
    with 8 of which 4 are ready: the credit 4/8 leaves 8 + ceil(8 * (0.55 / 0.55 - 1)) = 8.
    """
    if signal > up:
        credit = ready / replicas if 0 < ready < replicas else 1.0
        return replicas + math.ceil(round(replicas * (signal * credit / up - 1), 9))
    if signal < down:
        return replicas - math.floor(round(replicas * (1 - signal / down), 9))
    return replicas


def saturation(ttft: float | None, tpot: float | None, ttft_slo: float, tpot_slo: float) -> float:
    """The worse ratio, clamped; what is not there counts as 0."""
    return min(CLAMP, max((ttft or 0.0) / ttft_slo, (tpot or 0.0) / tpot_slo))


def slos(intent: Intent) -> tuple[float, float]:
    """TTFT and TPOT in seconds; the published ones where the intent has none."""
    ttft = [
        objective.threshold_seconds
        for objective in intent.objectives
        if objective.indicator is Indicator.TIME_TO_FIRST_TOKEN
    ]
    pace = pace_limit_seconds(intent)
    return (
        min(ttft, default=PUBLISHED_TTFT_SECONDS),
        PUBLISHED_TPOT_SECONDS if pace is None else pace,
    )


class SloLaw:
    """Recording rules, formula and HPA of one pool."""

    def __init__(self, scenario: Scenario, up: float) -> None:
        intent = scenario.intent
        self._slos = slos(intent)
        self._up, self._down = up, up * DOWN_BY_UP
        self._history = History(WINDOW_SECONDS)
        self._signals: deque[tuple[float, float]] = deque()
        self._hpa = Hpa(intent.min_replicas, intent.max_replicas, up=UP, down=DOWN)

    def step(self, now: float, fleet: Fleet, scrape: Scrape | None) -> int:
        """One evaluation."""
        self._history.add(scrape, now)
        raw = saturation(
            self._history.ttft_quantile(QUANTILE),
            self._history.token_seconds_quantile(QUANTILE),
            *self._slos,
        )
        self._signals.append((now, raw))
        while self._signals[0][0] <= now - SMOOTHED_SECONDS:
            self._signals.popleft()
        signal = sum(value for _, value in self._signals) / len(self._signals)
        wanted = desired(signal, fleet.current, fleet.ready, self._up, self._down)
        proposal = external_average(fleet.current, wanted, 1.0, tolerance=0.0)
        return self._hpa.step(now, fleet.current, [proposal])


def _slo(up: float) -> Factory:
    def make(scenario: Scenario) -> Policy:
        return Driver(SloLaw(scenario, up), scenario, SYNC_SECONDS)

    return make


RIVALS: Final = (
    Rival(
        name="llmd-slo",
        settings=(0.45, 0.55, 0.65, 0.75, 0.85, 0.95),
        knob="scale-up threshold (scale-down at 0.40/0.55 of it)",
        make=_slo,
        source="llm-d/llm-d guides/workload-autoscaling/README.slo-aware.md @d38c9f0c",
    ),
)
