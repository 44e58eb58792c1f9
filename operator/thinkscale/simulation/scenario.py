"""One experiment: a workload, the fleet that it meets, what is asked of it, and what goes wrong.

`profile` is the truth that the replicas obey; `prior` is what a policy is told. Everything random
comes from `seed`, so that a scenario is the same bit for bit wherever it runs.
"""

from dataclasses import dataclass, field, replace

from thinkscale.fleet.profile import REFERENCE, Profile
from thinkscale.model.intent import Intent
from thinkscale.simulation.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """Ordered to ready: normal, cut at a tenth of the mean and below."""

    mean_seconds: float = 240.0
    deviation_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong."""

    lost_scrapes: float = 0.0
    """Share of observations whose signals failed."""
    scrape_delay_seconds: float = 0.0
    """Signals show the fleet as it was so long ago."""
    crashes_at_seconds: tuple[float, ...] = ()
    """The busiest replica dies then; its requests start anew at the head of the queue, and the
    workload replaces it (a boot).
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Seconds are of virtual time from 0."""

    name: str
    seed: int
    workload: Workload
    intent: Intent
    """What the user declared: limits, objectives, budget, allowance. Its `step_time` and
    `kv_tokens` are the policy's prior.
    """
    profile: Profile = REFERENCE
    boot: Boot = field(default_factory=Boot)
    faults: Faults = field(default_factory=Faults)
    duration_seconds: float
    """Arrivals end here; what is in flight then is served to its end, unbilled but scored."""
    warm_up_seconds: float = 1800.0
    """Neither scored nor billed."""
    initial_replicas: int
    gateways: int = 1
    """Each has its own queue and its share of the ceiling; arrivals are spread evenly."""
    cut_costs_prefill: bool = False
    """Closing a thought re-computes its context (abort and continue without a prefix cache) instead
    of being free.
    """

    @property
    def target(self) -> float:
        """The share of requests that the laxest of the objectives wants; 1: there is none."""
        return min((objective.objective for objective in self.intent.objectives), default=1.0)


def uncut(intent: Intent) -> Intent:
    """The same without a brown-out: nobody's thought may be cut by load."""
    budget = replace(intent.budget, floor_tokens=intent.budget.max_tokens)
    return replace(intent, budget=budget, truncation_allowance=0.0)
