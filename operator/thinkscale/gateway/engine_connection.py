"""One connection to an engine, and the response that comes on it now.

The parsing is httptools' (llhttp), and called from within the transport's own callback. It knows
nothing of other connections: the pool that opened it hears when it is free and when it is gone.
"""

import asyncio
from typing import Final, NamedTuple, Protocol, cast

import httptools

from thinkscale.gateway.engine_response import BrokenOff, EngineResponse

MAX_HEAD_BYTES: Final = 64 * 1024


class Place(NamedTuple):
    """Where connections lead that serve the same requests."""

    host: str
    port: int
    secure: bool


class Pool(Protocol):
    """What a connection needs of who opened it."""

    def give_back(self, place: Place, connection: "EngineConnection") -> None:
        """It may serve another request."""
        ...

    def gone(self, place: Place, connection: "EngineConnection") -> None:
        """It is closed."""
        ...


class EngineConnection(asyncio.Protocol):
    """One connection, and the response that comes on it now."""

    def __init__(self, pool: Pool, place: Place) -> None:
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
        del self._parser  # it refers to us: else all of it would wait for the garbage collector
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
