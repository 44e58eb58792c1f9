"""What `decide` answers: replicas, cordon and directive together, with the reason that every
surface shows.

Conditions, events, log lines, `kubectl get` and the report all take their words from here, so they
cannot disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from thinkscale.model.directive import Directive


class Reason(StrEnum):
    """Why the replicas are what they are. The values are condition and event reasons."""

    STEADY = "Steady"
    OCCUPANCY = "ThinkingOccupancy"
    BACKLOG = "ThinkingBacklog"
    TAIL_LATENCY = "TailLatency"
    MIN_REPLICAS = "MinReplicas"
    MAX_REPLICAS = "MaxReplicas"
    SURPLUS = "Surplus"
    DRAINING_SURPLUS = "DrainingSurplus"
    STABILIZING = "Stabilizing"
    IDLE = "Idle"
    WAKING = "Waking"
    SIGNALS_ABSENT = "SignalsAbsent"
    SIGNALS_STALE = "SignalsStale"
    SIGNALS_PARTIAL = "SignalsPartial"
    ROLLING = "Rolling"
    MANUAL = "Manual"
    ADVISORY = "Advisory"
    FLEET_UNKNOWN = "FleetUnknown"


class LimitedBy(StrEnum):
    """The limit that kept the replicas from what the terms wished."""

    NONE = "None"
    MIN_REPLICAS = "MinReplicas"
    MAX_REPLICAS = "MaxReplicas"
    GPU_POOL = "GPUPool"
    SCALE_UP_POLICY = "ScaleUpPolicy"
    SCALE_DOWN_POLICY = "ScaleDownPolicy"
    STABILIZATION = "Stabilization"
    STUCK_REPLICAS = "StuckReplicas"
    SIGNALS = "Signals"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Set the workload to this many replicas."""

    to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Leave the replicas as they are (they are restated, never omitted)."""

    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """No decision is possible: the fleet itself could not be read. Write nothing."""


Replicas: TypeAlias = Scale | Hold | Blocked


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One term's wish, for people: which replicas it asked for and by which arithmetic."""

    name: str
    wish: int | None
    """None: the term had nothing to say (its reading was missing)."""
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision about one service at one instant. One may hold replicas *and* move the budget
    *and* cordon.
    """

    id: str
    replicas: Replicas
    wanted: int
    """Replicas that the law wants to keep serving (after limits); below the workload's size while
    victims drain.
    """
    cordon: frozenset[str]
    """Replicas (pod names) that get no new request from now on."""
    retire: tuple[str, ...]
    """Cordoned and idle: the ones that the next fall of `spec.replicas` must take (marked by their
    deletion cost).
    """
    directive: Directive
    next_tick_seconds: float
    reason: Reason
    message: str
    limited_by: LimitedBy
    terms: tuple[Term, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    """What the arithmetic used, units in the names: `depth`, `backlog_seconds`,
    `lead_time_seconds`, ...
    """
    attained: Mapping[str, float] = field(default_factory=dict)
    """Share of requests that met each SLO, over its window; absent while there was no request."""
    stuck: tuple[str, ...] = ()
    late_rates: tuple[float, ...] = ()
    """Expected late requests per second with 0, 1, 2, ... replicas at the lead time: what a shared
    GPU limit is divided by. Empty: not known.
    """
