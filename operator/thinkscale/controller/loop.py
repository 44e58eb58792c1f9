"""The one control loop: hands each service that is due to a tick, a few at a time, and decides when
it is due again.

Cost follows activity: a tick says when it wants the next one, events only shorten that, and
jitter keeps services apart. A tick that fails comes again with a growing pause, and never delays
another service.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final

from thinkscale.controller.metrics import Metrics
from thinkscale.controller.schedule import Schedule
from thinkscale.controller.tick import Ticker
from thinkscale.errors import ApiError, ThinkscaleError

logger = logging.getLogger(__name__)

CONCURRENCY: Final = 8
FIRST_BACKOFF_SECONDS: Final = 0.5
LAST_BACKOFF_SECONDS: Final = 60.0
TICK_TIMEOUT_SECONDS: Final = 120.0
JITTER: Final = 0.05


class Loop:
    """Runs ticks as the schedule says, and knows how long the oldest of them has been running."""

    def __init__(
        self,
        schedule: Schedule,
        ticker: Ticker,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._schedule = schedule
        self._ticker = ticker
        self._metrics = metrics
        self._clock = clock
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._failures: dict[str, int] = {}
        self._running: dict[str, float] = {}

    def oldest_tick_seconds(self) -> float:
        """How long the longest running tick has been running; 0: none is."""
        now = self._clock()
        return max((now - begun for begun in self._running.values()), default=0.0)

    async def run(self) -> None:
        """Tick until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._slots.acquire()
                key = await self._schedule.next()
                group.create_task(self._one(key))

    async def _one(self, key: str) -> None:
        begun = self._running[key] = self._clock()
        pause: float | None
        try:
            async with asyncio.timeout(TICK_TIMEOUT_SECONDS):
                pause = await self._ticker.tick(key)
            self._failures.pop(key, None)
            result = "ok"
        except Exception as error:  # the one loop guard: nothing of one service stops the others
            pause = self._failed(key, error)
            result = "error"
        finally:
            self._running.pop(key, None)
            self._schedule.done(key)
            self._slots.release()
        self._metrics.ticks.labels(result=result).inc()
        self._metrics.tick_seconds.observe(self._clock() - begun)
        if pause is None:
            self._failures.pop(key, None)
            self._schedule.forget(key)
        else:
            self._schedule.want(key, pause * random.uniform(1 - JITTER, 1 + JITTER))

    def _failed(self, key: str, error: Exception) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        expected = isinstance(error, ApiError | ThinkscaleError | TimeoutError)
        logger.log(
            logging.WARNING if expected else logging.ERROR,
            "Tick failed",
            extra={"service": key, "failures": failures, "error": str(error) or repr(error)},
            exc_info=None if expected else error,
        )
        longest = min(LAST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** min(failures, 10))
        return random.uniform(longest / 2, longest)
