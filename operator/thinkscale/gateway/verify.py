"""Whether a replica's native thinking budget can be believed: three ways to break it, and the way
back.

Pure; instants are the caller's. A budget that was sent to an engine is compared with what came:
`ignored` (the thought went on as if nothing had been sent), `overrun` (it was ended, but late) or
`injected` (the end-of-thinking tag was put into the answer). One offence and the replica's word is
doubted: its budgets are held by the gateway alone. After a while that doubles with every offence,
one request is sent with a native budget again, which costs nothing since the gateway still
holds it. Only a thought that reached its budget and was ended there in time clears the replica: one
that ends before by itself proves nothing. A replica that was not ready for a moment starts anew.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

OVERRUN_TOKENS: Final = 32
"""A thought that ends within so many tokens beyond its native budget was ended by it, late: the
phrase that an engine forces is counted as thinking, token by token.
"""
RETRY_SECONDS: Final = 300.0
LONGEST_RETRY_SECONDS: Final = 3600.0


class Violation(StrEnum):
    """How a native budget was broken; the value of the label `cause`."""

    IGNORED = "ignored"
    OVERRUN = "overrun"
    INJECTED = "injected"


class Standing(StrEnum):
    """What may be expected of a replica's native budget."""

    TRUSTED = "trusted"
    DOUBTED = "doubted"
    """It does no harm, and may not hold."""
    HARMFUL = "harmful"
    """It spoils answers."""
    ABSENT = "absent"
    """The engine refuses it."""


def violation_of(excess: int, *, closed: bool) -> Violation | None:
    """What so many thinking tokens beyond the budget are; None: they do not tell yet. `closed`:
    the thought has ended.
    """
    if excess > OVERRUN_TOKENS:
        return Violation.IGNORED
    return Violation.OVERRUN if closed else None


@dataclass(slots=True)
class _Doubt:
    cause: Violation | None
    until: float
    seconds: float
    is_tried: bool = False
    """A request has been sent to see whether it holds again."""


class NativeTrust:
    """What one gateway knows of the native budgets of its replicas."""

    def __init__(self, retry_seconds: float = RETRY_SECONDS) -> None:
        self._retry_seconds = retry_seconds
        self._doubts: dict[str, _Doubt] = {}
        self._absent: set[str] = set()

    @property
    def doubted(self) -> Collection[str]:
        """Replicas that broke one and have not cleared themselves."""
        return self._doubts.keys()

    def standing(self, replica: str, now: float) -> Standing:
        """What to expect of a replica now."""
        if replica in self._absent:
            return Standing.ABSENT
        doubt = self._doubts.get(replica)
        if doubt is None:
            return Standing.TRUSTED
        if now >= doubt.until and not doubt.is_tried:
            return Standing.TRUSTED
        return Standing.HARMFUL if doubt.cause is Violation.INJECTED else Standing.DOUBTED

    def sends(self, replica: str, now: float) -> bool:
        """A request with a native budget goes to a replica; True: it is the one that tries whether
        it holds again, so say `tried` when it is over.
        """
        doubt = self._doubts.get(replica)
        if doubt is None or doubt.is_tried or now < doubt.until:
            return False
        doubt.is_tried = True
        return True

    def tried(self, replica: str) -> None:
        """That request is over. If it proved nothing, the next one tries."""
        if replica in self._doubts:
            self._doubts[replica].is_tried = False

    def refused(self, replica: str) -> None:
        """The engine was started without native budgets."""
        self._absent.add(replica)

    def broke(self, replica: str, cause: Violation | None, now: float) -> None:
        """A native budget did not hold; `cause` None: it was to be shown that it does, and could
        not be. Requests that were under way at the first offence tell
        nothing new.
        """
        doubt = self._doubts.get(replica)
        if doubt is None:
            seconds = self._retry_seconds
        elif now < doubt.until:
            return
        else:
            seconds = min(2 * doubt.seconds, LONGEST_RETRY_SECONDS)
        self._doubts[replica] = _Doubt(cause, now + seconds, seconds)

    def held(self, replica: str) -> None:
        """A thought reached its native budget and was ended there."""
        self._doubts.pop(replica, None)

    def keep(self, ready: Collection[str]) -> None:
        """All others are gone or start anew."""
        self._absent &= set(ready)
        for name in self._doubts.keys() - set(ready):
            del self._doubts[name]
