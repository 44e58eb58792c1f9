"""A small deterministic fleet around the real `decide`: requests, seats, cold starts, removals.

One token takes 30 ms whatever the batch; a request beyond the admission ceiling is held at the
gateway in order of arrival; a replica is ready 20 s after it was ordered. When the workload's size
falls, those that are not ready go first, then the retired ones: Kubernetes' order. A replica that
goes with a request on it breaks that request, and the fleet counts it.

The law sees only what a real one sees: the merged signals and the replicas, a moment old.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.unit.scaling.builders import at, observe
from thinkscale.model.ages import BINS, bin_of
from thinkscale.model.decision import Decision, Hold, Scale
from thinkscale.model.intent import Intent
from thinkscale.model.observation import (
    FleetView,
    MergedSignals,
    Observation,
    ReplicaState,
    ReplicaView,
)
from thinkscale.model.signals import (
    LATENCY_EDGES_SECONDS,
    BudgetSignals,
    Counters,
    EngineSignals,
    Histogram,
    LifeTableCounts,
    PhaseCounts,
    ReplicaSignals,
    SloCounts,
)
from thinkscale.scaling import State, decide

STEP_SECONDS = 0.1
TOKEN_SECONDS = 0.03
START_SECONDS = 20.0


@dataclass(slots=True)
class Request:
    """One request: what it needs, and what became of it."""

    arrived: float
    thinking: int
    answer: int
    begun: float | None = None
    first_answer: float | None = None
    finished: float | None = None

    def tokens(self, now: float) -> int:
        """Tokens produced so far."""
        return 0 if self.begun is None else int((now - self.begun) / TOKEN_SECONDS + 1e-6)


@dataclass(slots=True)
class Server:
    """One replica."""

    name: str
    born: float
    start_seconds: float
    running: list[Request] = field(default_factory=list)

    def ready(self, now: float) -> bool:
        """It has started."""
        return now >= self.born + self.start_seconds


@dataclass(slots=True)
class Moment:
    """What one tick decided."""

    second: float
    size: int
    ready: int
    decision: Decision


class World:
    """The fleet, the gateway and the clock."""

    def __init__(self, intent: Intent, requests: Sequence[Request], replicas: int = 1) -> None:
        self.intent = intent
        self.now = 0.0
        self.coming = deque(sorted(requests, key=lambda r: r.arrived))
        self.requests = list(self.coming)
        self.held: deque[Request] = deque()
        self.servers = [Server(f"r-{i}", -100.0, START_SECONDS) for i in range(replicas)]
        self.born = replicas
        self.size = replicas
        self.broken = 0
        self.cordon: frozenset[str] = frozenset()
        self.ceiling = intent.seats_per_replica
        self.exposure, self.ends = [0] * BINS, [0] * BINS
        self.all_exposure, self.all_ends = [0] * BINS, [0] * BINS
        self.good = self.bad = self.arrivals = self.thought = self.answered = self.begun = 0
        self.latency = [0] * (len(LATENCY_EDGES_SECONDS) + 1)
        self.peak_seats_used = 0.0

    def limit(self, request: Request) -> float:
        """Seconds to the first answer token that meet the SLO."""
        return self.intent.objectives[0].limit_seconds(request.thinking)

    def step(self) -> None:
        """A tenth of a second."""
        self.now = round(self.now + STEP_SECONDS, 6)
        while self.coming and self.coming[0].arrived <= self.now:
            self.held.append(self.coming.popleft())
            self.arrivals += 1
        for server in self.servers:
            for request in server.running:
                self._advance(request)
            server.running = [r for r in server.running if r.finished is None]
        self._dispatch()

    def _advance(self, request: Request) -> None:
        done, before = request.tokens(self.now), request.tokens(self.now - STEP_SECONDS)
        for age in range(before, min(done, request.thinking + request.answer)):
            self.all_exposure[bin_of(age)] += 1
            if age < request.thinking:
                self.exposure[bin_of(age)] += 1
        self.thought += max(0, min(done, request.thinking) - before)
        self.answered += max(0, done - max(before, request.thinking))
        if request.first_answer is None and done > request.thinking:
            request.first_answer = self.now
            self.ends[bin_of(request.thinking)] += 1
            self.begun += 1
            seconds = self.now - request.arrived
            self.latency[sum(seconds > edge for edge in LATENCY_EDGES_SECONDS)] += 1
        if done >= request.thinking + request.answer:
            request.finished = self.now
            self.all_ends[bin_of(request.thinking + request.answer)] += 1
            on_time = request.first_answer is not None and (
                request.first_answer - request.arrived <= self.limit(request)
            )
            self.good += on_time
            self.bad += not on_time

    def _dispatch(self) -> None:
        """To the emptiest ready replica that is not cordoned, up to its seats."""
        while self.held:
            free = [
                s
                for s in self.servers
                if s.ready(self.now)
                and s.name not in self.cordon
                and len(s.running) < self.intent.seats_per_replica
            ]
            if not free:
                return
            request = self.held.popleft()
            request.begun = self.now
            min(free, key=lambda s: (len(s.running), s.name)).running.append(request)

    def apply(self, decision: Decision) -> None:
        """Publish the directive, then set the size."""
        self.cordon = decision.cordon
        match decision.replicas:
            case Scale(to=to) | Hold(at=to):
                self.size = to
        while len(self.servers) < self.size:
            self.servers.append(Server(f"r-{self.born}", self.now, START_SECONDS))
            self.born += 1
        doomed = sorted(
            self.servers,
            key=lambda s: (s.ready(self.now), s.name not in decision.retire, -s.born),
        )[: len(self.servers) - self.size]
        for server in doomed:
            self.broken += len(server.running)
            self.servers.remove(server)

    def look(self) -> Observation:
        """What the operator sees now."""
        views = tuple(
            ReplicaView(
                name=s.name,
                state=ReplicaState.READY if s.ready(self.now) else ReplicaState.WARMING,
                age_seconds=self.now - s.born,
                warmed_in_seconds=s.start_seconds if s.ready(self.now) else None,
            )
            for s in self.servers
        )
        fleet = FleetView(replicas=views, desired=self.size, rolling=False)
        return observe(fleet, self.signals(), age=0.0)

    def signals(self) -> MergedSignals:
        """The gateways' merged signals."""
        running = [r for s in self.servers for r in s.running]
        thinkers = [r for r in running if r.first_answer is None]
        ages, output_ages = [0] * BINS, [0] * BINS
        for request in thinkers:
            ages[bin_of(request.tokens(self.now))] += 1
        for request in running:
            output_ages[bin_of(request.tokens(self.now))] += 1
        overdue = sum(
            r.first_answer is None and self.now - r.arrived > self.limit(r)
            for r in (*running, *self.held)
        )
        name = self.intent.objectives[0].name
        return MergedSignals(
            phases=PhaseCounts(
                queued=len(self.held),
                thinking=len(thinkers),
                answering=len(running) - len(thinkers),
            ),
            held=len(self.held),
            oldest_held_seconds=self.now - self.held[0].arrived if self.held else 0.0,
            thinking_ages=tuple(ages),
            life_table=LifeTableCounts(exposure_tokens=tuple(self.exposure), ends=tuple(self.ends)),
            output_ages=tuple(output_ages),
            output_life_table=LifeTableCounts(
                exposure_tokens=tuple(self.all_exposure), ends=tuple(self.all_ends)
            ),
            slos={name: SloCounts(good=self.good, bad=self.bad, overdue=overdue)},
            counters=Counters(
                arrivals=self.arrivals,
                thinking_tokens=self.thought,
                answer_tokens=self.answered,
                answers_begun=self.begun,
            ),
            ttfa_seconds=Histogram(counts=tuple(self.latency)),
            ttft_seconds=Histogram(),
            fastest_token_seconds=TOKEN_SECONDS,
            replicas={s.name: self._work(s) for s in self.servers if s.ready(self.now)},
            budget=BudgetSignals(),
        )

    def _work(self, server: Server) -> ReplicaSignals:
        thinking = sum(r.first_answer is None for r in server.running)
        remaining = sum(r.thinking + r.answer - r.tokens(self.now) for r in server.running)
        return ReplicaSignals(
            ready=True,
            cordoned=server.name in self.cordon,
            phases=PhaseCounts(thinking=thinking, answering=len(server.running) - thinking),
            remaining_tokens=max(0, remaining),
            engine=EngineSignals(
                running=len(server.running), waiting=0, kv_usage=0.0, age_seconds=0.0
            ),
        )


@dataclass(slots=True, kw_only=True)
class Story:
    """What happened."""

    world: World
    moments: list[Moment]

    @property
    def peak(self) -> int:
        """The largest size."""
        return max(m.size for m in self.moments)

    @property
    def first_scale_up(self) -> float | None:
        """When the size first rose."""
        first = self.moments[0].size
        return next((m.second for m in self.moments if m.size > first), None)

    @property
    def first_late(self) -> float | None:
        """When the first request was past its limit without an answer."""
        w = self.world
        late = [r.arrived + w.limit(r) for r in w.requests if self._late(r)]
        return min(late, default=None)

    @property
    def late_share(self) -> float:
        """Share of requests that missed."""
        return sum(map(self._late, self.world.requests)) / len(self.world.requests)

    def _late(self, request: Request) -> bool:
        end = self.world.now if request.first_answer is None else request.first_answer
        return end - request.arrived > self.world.limit(request)

    @property
    def replica_seconds(self) -> float:
        """Integral of the size."""
        pairs = zip(self.moments, self.moments[1:], strict=False)
        return sum(a.size * (b.second - a.second) for a, b in pairs)


def run(
    intent: Intent,
    requests: Sequence[Request],
    seconds: float,
    *,
    replicas: int = 1,
    tick: Callable[[Decision], float] | None = None,
    scale: bool = True,
) -> Story:
    """Run the closed loop. The law ticks when it says, and at once when depth jumps by a tenth (and
    at least 2), as the operator's guard does; `tick` overrides when it says.
    """
    world = World(intent, requests, replicas)
    state = State.initial()
    due = 0.0
    depth = 0
    moments: list[Moment] = []
    while world.now < seconds:
        world.step()
        now_depth = world.signals().phases.depth if world.now % 0.5 < STEP_SECONDS else depth
        jumped = abs(now_depth - depth) >= max(2.0, depth * 0.1)
        if world.now < due and not jumped:
            continue
        depth = now_depth
        decision, state = decide(intent, world.look(), state, at(world.now))
        state = State.from_json(state.to_json())
        if scale:
            world.apply(decision)
        due = world.now + (tick(decision) if tick else decision.next_tick_seconds)
        ready = sum(s.ready(world.now) for s in world.servers)
        moments.append(Moment(world.now, world.size, ready, decision))
    return Story(world=world, moments=moments)


def ramp(
    seed: int,
    mean_thinking: int,
    *,
    ramp_seconds: float = 75.0,
    hold_seconds: float = 75.0,
    low: float = 0.4,
    high: float = 2.5,
    mean_answer: int = 30,
    lead_in_seconds: float = 20.0,
) -> list[Request]:
    """Requests at a rate that rises from low to high, holds and ends; Poisson arrivals and
    exponential lengths. The same seed gives the same instants whatever the lengths are.
    """
    arrivals, lengths = random.Random(seed), random.Random(seed + 1)
    second, requests = 0.0, []
    while True:
        grown = min(1.0, max(0.0, second - lead_in_seconds) / ramp_seconds)
        second += arrivals.expovariate(low + (high - low) * grown)
        if second > lead_in_seconds + ramp_seconds + hold_seconds:
            return requests
        thinking = min(4096, max(1, round(lengths.expovariate(1 / mean_thinking))))
        answer = max(1, round(lengths.expovariate(1 / mean_answer)))
        requests.append(Request(second, thinking, answer))
