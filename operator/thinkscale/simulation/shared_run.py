"""Several services under one GPU limit in one virtual time, divided by our rule or otherwise.

Each is a simulation of its own; they go on in turns, always the one whose next event is the
earliest, so that a service that asks sees what the others hold at that very instant. A service
whose grant another has changed looks again at once, as the operator wakes it.

The rivals of the operator's rule are the limit cut into even parts once and for all, and no limit.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Final

import numpy as np

from thinkscale.simulation import statistics
from thinkscale.simulation.ours import Thinkscale, nothing_shared
from thinkscale.simulation.outcome import Numbers, Outcome
from thinkscale.simulation.run import Progress, Simulation
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.shared_limit import Shared
from thinkscale.simulation.shared_pool import Pool
from thinkscale.simulation.statistics import Blocks

POLICY: Final = "thinkscale"
WAKES_SECONDS: Final = 0.2
"""Between two ticks of a service, however often it is woken: the operator's `GAP_SECONDS`."""


class Division(StrEnum):
    """Who gets which of the GPUs."""

    SHARED = "shared"
    """By marginal value and priority, anew at each tick: the operator's GPUPool."""
    EVEN = "even_split"
    """The same number of replicas each, fixed; the first take what is left over."""
    UNLIMITED = "no_limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """What one division came to."""

    division: Division
    outcomes: Mapping[str, Outcome]
    """By service."""
    blocks: Blocks
    """All services' requests and GPU-hours, block by block."""
    held_at_seconds: Numbers
    held_gpus: Mapping[str, Numbers]
    """GPUs that a service holds from each of these times on, at every change, from order to
    removal.
    """

    @property
    def peak_gpus(self) -> int:
        """The most that were ever held together."""
        return int(sum(self.held_gpus.values(), np.zeros(len(self.held_at_seconds))).max())


def run(shared: Shared, division: Division, progress: Progress | None = None) -> Together:
    """One run of all services. `progress` is told the share that is done."""
    pool = Pool(shared.gpus, shared.priorities) if division is Division.SHARED else None
    scenarios = split(shared) if division is Division.EVEN else shared.services
    simulations: dict[str, Simulation] = {}
    for name, scenario in scenarios.items():
        granted = nothing_shared if pool is None else partial(pool.granted, name)
        simulations[name] = Simulation(scenario, partial(Thinkscale, granted=granted))
        if pool is not None:
            pool.join(name, scenario, simulations[name].members)
    _advance(simulations, pool, _meters(simulations, progress))
    outcomes = {name: one.outcome(POLICY) for name, one in simulations.items()}
    at, held = _held(simulations)
    return Together(
        division=division,
        outcomes=outcomes,
        blocks=_joint(outcomes, scenarios),
        held_at_seconds=at,
        held_gpus=held,
    )


def split(shared: Shared) -> dict[str, Scenario]:
    """Each service with an even part of the limit as its maximum. 14 GPUs, two for each replica:
    4 and 3 replicas.
    """
    parts = dict.fromkeys(shared.services, 0)
    sizes = {name: one.intent.gpus_per_replica for name, one in shared.services.items()}
    left = shared.gpus
    while taken := [name for name, size in sizes.items() if size <= left]:
        for name in taken:
            if sizes[name] <= left:
                left -= sizes[name]
                parts[name] += 1
    return {name: _at_most(one, parts[name]) for name, one in shared.services.items()}


def _at_most(scenario: Scenario, replicas: int) -> Scenario:
    intent = scenario.intent
    most = min(replicas, intent.max_replicas)
    return replace(
        scenario,
        intent=replace(intent, max_replicas=most, min_replicas=min(intent.min_replicas, most)),
        initial_replicas=min(most, scenario.initial_replicas),
    )


def _advance(
    simulations: Mapping[str, Simulation],
    pool: Pool | None,
    meters: Mapping[str, Progress | None],
) -> None:
    """In turns, to the end of all."""
    names = list(simulations)
    while True:
        due = {name: simulations[name].next_at for name in names}
        name = min(names, key=due.__getitem__)
        if due[name] == math.inf:
            return
        others = min((at for other, at in due.items() if other != name), default=math.inf)
        one = simulations[name]
        one.advance(max(others, math.nextafter(due[name], math.inf)), meters[name])
        for woken in pool.woken() if pool is not None else ():
            simulations[woken].tick_by(min(one.next_at, others), WAKES_SECONDS)


def _meters(
    simulations: Mapping[str, Simulation], progress: Progress | None
) -> dict[str, Progress | None]:
    """What each is to tell, so that the whole is told."""
    done = dict.fromkeys(simulations, 0.0)

    def meter(name: str, told: Callable[[float], None]) -> Progress:
        def tell(share: float) -> None:
            if share != done[name]:
                done[name] = share
                told(sum(done.values()) / len(done))

        return tell

    return {name: None if progress is None else meter(name, progress) for name in simulations}


def _joint(outcomes: Mapping[str, Outcome], scenarios: Mapping[str, Scenario]) -> Blocks:
    parts = [
        statistics.blocks_of(outcome, scenarios[name].warm_up_seconds)
        for name, outcome in outcomes.items()
    ]
    return Blocks(
        arrived=_sum([part.arrived for part in parts]),
        good=_sum([part.good for part in parts]),
        clean=_sum([part.clean for part in parts]),
        gpu_hours=_sum([part.gpu_hours for part in parts]),
    )


def _sum(columns: Sequence[Numbers]) -> Numbers:
    total: Numbers = np.sum(columns, axis=0)
    return total


def _held(simulations: Mapping[str, Simulation]) -> tuple[Numbers, dict[str, Numbers]]:
    """Every instant at which a replica is ordered or goes, and the GPUs of each service then."""
    lives = {
        name: (
            np.sort([max(0.0, member.ordered_at) for member in one.members.all]),
            np.sort([member.gone_at for member in one.members.all]),
        )
        for name, one in simulations.items()
    }
    at = np.unique(np.concatenate([ends for life in lives.values() for ends in life]))
    at = at[np.isfinite(at)]
    return at, {
        name: simulations[name].scenario.intent.gpus_per_replica
        * (
            np.searchsorted(begun, at, side="right") - np.searchsorted(gone, at, side="right")
        ).astype(np.float64)
        for name, (begun, gone) in lives.items()
    }
