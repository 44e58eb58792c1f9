"""One replica alone under a workload: what a measurement against a real engine is compared with.

No gateway, no scaling, nothing billed: requests come first, first served, as to an engine that
clients call directly. All requests are kept, from second 0 on.
"""

from datetime import datetime

from thinkscale.fleet.profile import Profile
from thinkscale.model.intent import Behavior, Budget, Intent, Mode
from thinkscale.model.observation import Observation
from thinkscale.simulation.outcome import Outcome
from thinkscale.simulation.policy import Order
from thinkscale.simulation.run import run
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.workload import Workload


class _One:
    """Never moves."""

    def tick(self, observation: Observation, now: datetime) -> Order:
        return Order(replicas=1)


def one_replica(workload: Workload, profile: Profile) -> Outcome:
    """What this replica makes of the workload."""
    scenario = Scenario(
        name=workload.name,
        seed=0,
        workload=workload,
        intent=_intent(profile),
        profile=profile,
        duration_seconds=float(workload.at_seconds[-1]) + 1.0,
        warm_up_seconds=0.0,
        initial_replicas=1,
    )
    return run(scenario, lambda _: _One(), policy="one replica")


def _intent(profile: Profile) -> Intent:
    """Nothing is asked of it."""
    free = Behavior(stabilization_window_seconds=0.0)
    return Intent(
        service="fidelity/engine",
        mode=Mode.MANUAL,
        manual_replicas=1,
        min_replicas=1,
        max_replicas=1,
        scale_to_zero_after_seconds=None,
        scale_up=free,
        scale_down=free,
        seats_per_replica=profile.seats,
        gpus_per_replica=1,
        startup_seconds=profile.startup_seconds,
        budget=Budget(),
        answer_max_tokens=None,
        objectives=(),
    )
