"""Wait until a condition holds on a system that works at its own pace.

A test states what must become true and by when; it never sleeps a fixed time. The last failure is
kept and shown, because "timed out" alone tells nobody anything. Must not know what it waits for.
"""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.02


class NotYetError(AssertionError):
    """The condition did not come true in time; the text says what was last seen."""


def eventually(
    check: Callable[[], T],
    within_seconds: float,
    describe: str = "",
    *,
    poll_seconds: float = POLL_SECONDS,
) -> T:
    """Call `check` until it returns something truthy, and return that.

    `check` may raise (any `Exception`): that counts as "not yet", and the last one is shown when
    time is up. Raises `NotYetError` after `within_seconds`.
    """
    deadline = time.monotonic() + within_seconds
    last: object = None
    while True:
        try:
            last = check()
            if last:
                return last
        except Exception as error:
            last = f"{type(error).__name__}: {error}"
        if time.monotonic() >= deadline:
            break
        time.sleep(poll_seconds)
    what = describe or getattr(check, "__name__", "condition")
    raise NotYetError(f"{what}: not within {within_seconds:g} s; last seen: {last!r}")
