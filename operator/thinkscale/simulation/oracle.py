"""What a fleet costs at least in practice: a clairvoyant's plan, simulated, at a target attainment.

It knows all arrivals and lengths, has each replica ready when it is needed, and pays for its boot.
First a plan that follows the ideal occupancy, its factor found by simulation; then the best of what
was tried at each time (`stitching`). About ten simulations in all. The optimum lies between the
lower bound of the work and this.

By default it has what the rivals have: engines that admit first come, first served, and no gateway.
With `gateway` it has our admission ceiling and fresh-first queue too, but may cut nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from thinkscale.model.admission import Ceiling
from thinkscale.model.directive import Directive
from thinkscale.model.intent import Indicator
from thinkscale.model.queueing import QueueRule
from thinkscale.simulation import oracle_cache
from thinkscale.simulation.clairvoyance import (
    CELL_SECONDS,
    Levels,
    Shape,
    Values,
    bridged,
    occupancy,
    plan,
    steps,
)
from thinkscale.simulation.design_point import design_point, pace_limit_seconds
from thinkscale.simulation.outcome import Outcome
from thinkscale.simulation.run import run
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.schedule import scheduled
from thinkscale.simulation.stitching import Tried, stitch

Progress = Callable[[float], None]

SPARES: Final = (0.25, 0.0, 0.5)
"""theta: the first is searched; the others are tried at about the same cost."""
FACTORS: Final = 4
"""Simulations that search the factor."""
STITCHES: Final = 3
RUNS: Final = FACTORS + len(SPARES) - 1 + STITCHES
FIRST_FACTOR: Final = 1.05
FACTORS_WITHIN: Final = (0.7, 1.6)
STEEPNESS: Final = 40.0
"""How much the logarithm of the misses falls for a factor larger by one, before two runs told."""
LOOK_SECONDS: Final = 30.0
BLOCKS: Final = 96
CLOSE_ENOUGH: Final = 0.9
"""Of the allowed misses: a plan that has as many needs no further search."""
PACE_SHARE: Final = 0.95
"""Of the pace objective that a step may take under the admission ceiling."""


def oracle(
    scenario: Scenario,
    *,
    target: float = 0.99,
    gateway: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """The cheapest plan found that serves at least `target` of the requests well; where none does
    (a limit binds), the one that serves most. `progress`: the share of all work that is done.
    """
    true = _undisturbed(scenario)
    found = oracle_cache.key(true, f"target {target} gateway {gateway}")
    known = oracle_cache.load(found)
    if known is not None:
        return _Search(true, gateway, target, progress, runs=1).simulated(known)
    search = _Search(true, gateway, target, progress, runs=RUNS)
    best = search.best()
    about = {"scenario": scenario.name, "seed": scenario.seed, "gpu_hours": best.outcome.gpu_hours}
    oracle_cache.store(found, best.tried.levels, about)
    return best.outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    tried: Tried
    outcome: Outcome
    missed: float

    @property
    def cost(self) -> float:
        return self.outcome.gpu_hours


class _Search:
    """Plans for one scenario, simulated one after another."""

    def __init__(
        self,
        scenario: Scenario,
        gateway: bool,
        target: float,
        progress: Progress | None,
        *,
        runs: int,
    ) -> None:
        self.scenario = scenario
        self.name = "oracle-gateway" if gateway else "oracle"
        self.directive = _directive(scenario) if gateway else None
        self.progress = progress
        self.runs = runs
        self.done = 0
        workload, profile = scenario.workload, scenario.profile
        one = design_point(workload, profile, pace_limit_seconds(scenario.intent))
        self.occupied: Values = occupancy(
            workload, profile, one.token_seconds, scenario.duration_seconds
        )
        scored = workload.at_seconds >= scenario.warm_up_seconds
        self.allowed = float((1 - target) * np.count_nonzero(scored))
        self.first_cell = int(scenario.warm_up_seconds / CELL_SECONDS)
        scored_cells = (scenario.duration_seconds - scenario.warm_up_seconds) / CELL_SECONDS
        self.block_cells = max(6, int(scored_cells / BLOCKS))
        self.blocks = max(1, int(scored_cells / self.block_cells))
        self.trials: list[_Trial] = []

    def best(self) -> _Trial:
        """Search, and return the cheapest that is good enough."""
        factor = self._factor(SPARES[0])
        for spare in SPARES[1:]:
            self._try(self._levels(self._equal_cost(factor, spare)))
        self._stitch()
        good = [trial for trial in self.trials if trial.missed <= self.allowed]
        if good:
            return min(good, key=lambda trial: trial.cost)
        return min(self.trials, key=lambda trial: trial.missed)

    def simulated(self, levels: Levels) -> Outcome:
        """What this plan comes to."""
        times, replicas = steps(levels)
        before = self.done / self.runs

        def report(share: float) -> None:
            if self.progress is not None:
                self.progress(before + share / self.runs)

        outcome = run(
            self.scenario,
            scheduled(times, replicas, directive=self.directive),
            policy=self.name,
            progress=report,
        )
        self.done += 1
        return outcome

    def _try(self, levels: Levels) -> _Trial:
        outcome = self.simulated(levels)
        bad = outcome.requests.arrived_seconds[~outcome.requests.good]
        cells = (bad / CELL_SECONDS).astype(np.int64) - self.first_cell
        block = np.clip(cells // self.block_cells, 0, self.blocks - 1)
        missed = np.bincount(block, minlength=self.blocks).astype(float)
        trial = _Trial(
            tried=Tried(levels=levels, missed=missed), outcome=outcome, missed=float(len(bad))
        )
        self.trials.append(trial)
        return trial

    def _factor(self, spare: float) -> float:
        """The factor at which the misses are just allowed, by the secant of their logarithm."""
        points: list[tuple[float, float]] = []
        factor = FIRST_FACTOR
        while len(points) < FACTORS:
            trial = self._try(self._levels(Shape(factor=factor, spare=spare)))
            points.append((factor, math.log((trial.missed + 1) / (self.allowed + 1))))
            if CLOSE_ENOUGH * self.allowed <= trial.missed <= self.allowed:
                break
            factor = _next_factor(points)
        return min(points, key=lambda point: abs(point[1]))[0]

    def _equal_cost(self, factor: float, spare: float) -> Shape:
        """The shape with this spare whose replica-seconds are those of the searched one."""
        wanted = self._levels(Shape(factor=factor, spare=SPARES[0])).sum()
        low, high = FACTORS_WITHIN
        for _ in range(20):
            middle = (low + high) / 2
            if self._levels(Shape(factor=middle, spare=spare)).sum() < wanted:
                low = middle
            else:
                high = middle
        return Shape(factor=high, spare=spare)

    def _stitch(self) -> None:
        """Aim at the allowed misses, and lower when blocks turn out to touch each other."""
        gap = round(self.scenario.boot.mean_seconds / CELL_SECONDS)
        aim = self.allowed
        for _ in range(STITCHES):
            stitched = stitch(
                [trial.tried for trial in self.trials],
                aim,
                first_cell=self.first_cell,
                block_cells=self.block_cells,
                boot_seconds=self.scenario.boot.mean_seconds,
            )
            if stitched is None:
                return
            levels = bridged(stitched.levels, gap)
            same = [t for t in self.trials if np.array_equal(t.tried.levels, levels)]
            trial = same[0] if same else self._try(levels)
            if trial.missed > self.allowed:
                aim *= max(0.3, min(0.9, self.allowed / trial.missed))
            elif trial.missed > CLOSE_ENOUGH * self.allowed:
                aim = self.allowed
            else:
                aim *= min(2.0, (self.allowed + 1) / (trial.missed + 1))

    def _levels(self, shape: Shape) -> Levels:
        return plan(
            self.occupied,
            shape,
            boot_seconds=self.scenario.boot.mean_seconds,
            look_seconds=LOOK_SECONDS,
            limits=(self.scenario.intent.min_replicas, self.scenario.intent.max_replicas),
        )


def _next_factor(points: list[tuple[float, float]]) -> float:
    """Where the logarithm of misses over allowed should be nought."""
    (factor, excess) = points[-1]
    steep = STEEPNESS
    if len(points) > 1:
        before, excess_before = min(points[:-1], key=lambda point: abs(point[1]))
        if factor != before and (excess_before - excess) / (factor - before) > 1.0:
            steep = (excess_before - excess) / (factor - before)
    moved = factor + max(-0.08, min(0.08, excess / steep))
    over = [f for f, e in points if e > 0]
    under = [f for f, e in points if e <= 0]
    if over and under and not max(over) < moved < min(under):
        moved = (max(over) + min(under)) / 2
    return max(FACTORS_WITHIN[0], min(FACTORS_WITHIN[1], moved))


def _undisturbed(scenario: Scenario) -> Scenario:
    """Nothing that only a policy without foresight meets."""
    return replace(scenario, faults=replace(scenario.faults, lost_scrapes=0.0,
                                            scrape_delay_seconds=0.0))  # fmt: skip


def _directive(scenario: Scenario) -> Directive:
    """Our gateway with the true step time, and no brown-out."""
    pace = pace_limit_seconds(scenario.intent)
    waits = [
        objective.threshold_seconds
        for objective in scenario.intent.objectives
        if objective.indicator is Indicator.TIME_TO_FIRST_TOKEN
    ]
    return Directive(
        id="oracle",
        gateways=scenario.gateways,
        ceiling=Ceiling(
            seats=scenario.profile.seats,
            kv_tokens=scenario.profile.kv_tokens,
            step_time=scenario.profile.step_time,
            step_limit_seconds=None if pace is None else PACE_SHARE * pace,
        ),
        queue=QueueRule(fresh_seconds=min(waits, default=None)),
    )
