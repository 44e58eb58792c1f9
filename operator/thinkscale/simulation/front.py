"""A simulated gateway: the queue, and which replica a request goes to.

With a directive it is ours: the fresh-first queue, the admission ceiling by its own accounting and,
where several share the replicas, by what these said of themselves up to two seconds ago, the
brown-out rule once a second, all by the very functions that the real gateway uses.
Without one it is nobody's: first come, first served to the engine with the fewest requests that
takes it at once, by seats and KV cache, which flatters whoever has no gateway.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from thinkscale.model.admission import (
    RECENT_SECONDS,
    Ceiling,
    Held,
    Seen,
    admits_of_several,
    decayed,
    everybodys,
    fullness,
)
from thinkscale.model.brownout import Brownout, Pressure, evaluate, terms
from thinkscale.model.cutting import CutLimits, Thought
from thinkscale.model.directive import Directive
from thinkscale.model.queueing import FreshFirst
from thinkscale.simulation.flight import Flight
from thinkscale.simulation.members import Member, Members, Stage

Send = Callable[[Member, Flight, float], None]


class Front:
    """One gateway. `send` puts a request into a replica."""

    def __init__(
        self, index: int, gateways: int, seats: int, kv_tokens: int, members: Members, send: Send
    ) -> None:
        self.index = index
        self.queue: FreshFirst[Flight] = FreshFirst()
        self.directive: Directive | None = None
        self.brownout = Brownout()
        self._gateways = gateways
        self._seats = seats
        self._kv_tokens = kv_tokens
        self._members = members
        self._send = send
        self._ceiling: Ceiling | None = None
        self._seen: dict[Member, Seen] = {}
        self._usual_stall = 0.0
        self._limits = CutLimits()

    @property
    def held(self) -> int:
        """Requests that wait here."""
        return len(self.queue)

    @property
    def effective_tokens(self) -> int | None:
        """The brown-out's budget; None: it is off."""
        return self.brownout.effective_tokens

    def direct(self, directive: Directive | None) -> None:
        """A directive arrived."""
        self.directive = directive
        if directive is None:
            self._ceiling = None
            return
        self._ceiling = directive.ceiling or Ceiling(seats=self._seats)
        self.queue.rule = directive.queue
        rule = directive.brownout
        self._limits.renew(
            cuts_allowed=rule.cuts_allowed if rule else 0,
            per_replica_second=rule.cuts_per_replica_second if rule else 0.0,
            gateways=self._gateways,
        )

    # Placing.

    def arrive(self, flight: Flight, now: float) -> None:
        """A new request: placed at once if nobody waits and somebody has room."""
        if not len(self.queue):
            member = self._pick(flight, now)
            if member is not None:
                self._place(member, flight, now)
                return
        self.queue.put(flight, now)

    def again(self, flight: Flight) -> None:
        """One whose replica died."""
        self.queue.put_first(flight, flight.arrived)

    def offer(self, member: Member, now: float) -> None:
        """A replica may have room: fill it from the queue."""
        while (head := self.queue.head(now)) is not None and self._fits(member, head.item, now):
            self._place(member, self.queue.take(now).item, now)

    def drain(self, now: float) -> None:
        """Place whom there is room for."""
        while (head := self.queue.head(now)) is not None:
            member = self._pick(head.item, now)
            if member is None:
                return
            self._place(member, self.queue.take(now).item, now)

    def _place(self, member: Member, flight: Flight, now: float) -> None:
        if self._ceiling is not None:
            self._stall(member, flight.prompt, now)
        self._send(member, flight, now)

    def _pick(self, flight: Flight, now: float) -> Member | None:
        """The replica that is the least full, of those that take it."""
        serving = self._members.serving
        if not serving:
            return None
        loads = self._loads(serving, now)
        first = serving[loads.index(min(loads))]
        if self._fits(first, flight, now):
            return first
        for at in sorted(range(len(serving)), key=loads.__getitem__):
            if serving[at] is not first and self._fits(serving[at], flight, now):
                return serving[at]
        return None

    def scrape(self, now: float) -> None:
        """What each replica has of everybody, and of this gateway."""
        self._seen = {}
        serving = self._members.serving
        stalls = [self.held_at(member, now).stall_seconds for member in serving]
        self._usual_stall = sum(stalls) / max(1, len(stalls))
        for member in serving:
            own, replica = self.held_at(member, now), member.replica
            self._seen[member] = Seen(
                at=now,
                running=sum(replica.counts),
                context_tokens=sum(
                    replica.held_tokens(other, now) for other in range(self._gateways)
                ),
                own_running=own.running,
                own_context_tokens=own.context_tokens,
            )

    def _last(self, member: Member, now: float) -> Seen | None:
        seen = self._seen.get(member)
        return seen if seen is not None and now - seen.at <= RECENT_SECONDS else None

    def _loads(self, serving: Sequence[Member], now: float) -> list[float]:
        """How full each is; requests without a ceiling.

        NB: one loop, and `model.admission.fullness` written out, since every arrival asks this of
        the whole fleet.
        """
        ceiling, index = self._ceiling, self.index
        if ceiling is None:
            return [sum(member.replica.counts) for member in serving]
        if self._seen:
            return [self._fullness(ceiling, member, now) for member in serving]
        seats, capacity, loads = ceiling.seats, ceiling.kv_tokens, []
        for member in serving:
            replica = member.replica
            load = replica.counts[index] / seats
            if capacity is not None and (kv := replica.held_tokens(index, now) / capacity) > load:
                load = kv
            loads.append(load)
        return loads

    def _fullness(self, ceiling: Ceiling, member: Member, now: float) -> float:
        held, seen = self.held_at(member, now), self._last(member, now)
        if seen is not None:
            held = everybodys(held, seen, self._gateways, self._usual_stall)
        return fullness(ceiling, held)

    def _fits(self, member: Member, flight: Flight, now: float) -> bool:
        if self._ceiling is not None:
            return admits_of_several(
                self._ceiling,
                self.held_at(member, now),
                self._last(member, now),
                flight.prompt,
                self._gateways,
                self._usual_stall,
            )
        return self._engine_takes(member, flight, now)

    def held_at(self, member: Member, now: float) -> Held:
        """What a replica holds of this gateway's requests."""
        index = self.index
        elapsed = now - member.stall_at[index]
        return Held(
            running=member.replica.counts[index],
            context_tokens=member.replica.held_tokens(index, now),
            stall_seconds=decayed(member.stalls[index], elapsed),
        )

    def _engine_takes(self, member: Member, flight: Flight, now: float) -> bool:
        """Whether its scheduler admits it with the next step."""
        replica = member.replica
        waiting = replica.waiting
        if waiting and waiting[0].admitted >= 0:
            return False  # preempted, and waits for room
        if len(replica.running) + len(waiting) >= self._seats:
            return False
        expected = sum(other.prompt for other in waiting) + flight.prompt + replica.decoding
        return replica.kv_at(now) + expected <= self._kv_tokens

    def _stall(self, member: Member, tokens: int, now: float) -> None:
        """Book the prefill of so many tokens."""
        ceiling, index = self._ceiling, self.index
        if ceiling is None or ceiling.step_time is None:
            return
        faded = decayed(member.stalls[index], now - member.stall_at[index])
        member.stalls[index] = faded + ceiling.step_time.prompt_token_seconds * tokens
        member.stall_at[index] = now

    # The brown-out.

    def look(
        self, arrivals_per_second: float, now: float, date: datetime, *, costs_prefill: bool
    ) -> dict[Member, list[Flight]]:
        """Once a second: evaluate the rule, and name the thoughts to close now, by replica."""
        rule = self.directive.brownout if self.directive is not None else None
        self.brownout = evaluate(
            rule,
            self.brownout,
            Pressure(
                fresh_wait_seconds=self.queue.fresh_wait_seconds(now),
                fresh=self.queue.fresh(now),
                arrivals_per_second=arrivals_per_second,
                replicas=len(self._members.serving) / self._gateways,
            ),
            now,
            expired=rule is not None and date >= rule.until,
        )
        effective = self.brownout.effective_tokens
        if effective is None or self._limits.allowed <= 0:
            return {}
        least = min((effective, *self.brownout.tokens_by_tier.values()))
        found = self._open_thoughts(least, now)
        chosen = self._limits.choose(found, effective, now, terms(rule, self.brownout))
        closing: dict[Member, list[Flight]] = {}
        for thought in chosen:
            member, flight = thought.item
            closing.setdefault(member, []).append(flight)
            if costs_prefill:
                self._stall(member, flight.prompt + thought.age_tokens, now)
        return closing

    def lost_points(self, flight: Flight, age_tokens: int) -> float:
        """Expected score that closing its thought now costs, percent points; 0: nobody knows."""
        rule = self.directive.brownout if self.directive is not None else None
        known = terms(rule, self.brownout)
        return known.lost_points(flight.tier, age_tokens) if known else 0.0

    def _open_thoughts(self, least: int, now: float) -> list[Thought[tuple[Member, Flight]]]:
        found = []
        for member in self._members.present:
            if member.stage is Stage.WARMING:
                continue
            replica = member.replica
            replica.sync(now)
            for flight in (*replica.running, *replica.waiting):
                if flight.gateway != self.index or flight.first_answer >= 0 or flight.cut:
                    continue
                age = replica.generated(flight)
                if age >= least and age < flight.thinking:
                    found.append(Thought((member, flight), member.name, age, flight.tier))
        return found
