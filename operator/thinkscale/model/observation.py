"""What the law sees at one instant: Kubernetes' view of the replicas, and the gateways' merged
signals.

Every field is a `Reading` of its own, since each can be missing for its own reasons. Counters are
totals that the `signals` package keeps monotone over gateway restarts; `epoch` changes when those
totals start anew (the operator restarted), and tells the law to take a new baseline instead of
seeing a negative rate.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from thinkscale.model.ages import BINS
from thinkscale.model.reading import Reading
from thinkscale.model.signals import (
    BudgetSignals,
    Counters,
    Histogram,
    LifeTableCounts,
    PhaseCounts,
    ReplicaSignals,
    SloCounts,
)


class ReplicaState(StrEnum):
    """A replica's state. Whether a ready one is cordoned is the law's own memory, not an
    observation.
    """

    WARMING = "Warming"
    READY = "Ready"
    DRAINING = "Draining"
    """Being deleted; finishes what it has."""
    STUCK = "Stuck"
    """Unschedulable, image pull or crash loop: it may be paid for, it is not supply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaView:
    """One replica as Kubernetes shows it (a pod today; the law counts replicas, never pods)."""

    name: str
    state: ReplicaState
    age_seconds: float
    """Since it was created."""
    state_seconds: float | None = None
    """How long it has been in this state; None: not known, the age stands for it."""
    warmed_in_seconds: float | None = None
    """Created to ready, for those that are or were ready: the lead time is learnt from it."""
    trouble: str = ""
    """For a stuck one: why, in Kubernetes' words."""
    trouble_reason: str = ""
    """For a stuck one: Unschedulable | ImagePullFailed | CrashLooping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """The workload as Kubernetes shows it."""

    replicas: tuple[ReplicaView, ...]
    desired: int
    """`spec.replicas` of the workload now."""
    rolling: bool
    """A roll to a new revision is under way: never shrink meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedSignals:
    """The sum over all gateways of a service; totals are monotone within an epoch."""

    phases: PhaseCounts
    held: int
    oldest_held_seconds: float
    thinking_ages: tuple[int, ...]
    life_table: LifeTableCounts
    slos: Mapping[str, SloCounts]
    counters: Counters
    ttfa_seconds: Histogram
    ttft_seconds: Histogram
    fastest_token_seconds: float | None
    replicas: Mapping[str, ReplicaSignals]
    budget: BudgetSignals
    output_ages: tuple[int, ...] = (0,) * BINS
    output_life_table: LifeTableCounts = field(default_factory=LifeTableCounts)
    tier_arrivals: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One instant of one service."""

    fleet: Reading[FleetView]
    signals: Reading[MergedSignals]
    epoch: str
    gateways_expected: int
    gateways_heard: int
    gateways_leaving: int = 0
    """Of those expected: they end their streams and take no new request."""

    @property
    def gateways_sharing(self) -> int:
        """That send new requests to the replicas."""
        return self.gateways_expected - self.gateways_leaving
