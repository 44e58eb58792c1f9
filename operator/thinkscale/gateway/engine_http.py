"""An HTTP/1.1 client for streams of tokens: what an engine sends is handed on as it is read.

The parsing is httptools' (llhttp). Only POST, no redirects, no compression, nothing retried.

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
from typing import Final, NamedTuple, cast
from urllib.parse import unquote, urlsplit

import httptools
from aiohappyeyeballs import start_connection

from thinkscale.gateway.engine_response import BrokenOff, EngineResponse

KEEPALIVE_SECONDS: Final = 4.0
CONNECT_SECONDS: Final = 5.0
NEXT_ADDRESS_SECONDS: Final = 0.25
"""After which a name's next address is tried beside one that is silent (RFC 8305)."""
MAX_HEAD_BYTES: Final = 64 * 1024


class Unconnected(ConnectionError):
    """No connection came about: nothing was sent."""


class _Place(NamedTuple):
    host: str
    port: int
    secure: bool


class EngineHttp:
    """The connections to all engines."""

    def __init__(self) -> None:
        self._idle: dict[_Place, list[_Connection]] = {}
        self._open: set[_Connection] = set()
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

    def give_back(self, place: _Place, connection: "_Connection") -> None:
        """It may serve another request."""
        connection.idle_since = time.monotonic()
        self._idle.setdefault(place, []).append(connection)
        if self._reaper is None:
            self._reap()

    def gone(self, place: _Place, connection: "_Connection") -> None:
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

    def _kept(self, place: _Place) -> "_Connection | None":
        """The one used last: the others grow old and go."""
        idle = self._idle.get(place)
        while idle:
            connection = idle.pop()
            fresh = time.monotonic() - connection.idle_since <= KEEPALIVE_SECONDS
            if fresh and connection.is_open:
                return connection
            connection.abandon()
        return None

    async def _connect(self, place: _Place) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                known = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
                _, connection = await loop.create_connection(
                    lambda: _Connection(self, place),
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


class _Connection(asyncio.Protocol):
    """One connection, and the response that comes on it now."""

    def __init__(self, pool: EngineHttp, place: _Place) -> None:
        self._pool = pool
        self._place = place
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        # Some servers pad a chunk's size; nobody can be deceived behind the last hop.
        self._parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
        self._response: EngineResponse | None = None
        self._head_bytes = 0
        self._bare_bytes = 0
        """That have come since the last piece of a body."""
        self._framed = False
        self._paused = False
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        """Another request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes) -> EngineResponse:
        """Send a request."""
        assert self._transport is not None
        self._head_bytes = self._bare_bytes = 0
        self._framed = False
        response = self._response = EngineResponse(self)
        self._transport.write(request)
        return response

    def abandon(self) -> None:
        """Drop the connection, with all that it still brings."""
        self._response = None
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Read no more for now."""
        if not self._paused and self.is_open:
            assert self._transport is not None
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and self.is_open:
            assert self._transport is not None
            self._paused = False
            self._transport.resume_reading()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not by inheritance

    def data_received(self, data: bytes) -> None:
        """Some bytes of the response, or what no one asked for."""
        if self._response is None:
            self.abandon()
            return
        self._bare_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._refuse(str(error))
        else:
            if self._bare_bytes > MAX_HEAD_BYTES:
                self._refuse("a line without an end")  # which the parser would keep for ever

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, by whomever. A body that told no length ends so."""
        self._transport = None
        self._pool.gone(self._place, self)
        response = self._response
        if exc is None and response is not None and response.status and not self._framed:
            self._response = None
            response.ended(None)
        self._lost(BrokenOff(str(exc) if exc else "the model server closed the connection"))

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Of a response that nobody asked for: none of it may reach the next request."""
        if self._response is None:
            self.abandon()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of interest are three: the type of the body, and two that say where it ends."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("a head without an end")
        name = name.lower()
        if name == b"content-type" and self._response is not None:
            self._response.content_type = value.decode("latin-1")
        if name == b"content-length":
            self._framed = True
        elif name == b"transfer-encoding":  # any other than `chunked` ends with the connection
            self._framed = value.rpartition(b",")[2].strip().lower() == b"chunked"

    def on_headers_complete(self) -> None:
        """The head is there, unless it only says that there will be one."""
        status = self._parser.get_status_code()
        if status < 200:
            self._framed = False  # whatever it said, it has no body
        elif self._response is not None:
            self._response.accepted(status)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._bare_bytes = 0
        response = self._response
        if response is None:
            return
        if response.listener is not None:
            response.listener.data(data)
        else:
            response.arrived(data)

    def on_message_complete(self) -> None:
        """The body is complete; the connection may serve again, unless the server answered what it
        has not read: the next request would wait behind the rest.
        """
        response, transport = self._response, self._transport
        if response is None or response.status == 0 or transport is None:
            return
        self._response = None
        if self._parser.should_keep_alive() and not transport.get_write_buffer_size():
            self.resume()
            self._pool.give_back(self._place, self)
        else:
            transport.abort()
        response.ended(None)

    def _refuse(self, why: str) -> None:
        self._lost(BrokenOff(f"the model server's response is not HTTP: {why}"))
        self.abandon()

    def _lost(self, error: BrokenOff) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.ended(error)


@lru_cache(maxsize=1024)
def _addressed(url: str) -> tuple[_Place, str, str]:
    """Where a URL leads, the first lines of a request to it, and the credentials in it."""
    parts = urlsplit(url)
    if not parts.hostname:  # which a resolver takes for this machine
        raise ValueError("it names no host")
    secure = parts.scheme == "https"
    place = _Place(parts.hostname, parts.port or (443 if secure else 80), secure)
    user, _, host = parts.netloc.rpartition("@")
    credentials = f"Basic {b64encode(unquote(user).encode()).decode()}" if user else ""
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    head = f"POST {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: thinkscale\r\n"
    return place, head, credentials


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
