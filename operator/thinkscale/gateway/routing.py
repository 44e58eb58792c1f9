"""Which replica gets a request, and who waits: least work first, first come first served.

Sans-I/O. New requests go to replicas that are ready and not cordoned, or just ready if all ready
ones are cordoned. One that took no connection a moment ago is under suspicion and left alone for a
second. A replica has room while the requests that this gateway has there are under the admission
ceiling. Without room requests are held in their order. When the queue is full the cordon is ignored
before a request is refused: a replica that is to go may serve one more, but nobody is turned away
from a fleet that has room. Work is expected tokens still to come; requests in flight break
the tie.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")

SUSPICION_SECONDS: Final = 1.0


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
    in_flight: int = 0
    suspected_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Assignment(Generic[T]):
    """A held request that may go now."""

    ticket: T
    replica: Replica


@dataclass(slots=True)
class Router(Generic[T]):
    """The fleet as one gateway sees it, and the requests it holds. `T` is the caller's handle of a
    request.
    """

    work: Callable[[str], float]
    """Expected tokens still to come from a replica."""
    queue_max: int = 1000
    ceiling: int | None = None
    cordoned: frozenset[str] = frozenset()
    _places: dict[str, _Place] = field(default_factory=dict)
    _gone: dict[str, _Place] = field(default_factory=dict)
    _held: deque[T] = field(default_factory=deque)

    @property
    def replicas(self) -> Mapping[str, Replica]:
        """The fleet as last told."""
        return {name: place.replica for name, place in self._places.items()}

    @property
    def held(self) -> int:
        """Requests that wait here."""
        return len(self._held)

    def in_flight(self, name: str) -> int:
        """Requests of this gateway at a replica."""
        place = self._places.get(name) or self._gone.get(name)
        return place.in_flight if place else 0

    def locate(self, replicas: Iterable[Replica]) -> bool:
        """The fleet changed; True if the set of ready replicas did."""
        before = {name for name, place in self._places.items() if place.replica.ready}
        known, self._places = {**self._gone, **self._places}, {}
        for replica in replicas:
            place = known.pop(replica.name, None) or _Place(replica)
            place.replica = replica
            self._places[replica.name] = place
        self._gone = {name: place for name, place in known.items() if place.in_flight}
        return before != {name for name, place in self._places.items() if place.replica.ready}

    def serving(self) -> list[str]:
        """Replicas that new requests go to: ready and un-cordoned, or just ready if all ready ones
        are cordoned.
        """
        ready = self._ready()
        return [name for name in ready if name not in self.cordoned] or ready

    def _ready(self) -> list[str]:
        return [name for name, place in self._places.items() if place.replica.ready]

    def submit(self, ticket: T, now: float) -> Replica | None:
        """Place a request, or hold it (None). Raises `QueueFull`. When the queue is full and only a
        cordoned replica has room, `assign` gives that to the head of the queue: call it afterwards.
        """
        if not self._held and (place := self._pick(now, self.serving())) is not None:
            place.in_flight += 1
            return place.replica
        if len(self._held) >= self.queue_max and self._pick(now, self._ready()) is None:
            raise QueueFull
        self._held.append(ticket)
        return None

    def resubmit(self, ticket: T) -> None:
        """A request whose replica turned out to be away: it goes to the head of the queue."""
        self._held.appendleft(ticket)

    def withdraw(self, ticket: T) -> None:
        """A held request's client went away."""
        try:
            self._held.remove(ticket)
        except ValueError:
            return

    def assign(self, now: float) -> list[Assignment[T]]:
        """The held requests that have room now, in their order. Call after every change."""
        assignments: list[Assignment[T]] = []
        while self._held:
            place = self._pick(now, self.serving())
            if place is None and len(self._held) > self.queue_max:
                place = self._pick(now, self._ready())
            if place is None:
                break
            place.in_flight += 1
            assignments.append(Assignment(self._held.popleft(), place.replica))
        return assignments

    def release(self, name: str) -> None:
        """A request left a replica."""
        place = self._places.get(name) or self._gone.get(name)
        if place is None:
            return
        place.in_flight -= 1
        if place.in_flight <= 0:
            self._gone.pop(name, None)

    def suspect(self, name: str, now: float) -> None:
        """A replica refused a connection: leave it alone for a second."""
        place = self._places.get(name)
        if place is not None:
            place.suspected_until = now + SUSPICION_SECONDS

    def another(self, name: str, now: float) -> bool:
        """Whether a request could be placed on some other replica now."""
        return any(
            other != name and self._places[other].suspected_until <= now for other in self.serving()
        )

    def _pick(self, now: float, among: Iterable[str]) -> _Place | None:
        best: _Place | None = None
        best_key: tuple[float, int, str] | None = None
        for name in among:
            place = self._places[name]
            if place.suspected_until > now:
                continue
            if self.ceiling is not None and place.in_flight >= self.ceiling:
                continue
            key = (self.work(name), place.in_flight, name)
            if best_key is None or key < best_key:
                best, best_key = place, key
        return best


class QueueFull(Exception):
    """As many requests are held as the resource allows (HTTP 429)."""
