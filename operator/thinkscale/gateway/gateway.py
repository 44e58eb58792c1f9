"""The state of one gateway, and the only place where its parts meet: books, fleet, brown-out, long
polls.

Runs in one event loop and holds no lock. Handlers admit requests here and report their progress;
sources tell it configuration, directive and replicas; `/signals` and `/metrics` read it. Nothing
here speaks HTTP. Losing a source changes nothing: it serves with what it knew.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from thinkscale.engines import DIALECTS
from thinkscale.engines.vllm_metrics import EngineLoad
from thinkscale.gateway.affinity import Conversation
from thinkscale.gateway.brownout import ArrivalRate, BrownoutControl
from thinkscale.gateway.flight import Flight
from thinkscale.gateway.ledger import Ledger
from thinkscale.gateway.prompt_size import PromptSize, PromptSizes
from thinkscale.gateway.proofs import Finding, Proofs
from thinkscale.gateway.routing import Assignment, Replica, Router
from thinkscale.gateway.sequence import Sequence
from thinkscale.gateway.tally import Tally
from thinkscale.gateway.verify import RETRY_SECONDS, NativeTrust, Violation
from thinkscale.model.admission import Ceiling
from thinkscale.model.brownout import Pressure
from thinkscale.model.directive import Directive
from thinkscale.model.gateway_config import BEFORE_USE, GatewayConfig

logger = logging.getLogger(__name__)


class Ticket:
    """A request that asks for a place."""

    __slots__ = ("flight", "placed")

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self.placed: asyncio.Future[Replica] | None = None
        """Gets the replica; None: it is not held."""

    @property
    def prompt_tokens(self) -> int:
        """As far as known; with what was generated already, if it goes on elsewhere."""
        return self.flight.tokens

    @property
    def conversation(self) -> Conversation | None:
        """That it belongs to."""
        flight = self.flight
        whose, flight.whose = flight.whose, None
        if whose is not None:
            flight.conversation = whose()
        return flight.conversation


class Gateway:
    """One gateway's state."""

    def __init__(
        self,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        native_retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.name = name
        self.clock = clock
        self.boot_id = uuid.uuid4().hex
        self.config: GatewayConfig | None = None
        self.directive: Directive | None = None
        self.tally = Tally()
        self.ledger = Ledger()
        self.router: Router[Ticket] = Router(
            work=lambda replica: self.ledger.work(replica, clock())
        )
        self.brownout = BrownoutControl()
        self.prompts = PromptSizes()
        self.engines: dict[str, tuple[EngineLoad, float]] = {}
        self.located = False
        """A source told the fleet, be it empty."""
        self.growths = 0
        """Times that there were more gateways than before."""
        self.draining = False
        self.leaving = False
        self.trust = NativeTrust(native_retry_seconds)
        self.proofs = Proofs()
        self.unproven = asyncio.Event()
        """Set when other replicas have to prove themselves than before."""
        self._told: tuple[Replica, ...] = ()
        """The fleet as the source tells it."""
        self.hurry = asyncio.Event()
        """Set when depth jumps: the engines are scraped soon."""
        self.started = clock()
        self._arrivals = ArrivalRate()
        self._sequence = Sequence()
        self._idle = asyncio.Event()
        self._fleet: frozenset[str] = frozenset()
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def unready(self) -> str:
        """Why it should get no new request; empty: it may."""
        if self.draining:
            return "draining"
        if self.config is None:
            return "no configuration yet"
        # Without it, it would hold requests that others could serve.
        return "" if self.located else "no list of replicas yet"

    # What the sources tell.

    def configure(self, config: GatewayConfig) -> None:
        """A new configuration; it takes effect on the next request."""
        self.config = config
        self.ledger.slos = config.slos
        self.ledger.answer_limit = config.answer_max_tokens
        self.router.queue_max = config.queue_max_requests
        self._bound()
        self._admit()

    def direct(self, directive: Directive) -> None:
        """A new directive; it takes effect at once."""
        self.directive = directive
        self.router.cordoned = frozenset(directive.cordoned)
        self.router.order(directive.queue)
        self.brownout.direct(directive.brownout, directive.gateways)
        self._bound()
        self.ledger.changes += 1
        self._assign()
        self._weigh()
        self.touch()

    def _bound(self) -> None:
        """The admission ceiling. Without the operator's word, what is declared: the seats."""
        directive, config = self.directive, self.config
        told = directive.ceiling if directive else None
        if told is None and config is not None:
            told = Ceiling(seats=config.seats_per_replica)
        self.router.ceiling = told
        gateways = directive.gateways if directive else 1
        self.growths += gateways > self.router.gateways
        self.router.gateways = gateways

    def locate(self, replicas: Iterable[Replica]) -> None:
        """The fleet as the source sees it now."""
        self.located = True
        self._told = tuple(replicas)
        self._admit()

    def proven(self, name: str, number: int, finding: Finding, cause: Violation | None) -> None:
        """A replica's canary is over; `cause`: how its native budget was broken."""
        if number != self.proofs.waiting.get(name):
            return
        self.ledger.budget.canaries[finding] += 1
        if cause is not None:
            self.ledger.budget.violations[cause] += 1
        match finding:
            case Finding.ABSENT:
                self.trust.refused(name)
            case Finding.BROKEN | Finding.UNPROVEN:
                self.trust.broke(name, cause, self.clock())
        if finding is not Finding.HELD:
            logger.warning("Holds the budgets itself: canary=%s replica=%s", finding, name)
        self.proofs.done(name, number)
        self._admit()

    def _admit(self) -> None:
        """The fleet, with those not ready that have yet to prove their native budget."""
        config = self.config
        if config is not None:
            check = config.native_budget_check == BEFORE_USE
            asked = check and DIALECTS[config.engine].has_native_budget
            self.proofs.look([each.name for each in self._told if each.ready], asked=asked)
        waiting = self.proofs.waiting
        replicas = [replace(r, ready=r.ready and r.name not in waiting) for r in self._told]
        if waiting:
            self.unproven.set()
        if self.router.locate(replicas, self.clock()):
            self.ledger.changes += 1
        self._fleet = frozenset(n for n, r in self.router.replicas.items() if r.ready)
        for gone in self.engines.keys() - self.router.replicas.keys():
            del self.engines[gone]
        self.trust.keep(self._fleet)
        self.brownout.locate(self.router.replicas)
        self._assign()
        self.touch()

    def scraped(self, replica: str, load: EngineLoad) -> None:
        """An engine told its load: there may be room that another gateway has left."""
        if replica not in self.router.replicas:
            return
        now = self.clock()
        self.engines[replica] = (load, now)
        self.ledger.changes += 1
        if load.kv_capacity_tokens is not None:
            tokens = load.kv_usage * load.kv_capacity_tokens
            self.router.looked(replica, load.running + load.waiting, tokens, now)
            if self.router.gateways > 1:
                self._assign()

    # What the requests do.

    def arrive(self, size: PromptSize) -> Flight:
        """A request was accepted."""
        return self.ledger.arrive(self.clock(), self.prompts.tokens(size))

    def prompt_told(self, flight: Flight, size: PromptSize, tokens: int) -> None:
        """An engine counted a prompt."""
        self.prompts.learn(size, tokens)
        self.ledger.prompt_told(flight, tokens)

    async def place(
        self,
        flight: Flight,
        *,
        again: bool = False,
        beat: Callable[[], Awaitable[None]],
        beat_seconds: float,
    ) -> Replica:
        """A replica for a request, after as long as it takes. Raises `QueueFull`, and what `beat`
        does, which is called so often meanwhile (0: never). `again`: it was placed before, and its
        replica was away.
        """
        ticket = Ticket(flight)
        if again:
            self.router.resubmit(ticket, flight.arrived)
        else:
            assigned = self.router.submit(ticket, self.clock())
            if assigned is not None:
                self._dispatch(assigned)
                self.touch()
                return assigned.replica
        placed: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()
        ticket.placed = placed
        self._assign()
        self.touch()
        try:
            while not placed.done():
                await asyncio.wait((placed,), timeout=beat_seconds or None)
                if not placed.done():
                    await beat()
        except BaseException:
            self.router.withdraw(ticket)
            if not placed.cancel():
                self.leave(flight, placed.result().name)
            raise
        return placed.result()

    def leave(self, flight: Flight, replica: str) -> None:
        """A request left a replica: there may be room for a held one."""
        flight.holding = None
        self.router.release(replica, flight.tokens)
        self._assign()

    def goes_on(self, replica: str, prompt_tokens: int) -> None:
        """A request continues at its replica as a new prompt: what of it the replica's prefix cache
        does not cover is prefilled once more, and the others wait for that.
        """
        scraped = self.engines.get(replica)
        block = scraped[0].prefix_block_tokens if scraped else None
        cached = (prompt_tokens - 1) // block * block if block else 0
        self.router.prefills(replica, prompt_tokens - cached, self.clock())

    def away(self, flight: Flight, replica: str, *, goes_on: bool) -> None:
        """A replica refused a request or lost it. `goes_on`: from what its client has."""
        self.router.suspect(replica, self.clock())
        self.ledger.hold(flight)
        self.ledger.totals.retried += not goes_on
        self.leave(flight, replica)
        asyncio.get_running_loop().call_later(1.05, self._assign)

    def failed(self, replica: str) -> None:
        """A request failed at a replica."""
        if self.router.failed(replica, self.clock()):
            self.ledger.totals.ejected += 1
            logger.warning("Left a failing replica alone replica=%s", replica)

    def succeeded(self, replica: str) -> None:
        """A replica gave a request its first token."""
        if self.router.succeeded(replica):
            logger.info("A replica that failed is back replica=%s", replica)

    def _assign(self) -> None:
        for assignment in self.router.assign(self.clock()):
            placed = assignment.ticket.placed
            assert placed is not None
            if placed.cancelled():
                self.router.release(assignment.replica.name, assignment.ticket.flight.tokens)
                continue
            self._dispatch(assignment)
            placed.set_result(assignment.replica)

    def _dispatch(self, placed: Assignment[Ticket]) -> None:
        flight = placed.ticket.flight
        flight.holding = placed.holding
        self.ledger.dispatch(flight, placed.replica.name, self.clock())

    # The brown-out.

    def look(self) -> None:
        """Once a second: prefills that stalled a replica have faded, so there may be room; and the
        rule of the brown-out.
        """
        self._assign()
        self._weigh()
        self.touch()

    def _weigh(self) -> None:
        """The rule of the brown-out, with the pressure of now."""
        now, before = self.clock(), self.brownout.effective_tokens
        gateways = self.directive.gateways if self.directive else 1
        pressure = Pressure(
            fresh_wait_seconds=self.router.fresh_wait_seconds(now),
            fresh=self.router.fresh(now),
            arrivals_per_second=self._arrivals.per_second(self.ledger.totals.arrivals, now),
            replicas=len(self.router.serving()) / gateways,
        )
        self.brownout.look(pressure, now, datetime.now(UTC))
        self.ledger.changes += before != self.brownout.effective_tokens

    def effective_max_tokens(self) -> int | None:
        """From which age on a thought is closed now; None: from none."""
        limits = [self.brownout.effective_tokens, self.config.max_tokens if self.config else None]
        known = [limit for limit in limits if limit is not None]
        return min(known) if known else None

    # Long polls.

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
