"""When which service is due: a heap of times, where an earlier wish always wins.

A key that is being ticked is not handed out again before it is done, and no key twice within
`gap_seconds`: a burst of events becomes one tick after the burst began and one after it.
"""

import asyncio
import heapq
from collections.abc import Callable
from typing import Final

GAP_SECONDS: Final = 0.2


class Schedule:
    """Keys and the times at which they are due, on a monotonic clock."""

    def __init__(self, clock: Callable[[], float], *, gap_seconds: float = GAP_SECONDS) -> None:
        self._clock = clock
        self._gap = gap_seconds
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._busy: set[str] = set()
        self._ended: dict[str, float] = {}
        self._woken = asyncio.Event()

    def want(self, key: str, within_seconds: float = 0.0) -> None:
        """Tick this key within so many seconds; an earlier wish stands."""
        now = self._clock()
        earliest = self._ended.get(key, now - self._gap) + self._gap
        at = max(now + within_seconds, earliest)
        if self._due.get(key, at + 1) <= at:
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, key))
        self._woken.set()

    def done(self, key: str) -> None:
        """The tick of this key has ended."""
        self._busy.discard(key)
        self._ended[key] = self._clock()
        if key in self._due:
            heapq.heappush(self._heap, (self._due[key], key))
            self._woken.set()

    def forget(self, key: str) -> None:
        """Remember nothing of this key, unless somebody wants it already."""
        if key not in self._due:
            self._ended.pop(key, None)

    async def next(self) -> str:
        """The next key that is due, when it is; it is busy until `done`."""
        while True:
            self._woken.clear()
            now = self._clock()
            while self._heap:
                at, key = self._heap[0]
                if self._due.get(key) != at or key in self._busy:
                    heapq.heappop(self._heap)  # outdated; a busy key comes back with `done`
                    continue
                if at > now:
                    break
                heapq.heappop(self._heap)
                del self._due[key]
                self._busy.add(key)
                return key
            pause = self._heap[0][0] - now if self._heap else None
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            except TimeoutError:
                continue
