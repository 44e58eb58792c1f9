"""What scales a simulated fleet: our law, a rival, or a schedule.

A policy sees an `Observation` and nothing else: made from the `/signals` schema, with its delay and
loss. It is made anew for each run by a factory, so it may keep state in itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from thinkscale.model.directive import Directive
from thinkscale.model.observation import Observation
from thinkscale.simulation.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a policy wants at one instant."""

    replicas: int
    """`spec.replicas` of the workload: replicas that exist, the cordoned ones included."""
    retire: tuple[str, ...] = ()
    """Which ones go first when there are more. Not named: warming ones, the newest first, then
    those with the fewest requests; each drains: it finishes what it has, unless it is idle.
    """
    directive: Directive | None = None
    """For the gateways. None: there is no gateway of ours; requests go first come, first served to
    the engine with the fewest, which admits by seats and KV cache alone.
    """
    next_tick_seconds: float = 15.0
    wanted: int | None = None
    """Replicas that are to serve, the cordoned ones left out; None: all that exist."""


class Policy(Protocol):
    """One scaler in one run."""

    def tick(self, observation: Observation, now: datetime) -> Order:
        """Look, and order. Deterministic."""
        ...


Factory = Callable[[Scenario], Policy]
"""Makes a policy for a run of this scenario (it may read the intent, never the workload; a schedule
and an oracle read all).
"""
