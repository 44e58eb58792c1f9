"""Which ready replicas get no request yet, since they have to prove their native budget first.

Pure. A replica proves it anew whenever it becomes ready: it may be another process then. Those that
serve when the resource begins to ask for proof go on serving, and nobody waits for a proof that is
no longer asked for. Each wait has a number, so that what is learnt of a replica that has meanwhile
gone and come back is not taken for the one that is there now.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum


class Finding(StrEnum):
    """What a canary has shown; the value of the label `result`."""

    HELD = "held"
    BROKEN = "broken"
    ABSENT = "absent"
    """The engine was started without native budgets."""
    UNPROVEN = "unproven"
    """Neither: it did not answer in time, or its thought ended by itself."""


class Proofs:
    """The fleet of one gateway, as far as it has proven itself."""

    def __init__(self) -> None:
        self._admitted: set[str] = set()
        self._waiting: dict[str, int] = {}
        self._number = 0

    @property
    def waiting(self) -> Mapping[str, int]:
        """Replicas that have yet to prove themselves, and the numbers of their waits."""
        return self._waiting

    def look(self, ready: Collection[str], *, asked: bool) -> None:
        """These replicas are ready now. `asked`: a proof is asked for."""
        self._admitted &= set(ready)
        for gone in self._waiting.keys() - set(ready):
            del self._waiting[gone]
        if not asked:
            self._waiting.clear()
            self._admitted.update(ready)
            return
        for name in ready:
            if name not in self._admitted and name not in self._waiting:
                self._number += 1
                self._waiting[name] = self._number

    def done(self, name: str, number: int) -> bool:
        """That wait is over, whatever it has shown; False: it was over already."""
        if self._waiting.get(name) != number:
            return False
        del self._waiting[name]
        self._admitted.add(name)
        return True
