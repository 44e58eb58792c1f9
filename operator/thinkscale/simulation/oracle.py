"""What a fleet costs at least in practice: a clairvoyant's plan, simulated, at a target attainment.

It knows all arrivals and lengths, has each replica ready when it is needed, and pays for its boot.
First a plan that follows the ideal occupancy, its factor found by simulation; then the best of what
was tried at each time (`stitching`). About ten simulations in all. The optimum lies between the
lower bound of the work and this.

By default it has what the rivals have: engines that admit first come, first served, and no gateway.
With `gateway` it has our admission ceiling and fresh-first queue too, but may cut nothing.
"""

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

FITS: Final = 6
"""Simulations that fit the factor of each block."""
STITCHES: Final = 4
RUNS: Final = FITS + STITCHES
BLOCKS: Final = 96
SPARE: Final = 0.25
"""theta: by how much of a replica the occupancy times the factor may exceed whole ones."""
FIRST_FACTOR: Final = 1.08
WARM_UP_FACTOR: Final = 1.2
FACTOR_STEP: Final = 0.012
"""Per e-fold of the misses over those allowed in a block."""
LOOSEN, TIGHTEN = 0.04, 0.025
"""Steps of the factor are no larger."""
LOST_SHARE: Final = 0.3
"""A block that fails more of its requests has collapsed."""
ORIGIN_BLOCKS: Final = 3
"""Before the one that collapsed, in which that may have begun."""
LOOK_SECONDS: Final = 30.0
AIM: Final = 0.95
"""Of the allowed misses: what a stitched plan is aimed at."""
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
    true = _undelayed(scenario)
    found = oracle_cache.key(true, f"target {target} gateway {gateway}")
    known = oracle_cache.load(found)
    if known is not None:
        return _Search(true, gateway, target, progress, runs=1).simulated(known)
    search = _Search(true, gateway, target, progress, runs=RUNS)
    levels, outcome = search.best()
    about = {"scenario": scenario.name, "seed": scenario.seed, "gpu_hours": outcome.gpu_hours}
    oracle_cache.store(found, levels, about)
    return outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    tried: Tried
    missed: float
    gpu_hours: float


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
        self.arrivals = self._by_block(workload.at_seconds[scored])
        self.trials: list[_Trial] = []
        self.leader: tuple[_Trial, Outcome] | None = None
        """The best so far; of the others the outcome, large as it is, is not kept."""

    def best(self) -> tuple[Levels, Outcome]:
        """Search, and return the cheapest that is good enough, with what it came to."""
        self._fit()
        self._stitch()
        if min(trial.missed for trial in self.trials) > self.allowed:
            most = self.scenario.intent.max_replicas
            self._try(np.full(len(self.occupied), most, dtype=np.int64))
        assert self.leader is not None
        best, outcome = self.leader
        return best.tried.levels, outcome

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
        # A block that fails few beside one that fails many owes that to luck.
        missed = self._by_block(bad)
        tried = Tried(levels=levels, missed=np.maximum(missed, _around(missed)))
        trial = _Trial(tried=tried, missed=float(len(bad)), gpu_hours=outcome.gpu_hours)
        self.trials.append(trial)
        if self.leader is None or self._rank(trial) < self._rank(self.leader[0]):
            self.leader = trial, outcome
        return trial

    def _rank(self, trial: _Trial) -> tuple[float, float]:
        """Less is better: misses beyond the allowed, then the bill."""
        return max(0.0, trial.missed - self.allowed), trial.gpu_hours

    def _by_block(self, at_seconds: Values) -> Values:
        cells = (at_seconds / CELL_SECONDS).astype(np.int64) - self.first_cell
        block = np.clip(cells // self.block_cells, 0, self.blocks - 1)
        return np.bincount(block, minlength=self.blocks).astype(float)

    def _fit(self) -> None:
        """Tighten each block while it fails nobody, loosen it while it fails its share.

        An engine whose KV cache overflows computes tokens twice and does not recover by itself: the
        blocks behind the one in which that began tell nothing, and that one and those before it go
        back to what was good last.
        """
        factors = np.full(self.blocks, FIRST_FACTOR)
        good = np.full(self.blocks, FIRST_FACTOR + LOOSEN)
        share = self.allowed / self.blocks
        for _ in range(FITS):
            missed = self._try(self._levels(factors)).tried.missed
            around = _around(missed)
            excess = FACTOR_STEP * np.log((around + 1) / (share + 1))
            lost = missed > LOST_SHARE * self.arrivals
            blind = lost & np.concatenate(([False], lost[:-1]))
            good = np.where((around <= share) & ~lost, factors, good)
            factors = factors + np.where(blind, 0.0, np.clip(excess, -TIGHTEN, LOOSEN))
            for origin in np.flatnonzero(lost & ~blind):
                back = slice(max(0, origin - ORIGIN_BLOCKS), origin + 2)
                factors[back] = np.maximum(factors, good)[back]

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
            aim *= max(0.4, min(1.6, AIM * (self.allowed + 1) / (trial.missed + 1)))

    def _levels(self, factors: Values) -> Levels:
        middles = self.first_cell + self.block_cells * (np.arange(self.blocks) + 0.5)
        factor = np.interp(np.arange(len(self.occupied)), middles, factors)
        # The warm-up is neither paid for nor scored, but an overload in it would last.
        factor[: self.first_cell] = WARM_UP_FACTOR
        return plan(
            factor * self.occupied,
            SPARE,
            boot_seconds=self.scenario.boot.mean_seconds,
            look_seconds=LOOK_SECONDS,
            limits=(self.scenario.intent.min_replicas, self.scenario.intent.max_replicas),
        )


def _around(missed: Values) -> Values:
    """The mean with the neighbours."""
    return np.convolve(np.pad(missed, 1, mode="edge"), (0.25, 0.5, 0.25), mode="valid")


def _undelayed(scenario: Scenario) -> Scenario:
    """It uses no scrape; that somebody looked at the engines in between would round otherwise."""
    return replace(scenario, faults=replace(scenario.faults, scrape_delay_seconds=0.0))


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
