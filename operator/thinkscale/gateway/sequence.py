"""When a long poll of `/signals` is answered: the sequence number and when it moves. Sans-I/O.

It moves at once when depth has moved by more than a tenth, and by at least 2 requests, since it
last moved, or when a replica comes or goes; otherwise once a second while anything changes.
"""

from typing import Final

QUIET_SECONDS: Final = 1.0


class Sequence:
    """The number, and what it was last raised for."""

    __slots__ = ("_at", "_changes", "_depth", "_fleet", "number")

    def __init__(self) -> None:
        self.number = 1
        self._depth = 0
        self._changes = 0
        self._fleet: frozenset[str] = frozenset()
        self._at = float("-inf")

    def jumped(self, depth: int, fleet: frozenset[str]) -> bool:
        """Whether this is worth telling at once."""
        moved = abs(depth - self._depth)
        return (moved >= 2 and moved * 10 > self._depth) or fleet != self._fleet

    def observe(self, depth: int, fleet: frozenset[str], changes: int, now: float) -> bool:
        """Look at the state; True if the number was raised."""
        due = changes != self._changes and now - self._at >= QUIET_SECONDS
        if not (due or self.jumped(depth, fleet)):
            return False
        self.number += 1
        self._depth, self._fleet, self._changes, self._at = depth, fleet, changes, now
        return True
