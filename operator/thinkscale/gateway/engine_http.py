"""An HTTP/1.1 client for streams of tokens: what an engine sends is handed on as it is read.

Only POST, no redirects, no compression, nothing retried. This is the pool; `engine_connection` is
what it keeps.

NB: vLLM closes idle connections after exactly 5.0 s; a pool that keeps them as long meets closing
transports now and then, so ours drops them earlier.
"""

import asyncio
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import unquote, urlsplit

from aiohappyeyeballs import start_connection

from thinkscale.gateway.engine_connection import EngineConnection, Place
from thinkscale.gateway.engine_response import EngineResponse

KEEPALIVE_SECONDS: Final = 4.0
CONNECT_SECONDS: Final = 5.0
NEXT_ADDRESS_SECONDS: Final = 0.25
"""After which a name's next address is tried beside one that is silent (RFC 8305)."""


class Unconnected(ConnectionError):
    """No connection came about: nothing was sent."""


class EngineHttp:
    """The connections to all engines."""

    def __init__(self) -> None:
        self._idle: dict[Place, list[EngineConnection]] = {}
        self._open: set[EngineConnection] = set()
        self._reaper: asyncio.TimerHandle | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> EngineResponse:
        """Send a request; returns when the head of its response is there. Raises `Unconnected` and
        `BrokenOff`.
        """
        response = await self.send(url, body, headers)
        try:
            await response.head()
        except BaseException:
            response.close()
            raise
        return response

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> EngineResponse:
        """Send a request; returns at once with a response whose head is still to come. Raises
        `Unconnected`.
        """
        try:
            place, head, credentials = _addressed(url)
        except ValueError as error:
            # Not the address itself: there may be a password in it.
            raise Unconnected(f"cannot connect to a replica: {error}") from error
        if credentials and "Authorization" not in headers:
            headers = {**headers, "Authorization": credentials}
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        text = f"{head}{lines}Content-Length: {len(body)}\r\n\r\n"
        connection = self._kept(place) or await self._connect(place)
        return connection.ask(text.encode("utf-8", "surrogateescape") + body)

    def close(self) -> None:
        """Drop all connections."""
        if self._reaper is not None:
            self._reaper.cancel()
        for connection in tuple(self._open):
            connection.abandon()

    def give_back(self, place: Place, connection: EngineConnection) -> None:
        """It may serve another request."""
        connection.idle_since = time.monotonic()
        self._idle.setdefault(place, []).append(connection)
        if self._reaper is None:
            self._reap()

    def gone(self, place: Place, connection: EngineConnection) -> None:
        """It is closed."""
        self._open.discard(connection)
        idle = self._idle.get(place)
        if idle is not None and connection in idle:
            idle.remove(connection)
            if not idle:
                del self._idle[place]

    def _reap(self) -> None:
        """Drop those that have grown old, also of a place where nobody asks any more."""
        now = time.monotonic()
        for idle in self._idle.values():
            while idle and now - idle[0].idle_since > KEEPALIVE_SECONDS:
                idle.pop(0).abandon()
        self._idle = {place: idle for place, idle in self._idle.items() if idle}
        loop = asyncio.get_running_loop()
        self._reaper = loop.call_later(KEEPALIVE_SECONDS, self._reap) if self._idle else None

    def _kept(self, place: Place) -> EngineConnection | None:
        """The one used last: the others grow old and go."""
        idle = self._idle.get(place)
        while idle:
            connection = idle.pop()
            fresh = time.monotonic() - connection.idle_since <= KEEPALIVE_SECONDS
            if fresh and connection.is_open:
                return connection
            connection.abandon()
        return None

    async def _connect(self, place: Place) -> EngineConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                known = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
                _, connection = await loop.create_connection(
                    lambda: EngineConnection(self, place),
                    sock=await start_connection(
                        known, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1
                    ),
                    ssl=_tls() if place.secure else None,
                    server_hostname=place.host if place.secure else None,
                )
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:
            # ValueError: a name that no host can have; RuntimeError: uvloop's word for some errors.
            why = str(error) or "no connection in time"
            raise Unconnected(f"cannot connect to {place.host}:{place.port}: {why}") from error
        self._open.add(connection)
        return connection


@lru_cache(maxsize=1024)
def _addressed(url: str) -> tuple[Place, str, str]:
    """Where a URL leads, the first lines of a request to it, and the credentials in it."""
    parts = urlsplit(url)
    if not parts.hostname:  # which a resolver takes for this machine
        raise ValueError("it names no host")
    secure = parts.scheme == "https"
    place = Place(parts.hostname, parts.port or (443 if secure else 80), secure)
    user, _, host = parts.netloc.rpartition("@")
    credentials = f"Basic {b64encode(unquote(user).encode()).decode()}" if user else ""
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    head = f"POST {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: thinkscale\r\n"
    head += "Content-Type: application/json\r\n"
    return place, head, credentials


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
