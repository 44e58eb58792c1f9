"""The replicas of a simulated workload: ordered, warming, ready, draining, gone, and billed.

Kubernetes' part of the world. An order names a number; what is too many goes, the named ones
first, then those that are only warming, then the emptiest, and whoever is at work finishes it.
Which of the ready are cordoned is the gateways' affair, but kept here, where it is looked up.
"""

import math
import random
from collections.abc import Callable, Iterable
from enum import Enum

from thinkscale.model.observation import FleetView, ReplicaState, ReplicaView
from thinkscale.simulation.policy import Order
from thinkscale.simulation.scenario import Boot
from thinkscale.simulation.virtual_replica import VirtualReplica


class Stage(Enum):
    """Where in its life a replica is."""

    WARMING = ReplicaState.WARMING
    READY = ReplicaState.READY
    DRAINING = ReplicaState.DRAINING
    GONE = "Gone"


class Member:
    """One replica, from its order to its end."""

    __slots__ = (
        "boot_seconds", "cordoned", "gone_at", "name", "number", "ordered_at", "ready_at",
        "replica", "scheduled", "stage", "stage_at", "stall_at", "stalls",
    )  # fmt: skip

    def __init__(
        self, number: int, replica: VirtualReplica, ordered_at: float, boot_seconds: float,
        gateways: int,
    ) -> None:  # fmt: skip
        self.number = number
        self.name = f"replica-{number}"
        self.replica = replica
        self.ordered_at = ordered_at
        self.boot_seconds = boot_seconds
        self.ready_at = ordered_at + boot_seconds
        self.gone_at = math.inf
        self.stage = Stage.WARMING
        self.stage_at = ordered_at
        self.cordoned = False
        self.scheduled = math.inf
        """When its next event is due."""
        self.stalls = [0.0] * gateways
        """Prefill seconds that each gateway sent there lately, as of `stall_at`."""
        self.stall_at = [0.0] * gateways

    @property
    def requests(self) -> int:
        """Sent there and unfinished."""
        return sum(self.replica.counts)

    def become(self, stage: Stage, now: float) -> None:
        """Enter a stage."""
        self.stage, self.stage_at = stage, now
        if stage is Stage.GONE:
            self.gone_at = now

    def billed_seconds(self, begin: float, end: float) -> float:
        """Of its life from order to removal, what lies within the bill."""
        return max(0.0, min(end, self.gone_at) - max(begin, self.ordered_at))


class Members:
    """All replicas of one workload."""

    def __init__(
        self, boot: Boot, gateways: int, seed: int, make: Callable[[], VirtualReplica]
    ) -> None:
        self._boot = boot
        self._gateways = gateways
        self._make = make
        self._random = random.Random(f"boots {seed}")
        self._numbers = 0
        self.all: list[Member] = []
        """Every one that ever was, in order."""
        self.present: list[Member] = []
        """Those that exist."""
        self.serving: list[Member] = []
        """Those that new requests go to: ready and un-cordoned, or just ready if all are cordoned.
        """
        self.desired = 0

    def start(self, count: int) -> None:
        """The fleet at the beginning: ordered a boot ago."""
        for member in [self._new(0.0) for _ in range(count)]:
            member.ordered_at, member.ready_at = -member.boot_seconds, 0.0
            member.become(Stage.READY, 0.0)
        self.desired = count
        self.refresh()

    def order(self, order: Order, now: float) -> tuple[list[Member], list[Member]]:
        """Carry out an order; returns those that were ordered, and those that must go."""
        self.desired = max(0, order.replicas)
        staying = [m for m in self.present if m.stage in (Stage.WARMING, Stage.READY)]
        surplus = len(staying) - self.desired
        new = [self._new(now) for _ in range(-surplus)]
        going = _going(staying, order.retire)[: max(0, surplus)]
        for member in going:
            idle = member.stage is Stage.WARMING or not member.requests
            member.become(Stage.GONE if idle else Stage.DRAINING, now)
        if new or going:
            self.refresh()
        return new, going

    def replace(self, member: Member, now: float) -> Member:
        """One that was ready died: the workload orders another."""
        member.become(Stage.GONE, now)
        new = self._new(now)
        self.refresh()
        return new

    def ready(self, member: Member, now: float) -> None:
        """One has started."""
        member.become(Stage.READY, now)
        self.refresh()

    def gone(self, member: Member, now: float) -> None:
        """One that drained is idle."""
        member.become(Stage.GONE, now)
        self.refresh()

    def cordon(self, names: Iterable[str]) -> None:
        """These get no new request."""
        cordoned = set(names)
        for member in self.present:
            member.cordoned = member.name in cordoned
        self.refresh()

    def refresh(self) -> None:
        """Sort out who serves."""
        self.present = [m for m in self.present if m.stage is not Stage.GONE]
        ready = [m for m in self.present if m.stage is Stage.READY]
        self.serving = [m for m in ready if not m.cordoned] or ready

    def view(self, now: float) -> FleetView:
        """As Kubernetes shows it."""
        return FleetView(
            replicas=tuple(
                ReplicaView(
                    name=member.name,
                    state=ReplicaState(member.stage.value),
                    age_seconds=now - member.ordered_at,
                    state_seconds=now - member.stage_at,
                    warmed_in_seconds=None
                    if member.stage is Stage.WARMING
                    else member.ready_at - member.ordered_at,
                )
                for member in self.present
            ),
            desired=self.desired,
            rolling=False,
        )

    def _new(self, now: float) -> Member:
        self._numbers += 1
        mean, deviation = self._boot.mean_seconds, self._boot.deviation_seconds
        boot = max(mean / 10, self._random.gauss(mean, deviation))
        member = Member(self._numbers, self._make(), now, boot, self._gateways)
        self.all.append(member)
        self.present.append(member)
        return member


def _going(staying: list[Member], retire: Iterable[str]) -> list[Member]:
    """In the order in which they go."""
    named = set(retire)

    def key(member: Member) -> tuple[int, int, int]:
        if member.name in named:
            return (0, 0, member.number)
        if member.stage is Stage.WARMING:
            return (1, 0, -member.number)
        return (2, member.requests, member.number)

    return sorted(staying, key=key)
