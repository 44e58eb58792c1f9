"""A run: one policy scales one fleet through one scenario, in virtual time.

Events on one clock: arrivals (open loop: they come whatever the fleet does), ends of stretches of
steps at the replicas, replicas that have started, the policy's ticks, a look of each gateway every
second while somebody waits, and crashes. Ties go by the order in which events were made, and all
that is random by the scenario's seed, so that a run is the same bit for bit wherever it is made.
"""

import math
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any, Final

from thinkscale.model.brownout import ARRIVALS_SECONDS
from thinkscale.simulation.books import Books
from thinkscale.simulation.flight import Flight
from thinkscale.simulation.front import Front
from thinkscale.simulation.members import Member, Members, Stage
from thinkscale.simulation.outcome import Outcome
from thinkscale.simulation.policy import Factory, Order
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.score import Records, billed_seconds, reversals
from thinkscale.simulation.seen import Eyes
from thinkscale.simulation.timeline import Chronicle
from thinkscale.simulation.virtual_replica import VirtualReplica

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Virtual second 0."""
PATIENCE_SECONDS: Final = 7200.0
"""What is in flight so long after the last arrival is given up."""
GUARD_GAP_SECONDS: Final = 2.0
"""The guard makes no tick earlier than this after the last one."""
GUARD_SHARE: Final = 0.1
"""An arrival makes a policy that is `guarded` tick out of turn when the requests in flight, waiting
or at work, differ by this share from those at its last tick. The operator's (`signals.poller`) is
another: a quarter of each gateway's thinking depth, three at least, or another set of replicas.
"""
GUARD_REQUESTS: Final = 2
"""The least such difference."""
SCRAPE_SECONDS: Final = 2.0
"""Several gateways ask the engines this often what the others have there."""
GLANCE_SECONDS: Final = 5.0
"""With delayed signals, the past is kept at this spacing."""

Progress = Callable[[float], None]
Action = Callable[[float, Any], None]


def run(
    scenario: Scenario, factory: Factory, *, policy: str, progress: Progress | None = None
) -> Outcome:
    """One run. `policy` is the name in the outcome; `progress` is told the share that is done."""
    simulation = Simulation(scenario, factory)
    simulation.advance(math.inf, progress)
    return simulation.outcome(policy)


class Simulation:
    """One run under way. Its state can be looked at between two calls of `advance`."""

    def __init__(self, scenario: Scenario, factory: Factory) -> None:
        self.scenario = scenario
        intent, count = scenario.intent, scenario.gateways
        self.policy = factory(scenario)
        self.books = [Books(intent.objectives, intent.budget.max_tokens) for _ in range(count)]
        self.members = Members(scenario.boot, count, scenario.seed, self._replica)
        self.fronts = [
            Front(i, count, scenario.profile.seats, scenario.profile.kv_tokens, self.members,
                  self._send)
            for i in range(count)
        ]  # fmt: skip
        self.eyes = Eyes(scenario, self.fronts, self.books, self.members)
        self.chronicle = Chronicle()
        self.records = Records(scenario.workload)
        self._recent: list[deque[float]] = [deque() for _ in range(count)]
        self._looking = [False] * count
        self._heap: list[tuple[float, int, Action, Any]] = []
        self._events = 0
        self._next = 0
        self._live = 0
        self._depth = 0
        self._ticked_at = -math.inf
        self._tick_due = 0.0
        self._refilled: Member | None = None
        """Between two steps just now: what it is sent joins the next one."""
        self._guarded = bool(getattr(self.policy, "guarded", False))
        load = scenario.workload
        self._at = load.at_seconds.tolist()
        self._tiers = None if load.tier is None else [load.tiers[at] for at in load.tier.tolist()]
        self._lengths = list(
            zip(
                load.prompt_tokens.tolist(),
                load.thinking_tokens.tolist(),
                load.answer_tokens.tolist(),
                strict=True,
            )
        )
        self.members.start(scenario.initial_replicas)
        for moment in scenario.faults.crashes_at_seconds:
            self._push(moment, self._crash)
        if scenario.faults.scrape_delay_seconds:
            self._push(0.0, self._glance)
        if count > 1:
            for i in range(count):
                self._push(SCRAPE_SECONDS * (1 + i / count), self._scrape, i)
        self._push(0.0, self._due)

    def advance(self, until: float, progress: Progress | None = None) -> None:
        """Carry out all events before `until`."""
        at, heap, count = self._at, self._heap, len(self._at)
        stride = max(1, count // 100)
        # Until here nothing can be over, so that the next event is all that there is to look at.
        certain = min(until, self.scenario.duration_seconds) if self._next < count else 0.0
        while True:
            now = at[self._next] if self._next < count else math.inf
            if heap and heap[0][0] < now:
                now = heap[0][0]
            if now >= certain and self.next_at >= until:
                break
            if self._next < count and at[self._next] == now:
                self._arrive(now)
                if progress is not None and not self._next % stride:
                    progress(self._next / count)
                continue
            now, _, action, subject = heappop(heap)
            action(now, subject)
        if progress is not None and self._next == count:
            progress(1.0)

    @property
    def next_at(self) -> float:
        """When it goes on; infinity: it is over."""
        event = self._heap[0][0] if self._heap else math.inf
        arrival = self._at[self._next] if self._next < len(self._at) else math.inf
        now = min(event, arrival)
        end = self.scenario.duration_seconds + PATIENCE_SECONDS
        return math.inf if now > end or self._over(now) else now

    def tick_by(self, at: float, gap_seconds: float) -> None:
        """Have the policy tick at this time, but so long after its last tick at least; if it is
        about to tick earlier, that stands. `at` is not before what has been carried out.
        """
        at = max(at, self._ticked_at + gap_seconds)
        if at < self._tick_due:
            self._tick_due = at
            self._push(at, self._due)

    def _over(self, now: float) -> bool:
        """Nobody comes or is served any more. The fleet is billed to the end, so it is scaled till
        then even if the last request ends long before.
        """
        served = self._next == len(self._at) and not self._live
        return served and now > self.scenario.duration_seconds

    @property
    def events(self) -> int:
        """Carried out so far, arrivals included."""
        return self._next + self._events - len(self._heap)

    def outcome(self, policy: str) -> Outcome:
        """What it came to."""
        scenario = self.scenario
        begin, end = scenario.warm_up_seconds, scenario.duration_seconds
        return Outcome(
            policy=policy,
            scenario=scenario.name,
            seed=scenario.seed,
            requests=self.records.requests(scenario),
            timeline=self.chronicle.timeline(),
            replica_seconds=billed_seconds(self.members.all, scenario),
            gpus_per_replica=scenario.intent.gpus_per_replica,
            preemptions=sum(member.replica.preemptions for member in self.members.all),
            reversals=reversals(self.chronicle.wanted(begin, end)),
            scored_seconds=end - begin,
        )

    # Requests.

    def _arrive(self, now: float) -> None:
        index = self._next
        gateway = index % len(self.fronts)
        prompt, thinking, answer = self._lengths[index]
        most = self.scenario.intent.budget.max_tokens
        capped = most is not None and thinking >= most
        flight = Flight(
            index, now, prompt, most if most is not None and capped else thinking, answer, gateway
        )
        if capped:
            flight.capped = True
        if self._tiers is not None:
            flight.tier = self._tiers[index]
        self._next += 1
        books, front = self.books[gateway], self.fronts[gateway]
        books.arrive(flight)
        if prompt + flight.output > self.scenario.profile.kv_tokens:
            books.refuse(flight)  # no replica could ever hold it
            return
        self._live += 1
        self._recent[gateway].append(now)
        front.arrive(flight, now)
        self._watch(gateway, now)
        if self._guarded and self._jumped() and now - self._ticked_at >= GUARD_GAP_SECONDS:
            self._tick(now)

    def _jumped(self) -> bool:
        change = abs(self._live - self._depth)
        return change >= max(GUARD_REQUESTS, GUARD_SHARE * self._depth)

    def _replica(self) -> VirtualReplica:
        books = self.books
        return VirtualReplica(
            self.scenario.profile,
            gateways=self.scenario.gateways,
            on_first_token=lambda flight, now: books[flight.gateway].first_token(flight, now),
            on_answer=lambda flight, now: books[flight.gateway].answer_begins(flight, now),
        )

    def _send(self, member: Member, flight: Flight, now: float) -> None:
        if member is self._refilled:
            member.replica.submit(flight, now)
            return
        if member.replica.submit(flight, now):
            member.replica.begin(now)
        self._schedule(member)

    def _schedule(self, member: Member) -> None:
        """See that the end of its stretch is among the events."""
        ends = member.replica.ends_at
        if ends != member.scheduled and ends < math.inf:
            member.scheduled = ends
            self._push(ends, self._stretch_ended, member)

    def _stretch_ended(self, now: float, member: Member) -> None:
        if member.scheduled != now or member.stage is Stage.GONE:
            return
        member.scheduled = math.inf
        replica = member.replica
        if replica.ends_at != now:
            self._schedule(member)
            return
        for flight in replica.end():
            self._live -= 1
            self.books[flight.gateway].finish(flight, now)
            self.records.close(flight, now)
        direct = self.fronts[0].directive is None
        if direct:  # who waits, waits at the engine: he joins the very next step
            self._refilled = member
            self._refill(member, now)
            self._refilled = None
        replica.begin(now)
        self._schedule(member)
        if not direct:  # a gateway hears of the end when the next step has begun
            self._refill(member, now)
        if member.stage is Stage.DRAINING and not member.requests:
            self.members.gone(member, now)

    def _refill(self, member: Member, now: float) -> None:
        """Give it who waits, if it is one of those that serve."""
        if member.stage is Stage.READY and not member.cordoned:
            for front in self.fronts:
                if front.held:
                    front.offer(member, now)

    # Gateways.

    def _watch(self, gateway: int, now: float) -> None:
        """Somebody waits: the gateway looks every second."""
        if self.fronts[gateway].held and not self._looking[gateway]:
            self._looking[gateway] = True
            self._push(now + 1.0, self._look, gateway)

    def _look(self, now: float, gateway: int) -> None:
        front, recent = self.fronts[gateway], self._recent[gateway]
        while recent and recent[0] < now - ARRIVALS_SECONDS:
            recent.popleft()
        costs = self.scenario.cut_costs_prefill
        closing = front.look(len(recent) / ARRIVALS_SECONDS, now, _date(now), costs_prefill=costs)
        for member, flights in closing.items():
            for flight in flights:
                age = member.replica.generated(flight)
                self.books[gateway].cut_thought(age, front.lost_points(flight, age))
            if member.replica.close(flights, now, costs_prefill=costs):
                member.replica.begin(now)
            self._schedule(member)
        front.drain(now)  # room that comes from fading prefill alone
        if front.held or front.effective_tokens is not None:
            self._push(now + 1.0, self._look, gateway)
        else:
            self._looking[gateway] = False

    def _scrape(self, now: float, gateway: int) -> None:
        """A gateway asks the engines what they hold of everybody."""
        front = self.fronts[gateway]
        front.scrape(now)
        front.drain(now)
        self._push(now + SCRAPE_SECONDS, self._scrape, gateway)

    def _drain_queues(self, now: float) -> None:
        for front in self.fronts:
            front.drain(now)

    # The fleet.

    def _due(self, now: float, _: object) -> None:
        if now == self._tick_due:
            self._tick(now)

    def _tick(self, now: float) -> None:
        self._depth = self._live
        seen = self.eyes.observe(now)
        order: Order = self.policy.tick(seen, _date(now))
        new, _ = self.members.order(order, now)
        for member in new:
            self._push(member.ready_at, self._ready, member)
        directive = order.directive
        self.members.cordon(directive.cordoned if directive is not None else ())
        for front in self.fronts:
            front.direct(directive)
        self._drain_queues(now)
        self.chronicle.note(now, order, self.members, self.eyes.depth, self.fronts)
        self._ticked_at = now
        self._tick_due = now + order.next_tick_seconds
        self._push(self._tick_due, self._due)

    def _glance(self, now: float, _: object) -> None:
        self.eyes.glance(now)
        self._push(now + GLANCE_SECONDS, self._glance)

    def _ready(self, now: float, member: Member) -> None:
        if member.stage is Stage.WARMING:
            self.members.ready(member, now)
            self._drain_queues(now)

    def _crash(self, now: float, _: object) -> None:
        """The busiest replica dies."""
        ready = [member for member in self.members.present if member.stage is Stage.READY]
        if not ready:
            return
        victim = max(ready, key=lambda member: member.requests)
        victim.replica.sync(now)
        ages = {flight.index: victim.replica.generated(flight) for flight in victim.replica.running}
        lost = victim.replica.crash()
        successor = self.members.replace(victim, now)
        self._push(successor.ready_at, self._ready, successor)
        for flight in reversed(lost):
            age = ages.get(flight.index, flight.generated)
            self.books[flight.gateway].lose(flight, age)
            flight.start_anew()
            self.fronts[flight.gateway].again(flight)
        self._drain_queues(now)
        for gateway in range(len(self.fronts)):
            self._watch(gateway, now)

    def _push(self, at: float, action: Action, subject: Any = None) -> None:
        self._events += 1
        heappush(self._heap, (at, self._events, action, subject))


def _date(now: float) -> datetime:
    return EPOCH + timedelta(seconds=now)
