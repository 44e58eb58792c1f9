"""Which replica gets a request, and who waits: the least full first, the fresh before the late.

Sans-I/O. New requests go to replicas that are ready and not cordoned, or just ready if all ready
ones are cordoned. One that took no connection a moment ago is under suspicion and left alone for a
second; one that keeps failing is out for longer (`health`), as long as there is another. Whether a
replica has room is `model.admission`'s word, by what this gateway has there and, where several
share the replicas, by what these said of everybody's requests when they were last scraped. Of those
with room the least full gets the request, then the one with the least work (expected tokens still
to come); one that has just become ready counts as fuller than it is. A conversation goes on where
it was (`affinity`), if that replica has room and is hardly fuller. Who finds no room waits in
`model.queueing`'s lines. When the queue is full the cordon is ignored before a request is refused:
a replica that is to go may serve one more, but nobody is turned away from a fleet that has room.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from thinkscale.gateway.affinity import Conversation, Whereabouts, rendezvous
from thinkscale.gateway.health import Health, share
from thinkscale.gateway.holding import Holding
from thinkscale.model.admission import (
    RECENT_SECONDS,
    Ceiling,
    Seen,
    admits_of_several,
    everybodys,
    fullness,
)
from thinkscale.model.queueing import FreshFirst, QueueRule

SUSPICION_SECONDS: Final = 1.0
NEAR_FULLNESS: Final = 0.1
NEAR_REQUESTS: Final = 1.5
SPARE_REQUESTS: Final = 2
"""A replica is hardly fuller than another: by so much of its room at most (or one seat), and with
so many times the requests and so many more; else all who begin alike would crowd one replica of an
idle fleet.
"""


class Asking(Protocol):
    """The caller's handle of a request."""

    @property
    def prompt_tokens(self) -> int:
        """As far as known."""
        ...

    @property
    def conversation(self) -> Conversation | None:
        """That it belongs to; None: not known."""
        ...


T = TypeVar("T", bound=Asking)
_Key = tuple[float, float, float, float, str]
"""How full a replica is, its work, its requests, this gateway's own order, its name: the least is
the best.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A replica as the source sees it. One that is terminating is not ready: it gets no new
    request, and its streams go on.
    """

    name: str
    url: str
    """http://HOST:PORT, without a path."""
    ready: bool


@dataclass(slots=True)
class _Place:
    replica: Replica
    holding: Holding = field(default_factory=Holding)
    health: Health = field(default_factory=Health)
    order: float = field(default_factory=random.random)
    """Of replicas that look alike several gateways would all take the same one, each by an order
    that it shares with the others.
    """
    suspected_until: float = 0.0
    ready_since: float = float("-inf")
    seen: Seen | None = None
    """What the replica said of everybody's requests; only where others send there too."""


class Assignment(NamedTuple, Generic[T]):
    """A request that may go now."""

    ticket: T
    replica: Replica
    holding: Holding


@dataclass(slots=True)
class Router(Generic[T]):
    """The fleet as one gateway sees it, and the requests it holds."""

    work: Callable[[str], float]
    """Expected tokens still to come from a replica."""
    queue_max: int = 1000
    ceiling: Ceiling | None = None
    """Of a replica, all gateways together; None: no bound."""
    gateways: int = 1
    """That share the replicas."""
    cordoned: frozenset[str] = frozenset()
    _places: dict[str, _Place] = field(default_factory=dict)
    _gone: dict[str, _Place] = field(default_factory=dict)
    _held: FreshFirst[T] = field(default_factory=FreshFirst)
    _whereabouts: Whereabouts = field(default_factory=Whereabouts)
    _unrecorded: list[tuple[T, str]] = field(default_factory=list)
    """Sent where there was no choice; whose they are is asked when they are out."""
    returned: int = 0
    """Turns of a conversation that went to where the one before was sent."""
    strayed: int = 0
    """Turns that did not."""

    @property
    def replicas(self) -> Mapping[str, Replica]:
        """The fleet as last told."""
        return {name: place.replica for name, place in self._places.items()}

    @property
    def held(self) -> int:
        """Requests that wait here."""
        return len(self._held)

    def order(self, rule: QueueRule) -> None:
        """How those who wait are ordered from now on."""
        self._held.rule = rule

    def fresh(self, now: float) -> int:
        """Of those who wait, how many are not late yet."""
        return self._held.fresh(now)

    def fresh_wait_seconds(self, now: float) -> float:
        """How long the first of the fresh has waited; 0: nobody fresh waits."""
        return self._held.fresh_wait_seconds(now)

    def holding(self, name: str) -> Holding | None:
        """What a replica holds of this gateway's requests; None: there is no such replica."""
        place = self._places.get(name) or self._gone.get(name)
        return place.holding if place else None

    def in_flight(self, name: str) -> int:
        """Requests of this gateway at a replica."""
        holding = self.holding(name)
        return holding.running if holding else 0

    def locate(self, replicas: Iterable[Replica], now: float) -> bool:
        """The fleet changed; True if the set of ready replicas did. One that becomes ready starts
        anew.
        """
        self._record()
        before = {name for name, place in self._places.items() if place.replica.ready}
        known, self._places = {**self._gone, **self._places}, {}
        for replica in replicas:
            place = known.pop(replica.name, None) or _Place(replica)
            if replica.ready and replica.name not in before:
                place.health, place.ready_since = Health(), now
            place.replica = replica
            self._places[replica.name] = place
        self._gone = {name: place for name, place in known.items() if place.holding.running}
        return before != {name for name, place in self._places.items() if place.replica.ready}

    def serving(self) -> list[str]:
        """Replicas that new requests go to: ready and un-cordoned, or just ready if all ready ones
        are cordoned.
        """
        ready = self._ready()
        return [name for name in ready if name not in self.cordoned] or ready

    def _ready(self) -> list[str]:
        return [name for name, place in self._places.items() if place.replica.ready]

    def submit(self, ticket: T, now: float) -> Assignment[T] | None:
        """Place a request, or hold it (None). Raises `QueueFull`. When the queue is full and only a
        cordoned replica has room, `assign` gives that to the head of the queue: call it afterwards.
        """
        if not self.held and (place := self._pick(ticket, now, self.serving())) is not None:
            return self._assignment(ticket, place, now)
        self._held.put(ticket, now)
        head = self._held.head(now)
        full = self.held > self.queue_max
        if full and head is not None and self._pick(head.item, now, self._ready()) is None:
            self._held.withdraw(ticket)
            raise QueueFull
        return None

    def resubmit(self, ticket: T, since: float) -> None:
        """A request whose replica turned out to be away goes before all; `since`: when it came."""
        self._held.put_first(ticket, since)

    def withdraw(self, ticket: T) -> None:
        """A held request's client went away."""
        self._held.withdraw(ticket)

    def assign(self, now: float) -> list[Assignment[T]]:
        """The held requests that have room now, in their order. Call after every change."""
        assignments: list[Assignment[T]] = []
        while (head := self._held.head(now)) is not None:
            place = self._pick(head.item, now, self.serving())
            if place is None and self.held > self.queue_max:
                place = self._pick(head.item, now, self._ready())
            if place is None:
                break
            self._held.take(now)
            assignments.append(self._assignment(head.item, place, now))
        return assignments

    def release(self, name: str, tokens: int) -> None:
        """A request left a replica, with its prompt and what it had generated."""
        place = self._places.get(name) or self._gone.get(name)
        if place is not None:
            place.holding.give_back(tokens)
            place.health.released()
            if place.holding.running <= 0:
                self._gone.pop(name, None)
        self._record()

    def prefills(self, name: str, tokens: int, now: float) -> None:
        """A replica computes so many prompt tokens for a request that it has already."""
        holding = self.holding(name)
        if holding is not None:
            holding.stall(self._prefill_seconds(tokens), now)

    def looked(self, name: str, running: int, context_tokens: float, now: float) -> None:
        """A replica told what it holds of all gateways' requests."""
        place = self._places.get(name)
        if place is not None:
            place.seen = Seen(
                at=now,
                running=running,
                context_tokens=context_tokens,
                own_running=place.holding.running,
                own_context_tokens=place.holding.context_tokens,
            )

    def suspect(self, name: str, now: float) -> None:
        """A replica refused a connection: leave it alone for a second."""
        place = self._places.get(name)
        if place is not None:
            place.suspected_until = now + SUSPICION_SECONDS

    def failed(self, name: str, now: float) -> bool:
        """A request failed at a replica; True: with it the replica is out."""
        place = self._places.get(name)
        return place is not None and place.health.failed(now)

    def succeeded(self, name: str) -> bool:
        """A replica gave a request its first token; True: it was out, and is back."""
        self._record()
        place = self._places.get(name)
        return place is not None and place.health.succeeded()

    def out(self, now: float) -> list[str]:
        """Replicas that get no request since they fail."""
        return [n for n, p in self._places.items() if p.replica.ready and not p.health.admits(now)]

    def another(self, name: str, now: float) -> bool:
        """Whether a request could be placed on some other replica now."""
        return any(other != name for other in self._well(self.serving(), now))

    def _well(self, among: Iterable[str], now: float) -> list[str]:
        """Those that take connections, and do not fail unless all of them do."""
        near = [name for name in among if self._places[name].suspected_until <= now]
        return [name for name in near if self._places[name].health.admits(now)] or near

    def _assignment(self, ticket: T, place: _Place, now: float) -> Assignment[T]:
        tokens = ticket.prompt_tokens
        place.holding.take(tokens, self._prefill_seconds(tokens), now)
        place.health.sent()
        self._unrecorded.append((ticket, place.replica.name))
        if len(self._places) > 1:
            self._record()
        return Assignment(ticket, place.replica, place.holding)

    def _record(self) -> None:
        """Where conversations were sent."""
        sent, self._unrecorded = self._unrecorded, []
        for ticket, name in sent:
            conversation = ticket.conversation
            if conversation is None:
                continue
            before = self._whereabouts.of(conversation.number)
            if before is not None and not conversation.begins:
                self.returned += before == name
                self.strayed += before != name
            self._whereabouts.sent(conversation.number, name)

    def _prefill_seconds(self, tokens: int) -> float:
        step = self.ceiling.step_time if self.ceiling else None
        return step.prompt_token_seconds * tokens if step else 0.0

    def _pick(self, ticket: T, now: float, among: Iterable[str]) -> _Place | None:
        keys: list[_Key] = []
        usual = self._usual_stall_seconds(now)
        well = self._well(among, now)
        if len(well) == 1:
            only = self._places[well[0]]
            return only if self._has_room(only, ticket, usual, now) else None
        for name in well:
            place = self._places[name]
            part = share(now - place.ready_since)
            full = self._fullness(place, ticket, usual, now)
            if full is not None:
                load = full / part, self.work(name) / part, place.holding.running / part
                keys.append((*load, place.order if self.gateways > 1 else 0.0, name))
        if not keys:
            return None
        best = self._best(keys)
        return self._places[self._familiar(ticket, keys, best, now) or best[-1]]

    def _best(self, keys: list[_Key]) -> _Key:
        """One of these; at least one."""
        return min(keys)

    def _familiar(self, ticket: T, keys: list[_Key], best: _Key, now: float) -> str | None:
        """The replica that may have the beginning of the conversation, if going there costs nobody
        anything: it has room, and hardly more to do than the best.
        """
        conversation = ticket.conversation
        if conversation is None or self.ceiling is None:
            return None
        spare = max(NEAR_FULLNESS, 1 / self.ceiling.seats)
        wanted = None if conversation.begins else self._whereabouts.of(conversation.number)
        if wanted is None and self.gateways > 1:
            wanted = rendezvous(conversation.number, self._ready())
        for full, _, running, _, name in keys:
            if name == wanted:
                part = share(now - self._places[name].ready_since)
                most = best[2] * NEAR_REQUESTS + SPARE_REQUESTS / part
                return name if full <= best[0] + spare / part and running <= most else None
        return None

    def _fullness(self, place: _Place, ticket: T, usual_stall: float, now: float) -> float | None:
        """How full a replica is; None: it has no room for this request."""
        if self.ceiling is None:
            return 0.0
        if not self._has_room(place, ticket, usual_stall, now):
            return None
        held, seen = place.holding.held(now), _recent(place, now)
        if seen is not None and self.gateways > 1:
            held = everybodys(held, seen, self.gateways, usual_stall)
        return fullness(self.ceiling, held)

    def _has_room(self, place: _Place, ticket: T, usual_stall: float, now: float) -> bool:
        ceiling, tokens, gateways = self.ceiling, ticket.prompt_tokens, self.gateways
        if ceiling is None:
            return True
        held = place.holding.held(now)
        return admits_of_several(ceiling, held, _recent(place, now), tokens, gateways, usual_stall)

    def _usual_stall_seconds(self, now: float) -> float:
        """Mean over the replicas; needed only where several gateways share them."""
        if self.gateways <= 1 or not self._places:
            return 0.0
        stalls = [place.holding.held(now).stall_seconds for place in self._places.values()]
        return sum(stalls) / len(stalls)


def _recent(place: _Place, now: float) -> Seen | None:
    seen = place.seen
    return None if seen is None or now - seen.at > RECENT_SECONDS else seen


class QueueFull(Exception):
    """As many requests are held as the resource allows (HTTP 429)."""
