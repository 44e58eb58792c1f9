"""Keeps the gateway's background work going: a failure there must not end the streams.

The source, the scrape and the watch each loop for ever. One that fails is logged and started again
after a pause that doubles while it keeps failing.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 15.0
STEADY_SECONDS: Final = 60.0
"""One that ran that long failed anew, and not still."""


async def supervise(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` until cancelled, again whenever it ends."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        began = time.monotonic()
        try:
            await work()
            logger.error("Stopped task=%s", name)
        except Exception:
            logger.exception("Failed task=%s", name)
        if time.monotonic() - began > STEADY_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        await asyncio.sleep(pause)
        pause = min(LONGEST_PAUSE_SECONDS, pause * 2)
