"""The fresh-first queue: who is in time goes before who is late already. Pure; gateway and
simulator share it.

First come, first served keeps *everybody* late after an overload until the backlog is gone.
Here a request that has waited longer than `fresh_seconds` goes to a second line, which is served
only when nobody is fresh: those who can still be in time, are. A guard against starvation: one who
has waited `oldest_seconds` goes first again. Those whose replica failed them go before all.
"""

from collections import deque
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from pydantic import Field

from thinkscale.model.signals import Wire

T = TypeVar("T")


class QueueRule(Wire):
    """Part of the directive."""

    fresh_seconds: Annotated[float, Field(gt=0)] | None = None
    """None: first come, first served."""
    oldest_seconds: Annotated[float, Field(gt=0)] = 600.0


@dataclass(frozen=True, slots=True)
class Waiting(Generic[T]):
    """One who waits, and since when (seconds on the caller's clock)."""

    item: T
    since: float


class FreshFirst(Generic[T]):
    """Three lines. Those who are new wait in order of arrival (`put` expects a rising `now`);
    those who came back, last come first.
    """

    __slots__ = ("_first", "_fresh", "_late", "rule")

    def __init__(self, rule: QueueRule | None = None) -> None:
        self.rule = rule or QueueRule()
        self._first: deque[Waiting[T]] = deque()
        self._fresh: deque[Waiting[T]] = deque()
        self._late: deque[Waiting[T]] = deque()

    def __len__(self) -> int:
        return len(self._first) + len(self._fresh) + len(self._late)

    def put(self, item: T, now: float) -> None:
        """A new request waits."""
        self._fresh.append(Waiting(item, now))

    def put_first(self, item: T, since: float) -> None:
        """One who had been placed must be placed again; `since`: when it first came."""
        self._first.appendleft(Waiting(item, since))

    def items(self) -> list[T]:
        """All who wait, line by line."""
        return [waiting.item for line in (self._first, self._fresh, self._late) for waiting in line]

    def head(self, now: float) -> Waiting[T] | None:
        """Who is next; None: nobody waits."""
        line = self._line(now)
        return line[0] if line else None

    def take(self, now: float) -> Waiting[T]:
        """Remove who is next. IndexError: nobody waits."""
        return self._line(now).popleft()

    def withdraw(self, item: T) -> bool:
        """Somebody gives up waiting; False: it was not here."""
        for line in (self._first, self._fresh, self._late):
            for waiting in line:
                if waiting.item == item:
                    line.remove(waiting)
                    return True
        return False

    def fresh(self, now: float) -> int:
        """How many wait and are not late yet."""
        self._age(now)
        return len(self._first) + len(self._fresh)

    def fresh_wait_seconds(self, now: float) -> float:
        """How long the first of the fresh has waited; 0: nobody fresh waits."""
        self._age(now)
        return now - self._fresh[0].since if self._fresh else 0.0

    def oldest_wait_seconds(self, now: float) -> float:
        """How long the oldest of all has waited; 0: nobody waits."""
        oldest = [waiting.since for waiting in self._first]
        oldest += [line[0].since for line in (self._fresh, self._late) if line]
        return now - min(oldest) if oldest else 0.0

    def _line(self, now: float) -> deque[Waiting[T]]:
        self._age(now)
        if self._late and now - self._late[0].since >= self.rule.oldest_seconds:
            return self._late
        return self._first or self._fresh or self._late

    def _age(self, now: float) -> None:
        limit = self.rule.fresh_seconds
        if limit is None:
            return
        while self._fresh and now - self._fresh[0].since > limit:
            self._late.append(self._fresh.popleft())
