"""The state of one gateway, and the only place where its parts meet: books, fleet, budget rule,
signals.

Runs in one event loop and holds no lock. Handlers admit requests here and report their progress;
sources tell it configuration, directive and replicas; `/signals` and `/metrics` read it. Nothing
here speaks HTTP. Losing a source changes nothing: it serves with what it knew.
"""

import asyncio
import math
import time
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from thinkscale.engines.vllm_metrics import EngineLoad
from thinkscale.gateway.flight import Flight
from thinkscale.gateway.ledger import Ledger
from thinkscale.gateway.routing import Replica, Router
from thinkscale.gateway.sequence import Sequence
from thinkscale.model.directive import Directive, effective_max_tokens
from thinkscale.model.gateway_config import GatewayConfig
from thinkscale.model.signals import (
    BudgetSignals,
    EngineSignals,
    GatewaySignals,
    PhaseCounts,
    ReplicaSignals,
)


class Ticket:
    """A held request: its future gets the replica."""

    __slots__ = ("flight", "placed")

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self.placed: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()


class Gateway:
    """One gateway's state."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.clock = clock
        self.boot_id = uuid.uuid4().hex
        self.config: GatewayConfig | None = None
        self.directive: Directive | None = None
        self.ledger = Ledger()
        self.router: Router[Ticket] = Router(
            work=lambda replica: self.ledger.work(replica, clock())
        )
        self.engines: dict[str, tuple[EngineLoad, float]] = {}
        self.located = False
        """A source told the fleet, be it empty."""
        self.draining = False
        self.leaving = False
        self.without_native_budget: set[str] = set()
        """Replicas that said that they were started without native budgets."""
        self.hurry = asyncio.Event()
        """Set when depth jumps: the engines are scraped soon."""
        self._started = clock()
        self._sequence = Sequence()
        self._idle = asyncio.Event()
        self._fleet: frozenset[str] = frozenset()
        self._waiters: set[asyncio.Future[None]] = set()

    # What the sources tell.

    def configure(self, config: GatewayConfig) -> None:
        """A new configuration; it takes effect on the next request."""
        self.config = config
        self.ledger.slos = config.slos
        self.ledger.answer_limit = config.answer_max_tokens
        self.router.queue_max = config.queue_max_requests
        self.touch()

    def direct(self, directive: Directive) -> None:
        """A new directive."""
        self.directive = directive
        self.router.cordoned = frozenset(directive.cordoned)
        ceiling = directive.admission_ceiling
        shared = None if ceiling is None else math.ceil(ceiling / directive.gateways)
        self.router.ceiling = shared
        self.ledger.changes += 1
        self._assign()
        self.touch()

    def locate(self, replicas: Iterable[Replica]) -> None:
        """The fleet as the source sees it now."""
        self.located = True
        if self.router.locate(replicas):
            self.ledger.changes += 1
        self._fleet = frozenset(n for n, r in self.router.replicas.items() if r.ready)
        for gone in self.engines.keys() - self.router.replicas.keys():
            del self.engines[gone]
        self.without_native_budget &= self.router.replicas.keys()
        self._assign()
        self.touch()

    # What the requests do.

    def arrive(self) -> Flight:
        """A request was accepted."""
        return self.ledger.arrive(self.clock())

    async def place(self, flight: Flight, *, again: bool = False) -> Replica:
        """A replica for a request, after as long as it takes. Raises `QueueFull`. `again`: it was
        placed before, and its replica was away.
        """
        ticket = Ticket(flight)
        if again:
            self.router.resubmit(ticket)
        else:
            replica = self.router.submit(ticket, self.clock())
            if replica is not None:
                self.ledger.dispatch(flight, replica.name)
                self.touch()
                return replica
        self._assign()
        self.touch()
        try:
            return await ticket.placed
        except asyncio.CancelledError:
            self.router.withdraw(ticket)
            if ticket.placed.done() and not ticket.placed.cancelled():
                self.leave(ticket.placed.result().name)
            raise

    def leave(self, replica: str) -> None:
        """A request left a replica: there may be room for a held one."""
        self.router.release(replica)
        self._assign()

    def away(self, flight: Flight, replica: str) -> None:
        """A replica refused the connection of a request."""
        self.router.suspect(replica, self.clock())
        self.ledger.hold(flight)
        self.ledger.totals.retried += 1
        self.leave(replica)
        asyncio.get_running_loop().call_later(1.05, self._assign)

    def _assign(self) -> None:
        for assignment in self.router.assign(self.clock()):
            ticket = assignment.ticket
            if ticket.placed.cancelled():
                self.router.release(assignment.replica.name)
                continue
            self.ledger.dispatch(ticket.flight, assignment.replica.name)
            ticket.placed.set_result(assignment.replica)

    # The budget rule.

    @property
    def load(self) -> float:
        """Requests in flight of this gateway by its share of the seats of the ready, un-cordoned
        replicas.
        """
        gateways = self.directive.gateways if self.directive else 1
        per_replica = self.config.seats_per_replica if self.config else 1
        seats = len(self.router.serving()) * per_replica / gateways
        if seats == 0:
            return float("inf") if self.ledger.in_flight else 0.0
        return self.ledger.in_flight / seats

    def allowed_now(self) -> int | None:
        """Thinking tokens that the directive's rule allows at this load; None: no bound."""
        if self.directive is None:
            return None
        return effective_max_tokens(self.directive.budget, self.load, datetime.now(UTC))

    def effective_max_tokens(self) -> int | None:
        """What a request that asks for a lot gets now."""
        limits = [self.allowed_now(), self.config.max_tokens if self.config else None]
        known = [limit for limit in limits if limit is not None]
        return min(known) if known else None

    # Signals.

    def touch(self) -> None:
        """Something changed: answer the long polls if it is worth it. Cheap when it is not."""
        if not self.ledger.in_flight:
            self._idle.set()
        fleet = self._fleet
        depth = self.ledger.depth
        if self._sequence.jumped(depth, fleet):
            self.hurry.set()
        if self._sequence.observe(depth, fleet, self.ledger.changes, self.clock()):
            self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    @property
    def sequence(self) -> int:
        """The number of the present state."""
        return self._sequence.number

    async def changed_since(self, sequence: int, wait_seconds: float) -> None:
        """Return when the number is above `sequence`, or after `wait_seconds`."""
        try:
            async with asyncio.timeout(wait_seconds):
                while self._sequence.number <= sequence and not self.leaving:
                    await self._raised()
        except TimeoutError:
            return

    async def _raised(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    async def idle(self) -> None:
        """Return when no request is in flight."""
        while self.ledger.in_flight:
            self._idle.clear()
            await self._idle.wait()

    def release_polls(self) -> None:
        """Answer every long poll now, and no longer wait: the gateway is going away."""
        self.leaving = True
        self._wake()

    def signals(self) -> GatewaySignals:
        """The answer of `GET /signals`."""
        now = self.clock()
        ledger = self.ledger
        return GatewaySignals(
            boot_id=self.boot_id,
            sequence=self._sequence.number,
            gateway=self.name,
            service=self.config.service if self.config else "",
            uptime_seconds=now - self._started,
            directive_id=self.directive.id if self.directive else None,
            phases=ledger.phases(),
            held=self.router.held,
            oldest_held_seconds=ledger.oldest_held_seconds(now),
            thinking_ages=ledger.thinking_ages(),
            life_table=ledger.life_table.counts(),
            slos=ledger.slo_counts(now),
            counters=ledger.counters(),
            ttfa_seconds=ledger.ttfa.wire(),
            ttft_seconds=ledger.ttft.wire(),
            fastest_token_seconds=ledger.fastest_token_seconds,
            replicas=self._replica_signals(now),
            budget=self._budget_signals(),
        )

    def _budget_signals(self) -> BudgetSignals:
        counts = self.ledger.budget
        return BudgetSignals(
            effective_max_tokens=self.effective_max_tokens(),
            applied=counts.applied,
            cut=counts.cut,
            cut_by_load=counts.cut_by_load,
            violated=counts.violated,
            withheld_tokens=counts.withheld_tokens,
        )

    def _replica_signals(self, now: float) -> dict[str, ReplicaSignals]:
        flights: dict[str, list[Flight]] = {name: [] for name in self.router.replicas}
        for flight in self.ledger.flights:
            if flight.replica is not None:
                flights.setdefault(flight.replica, []).append(flight)
        return {name: self._replica(name, at, now) for name, at in flights.items()}

    def _replica(self, name: str, flights: list[Flight], now: float) -> ReplicaSignals:
        replica = self.router.replicas.get(name)
        scraped = self.engines.get(name)
        phases: PhaseCounts = self.ledger.phases(flights)
        return ReplicaSignals(
            ready=replica is not None and replica.ready,
            cordoned=name in self.router.cordoned,
            phases=phases,
            remaining_tokens=max(0, round(self.ledger.work(name, now))),
            engine=None if scraped is None else _engine_signals(*scraped, now),
        )


def _engine_signals(load: EngineLoad, at: float, now: float) -> EngineSignals:
    return EngineSignals(
        running=load.running,
        waiting=load.waiting,
        kv_usage=load.kv_usage,
        kv_capacity_tokens=load.kv_capacity_tokens,
        age_seconds=now - at,
    )
