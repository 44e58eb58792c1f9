"""One gateway, long-polled for ever: its last good answer, when it came, and what is wrong since.

Answers are parsed as JSON at once but validated only when somebody reads them: under load a gateway
answers several times a second, while the law looks every few seconds. What is checked at once is
what the guard needs: the depth and the set of ready replicas.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import orjson
from pydantic import ValidationError

from thinkscale.errors import SignalsUnavailable, WireFormatError
from thinkscale.model.signals import SCHEMA_VERSION, GatewaySignals

WAIT_SECONDS: Final = 5
TIMEOUT: Final = aiohttp.ClientTimeout(total=WAIT_SECONDS + 3, sock_connect=2)
GAP_SECONDS: Final = 0.2
"""Between two polls at least: a reaction within a second or two needs no more."""
BACKOFF_SECONDS: Final = (0.3, 2.0)
JUMP_SHARE: Final = 0.25
JUMP_REQUESTS: Final = 3


class Poller:
    """Follows one gateway's `/signals`; `answer` is the last good one, still unvalidated."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        service: str,
        *,
        clock: Callable[[], float],
        on_jump: Callable[[], None],
        on_answer: Callable[[dict[str, Any] | None, dict[str, Any]], None],
        before: "Poller | None" = None,
    ) -> None:
        self._session = session
        self._url = url
        self._service = service
        self._clock = clock
        self._on_jump = on_jump
        self._on_answer = on_answer
        self._marked: tuple[int, frozenset[str]] | None = None
        self._stranded = False
        self.born: float = before.born if before else clock()
        self.answer: dict[str, Any] | None = before.answer if before else None
        self.heard: float | None = before.heard if before else None
        """Clock time of the last good answer."""
        self.error = "not heard yet"
        """Why the last poll failed; empty after a good one."""

    async def run(self) -> None:
        """Poll until cancelled."""
        failures = 0
        while True:
            try:
                await self._poll()
                failures, self.error = 0, ""
                await asyncio.sleep(GAP_SECONDS)
            except (SignalsUnavailable, WireFormatError) as error:
                failures, self.error = failures + 1, str(error)
                first, longest = BACKOFF_SECONDS
                pause = min(longest, first * 2 ** min(failures, 5))
                await asyncio.sleep(random.uniform(pause / 2, pause))

    async def _poll(self) -> None:
        previous = self.answer
        query = ""  # after a failure: the state now, whatever its sequence
        if previous is not None and not self.error:
            query = f"?since={previous['sequence']}&wait={WAIT_SECONDS}"
        raw = await self._fetch(self._url + query)
        answer = parse(raw)
        if answer.get("service") != self._service:
            raise WireFormatError(f"signals of another service: {answer.get('service')}")
        self.answer, self.heard = answer, self._clock()
        self._on_answer(previous, answer)
        self._guard(answer)

    async def _fetch(self, url: str) -> bytes:
        try:
            async with self._session.get(url, timeout=TIMEOUT) as response:
                if response.status != 200:
                    raise SignalsUnavailable(f"{self._url} answered {response.status}")
                return await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            what = str(error) or type(error).__name__
            raise SignalsUnavailable(f"{self._url}: {what}") from error

    def _guard(self, answer: dict[str, Any]) -> None:
        """Tell of a depth that jumped, or a replica that came or went, since it was last told; and
        of requests that nobody serves, be it a single one: it would wait for the next tick.
        """
        depth = depth_of(answer)
        ready = frozenset(
            name for name, replica in answer.get("replicas", {}).items() if replica.get("ready")
        )
        was_stranded, self._stranded = self._stranded, depth > 0 and not ready
        calls = self._stranded and not was_stranded
        if self._marked is not None and not calls:
            marked, replicas = self._marked
            small = max(JUMP_REQUESTS, marked * JUMP_SHARE)
            if abs(depth - marked) < small and ready == replicas:
                return
        self._marked = (depth, ready)
        self._on_jump()


def parse(raw: bytes) -> dict[str, Any]:
    """An answer of `/signals` as far as the poller itself needs it.

    Raises WireFormatError for anything that is not the agreed schema version.
    """
    try:
        answer: dict[str, Any] = orjson.loads(raw)
        if answer["schemaVersion"] != SCHEMA_VERSION:
            raise WireFormatError(f"signals of schema version {answer['schemaVersion']}")
        answer["bootId"], int(answer["sequence"]), depth_of(answer)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise WireFormatError(f"not a signals answer: {error}") from error
    return answer


def depth_of(answer: dict[str, Any]) -> int:
    """Thinking-phase queue depth of one answer."""
    phases = answer["phases"]
    return int(phases["queued"]) + int(phases["thinking"])


def validated(answer: dict[str, Any]) -> GatewaySignals:
    """The answer as typed signals; raises WireFormatError if it is not what it says it is."""
    try:
        return GatewaySignals.model_validate(answer)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WireFormatError(f"signals: {where}: {first['msg']}") from error
