"""Our law as a policy: the operator's own `decide`, its memory, and its way of giving orders.

As the operator's tick does it: the state comes back at the next tick, a blocked decision changes
nothing, and a directive is given with each decision (the gateways obey what it says; that the
operator skips writes that would change nothing makes no difference to them). Where a GPU limit is
shared, the law is asked again within the grant, as `controller.judge` does.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from thinkscale.model.decision import Blocked, Decision, Hold, Scale
from thinkscale.model.observation import Observation
from thinkscale.scaling import State, decide
from thinkscale.simulation.policy import Order, Policy
from thinkscale.simulation.scenario import Scenario

Granted = Callable[[Decision], int | None]
"""Replicas that a shared GPU limit leaves of what was decided as if nothing were shared; None: all
that it wants.
"""


def nothing_shared(_: Decision) -> None:
    """There is no limit."""


class Thinkscale:
    """`decide`, run after run of one scenario."""

    guarded = True
    """Ticks out of turn when the requests in flight have jumped: `run.GUARD_SHARE`. The operator's
    guard (`signals.poller`) is coarser: a quarter of a gateway's thinking depth and three requests
    at least, or a replica that comes or goes.
    """

    def __init__(self, scenario: Scenario, granted: Granted = nothing_shared) -> None:
        self._intent = scenario.intent
        self._granted = granted
        self._size = scenario.initial_replicas
        self.state = State.initial()
        self.decision: Decision | None = None

    def tick(self, observation: Observation, now: datetime) -> Order:
        """Decide, and order it."""
        decision, state = decide(self._intent, observation, self.state, now)
        granted = self._granted(decision)
        if granted is not None:
            within = replace(self._intent, granted_replicas=granted)
            decision, state = decide(within, observation, self.state, now)
        self.decision, self.state = decision, state
        match decision.replicas:
            case Scale(to=size) | Hold(at=size):
                self._size = size
            case Blocked():
                pass
        return Order(
            replicas=self._size,
            retire=decision.retire,
            directive=decision.directive,
            next_tick_seconds=decision.next_tick_seconds,
            wanted=decision.wanted,
        )


def thinkscale(scenario: Scenario) -> Policy:
    """The factory."""
    return Thinkscale(scenario)
