"""When a request whose replica failed may go to another one. Pure; instants are the caller's.

Nothing was sent to the client: it may begin again, once, and for as long as no connection comes
about at all. The client has something: another replica may only go on from there (`goes_on`), where
a continuation can carry that. A silent engine may be at work on the request, so nothing is begun
again behind its back.
"""

from dataclasses import dataclass
from typing import Final

ATTEMPTS: Final = 2
"""Replicas that a request is sent to at most, from its beginning."""
RESUMES: Final = 3
"""How often a request may go on at another replica from what the client has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What happened to a request at a replica."""

    sent: bool
    """The client has something of it."""
    resumable: bool
    """Another replica can go on from what the client has."""
    unconnected: bool
    """No connection came about."""
    silent: bool
    """The engine took it and said nothing for too long."""
    refused: bool
    """The engine said no inside its stream: it is full, or ill."""
    alone: bool
    """There is no other replica."""


class Retry:
    """One request's losses so far."""

    __slots__ = ("_connect_seconds", "_failed", "_unconnected_since", "goes_on")

    def __init__(self, connect_seconds: float) -> None:
        """`connect_seconds`: how long to look for a replica that takes its connection."""
        self._connect_seconds = connect_seconds
        self._failed = 0
        self._unconnected_since = float("inf")
        self.goes_on = False
        """The next replica goes on from what the client has."""

    @property
    def is_last(self) -> bool:
        """Another failure ends a request that begins anew."""
        return self._failed + 1 >= ATTEMPTS

    def connected(self) -> None:
        """A replica took its connection."""
        self._unconnected_since = float("inf")

    def again(self, loss: Loss, now: float) -> bool:
        """Whether another replica may have it."""
        self.goes_on = loss.sent and loss.resumable
        if loss.sent and not self.goes_on:
            return False
        if loss.unconnected:
            self._unconnected_since = min(self._unconnected_since, now)
            return now - self._unconnected_since < self._connect_seconds
        self._failed += 1
        if self.goes_on:
            return self._failed <= RESUMES
        return self._failed < ATTEMPTS and not loss.silent and not (loss.refused and loss.alone)
