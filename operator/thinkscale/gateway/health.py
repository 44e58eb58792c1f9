"""When a replica that fails is left alone, for how long, and how it comes back. Pure.

Three failures in a row and it is out, for a time that doubles with every return that fails. When
the time is up it is half open: one request goes there, and what becomes of it decides. A failure is
a connection that is refused or breaks off, an answer of 5xx, a stream that is garbled or falls
silent; a success is a first token. Being full (429 or 503) is neither. That a whole fleet is out,
and somebody must be tried all the same, is for the router to know.
"""

from dataclasses import dataclass
from typing import Final

FAILURES: Final = 3
OUT_SECONDS: Final = 5.0
LONGEST_OUT_SECONDS: Final = 120.0
SLOW_START_SECONDS: Final = 15.0
LEAST_SHARE: Final = 0.2


@dataclass(slots=True)
class Health:
    """One replica's."""

    failures: int = 0
    """In a row."""
    out_until: float | None = None
    out_seconds: float = OUT_SECONDS
    is_tried: bool = False
    """Half open, and the one request is there."""

    def admits(self, now: float) -> bool:
        """Whether a request may go there."""
        return self.out_until is None or (now >= self.out_until and not self.is_tried)

    def sent(self) -> None:
        """A request goes there."""
        self.is_tried = self.out_until is not None

    def released(self) -> None:
        """A request left, however it ended. If it decided nothing, the next one tries."""
        self.is_tried = False

    def failed(self, now: float) -> bool:
        """A request failed there; True: with it the replica is out."""
        self.failures += 1
        self.is_tried = False
        if self.out_until is not None and now >= self.out_until:
            self.out_seconds = min(2 * self.out_seconds, LONGEST_OUT_SECONDS)
        elif self.out_until is not None or self.failures < FAILURES:
            return False
        self.out_until = now + self.out_seconds
        return True

    def succeeded(self) -> bool:
        """A first token came; True: it was out, and is back."""
        was_out = self.out_until is not None
        if self.failures:
            self.failures, self.out_until = 0, None
            self.out_seconds, self.is_tried = OUT_SECONDS, False
        return was_out


def share(ready_seconds: float) -> float:
    """How much of its part a replica gets that has been ready for so long: a cold one compiles,
    fills its caches and would prefill a whole burst at once. It grows from a fifth to all of it.
    """
    return min(1.0, max(LEAST_SHARE, ready_seconds / SLOW_START_SECONDS))
