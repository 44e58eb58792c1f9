"""One client's connection: requests are read, handled one at a time and answered in their order.

The parsing is httptools' (llhttp, strict: what two readers could frame differently is refused).
While a request is handled the next ones are read and kept, a few of them; behind these the client
waits. A client that goes away, or says that it will send no more, cancels its handler.

NB: everything is bounded. A head by its bytes, a body by its bytes, both by time (the server
sweeps), what is kept of later requests by their number, what is written and not taken by whoever
writes (`write` says so).
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, cast

import httptools

from thinkscale.gateway.http.coding import Undecodable, decoded
from thinkscale.gateway.http.message import Reply, Request, head, header_lines

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
MAX_IGNORED_BYTES: Final = 256 * 1024
"""Of the body of a request that was refused by its head: that much is read past, so that the
connection can be kept.
"""
BEHIND_BYTES: Final = 64 * 1024
"""Written and not taken by the client: whoever writes should wait."""
MOST_KEPT: Final = 8
"""Requests that are complete and wait for the one before."""
MOST_KEPT_BYTES: Final = 1024 * 1024
"""Of their bodies; one more may be longer."""
LINGER_SECONDS: Final = 2.0
"""A refusal is written before its request is read to its end: a close at once would take it away
again (RFC 9112, 9.6).
"""
FAILED: Final = "The gateway failed."
VERSIONS: Final = ("1.1", "1.0")


class Gone(Exception):
    """The client's connection is closed. NB: no OSError, like those of the engines' side."""


class Host(Protocol):
    """What a connection needs of its server."""

    refusal: Callable[[int, str], Reply]
    """How an error looks."""

    def door(self, request: Request) -> Reply | None:
        """Refuse a request by its head; None: its body is read."""
        ...

    async def handle(self, request: Request, connection: "Connection") -> Reply | None:
        """The reply; None: it was written already, as a stream."""
        ...

    def date(self) -> str:
        """The header's line."""
        ...

    def closes(self, connection: "Connection") -> bool:
        """The response that begins now is the connection's last."""
        ...

    def made(self, connection: "Connection") -> None:
        """It is open."""
        ...

    def lost(self, connection: "Connection") -> None:
        """It is closed."""
        ...


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self.epoch = 0
        """Of the server, when it was made."""
        self.transport: asyncio.Transport | None = None
        """None: it is closed."""
        self.heard_at = 0.0
        """When something has come last, or the last response was over."""
        self.begun_at: float | None = None
        """When the head began that is being read; None: none is."""
        self.paused = False
        """Nothing is read: the client has sent too much ahead."""
        self._host = host
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._task: asyncio.Task[None] | None = None
        self._kept: deque[tuple[Request, Reply | None]] = deque()
        """What was read, or what it was refused with."""
        self._deaf = False
        """What still comes is thrown away."""
        self._refusal: Reply | None = None
        """The answer to what could not be read, behind all that could."""
        self._writable: asyncio.Future[None] | None = None
        # The request that is being read.
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._request: Request | None = None
        """Its head is there."""
        self._refused: Reply | None = None
        """By its head."""
        self._body: bytes | bytearray = b""
        self._body_bytes = 0
        self._bare_bytes = 0
        """That have come since the last piece of a body."""
        # The response that is being written.
        self._began = False
        self._framed = False
        self._ended = False
        self._answered = False
        self._last = False
        self._bodiless = False

    @property
    def busy(self) -> bool:
        """A request is handled, or being read."""
        return self._task is not None or self.begun_at is not None or self.reading_body

    @property
    def reading_body(self) -> bool:
        """The head is there and the body is not."""
        return self._request is not None

    @property
    def handling(self) -> bool:
        """A request is handled, and its response is not complete."""
        return self._task is not None and not self._answered

    @property
    def _full(self) -> bool:
        kept = self._kept
        return len(kept) >= MOST_KEPT or sum(len(r.body) for r, _ in kept) > MOST_KEPT_BYTES

    # What the handler writes.

    def begin(self, lines: str) -> None:
        """Send the head of a stream, with these lines of headers. Raises `Gone`."""
        framing = "Transfer-Encoding: chunked\r\n" if self._framed else ""
        self._put(head(200, f"{lines}{framing}{self._tail()}"))
        self._began = True

    def write(self, data: bytes) -> bool:
        """A piece of the stream, in one write; False: the client is behind. Raises `Gone`."""
        transport = self.transport
        if transport is None or transport.is_closing():
            raise Gone
        transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._framed else data)
        return transport.get_write_buffer_size() <= BEHIND_BYTES

    async def drained(self) -> None:
        """Return when the client has taken most of what was written. Raises `Gone`."""
        while self.transport is not None and not self.transport.is_closing():
            if self.transport.get_write_buffer_size() <= BEHIND_BYTES:
                return
            if self._writable is None:
                self._writable = self._loop.create_future()
            await asyncio.shield(self._writable)
        raise Gone

    def end(self) -> None:
        """The stream is complete; the client is told once the handler has returned."""
        self._ended = True

    def refuse(self, status: int, message: str) -> None:
        """No more can be read: answer what was, then this, then close."""
        if not self._deaf:
            self._refuse(self._host.refusal(status, message))

    def _refuse(self, reply: Reply) -> None:
        self._deaf = True
        self.begun_at = self._request = None
        self._body = b""
        self._refusal = reply
        if self._task is None:
            self._finish()

    def _put(self, data: bytes) -> None:
        if self.transport is None or self.transport.is_closing():
            raise Gone
        self.transport.write(data)

    def _tail(self) -> str:
        if not self._last and self._host.closes(self):
            self._last = True
        return self._host.date() + ("Connection: close\r\n" if self._last else "")

    def _reply(self, reply: Reply) -> None:
        headers = {"Content-Type": reply.content_type, **reply.headers}
        if reply.status >= 200 and reply.status != 204:
            headers["Content-Length"] = str(len(reply.body))
        data = head(reply.status, header_lines(headers) + self._tail())
        self._began = True
        self._put(data if self._bodiless else data + reply.body)

    # One request after the other.

    def _start(self) -> None:
        request, refused = self._kept.popleft()
        self._last = request.last
        self._began = self._ended = self._answered = False
        self._framed = not request.old
        self._bodiless = request.method == "HEAD"
        self._task = self._loop.create_task(self._serve(request, refused))

    async def _serve(self, request: Request, refused: Reply | None) -> None:
        try:
            reply = refused or await self._host.handle(request, self)
            if reply is not None:
                self._reply(reply)
            elif self._framed and self._ended:
                self._put(b"0\r\n\r\n")
            elif not self._ended:
                self.abort()  # what is half said must not look whole
            self._answered = True
            if self.transport is not None and self._kept:
                await self.drained()
        except Gone:
            self.abort()  # it may be there, and only take nothing
        except asyncio.CancelledError:
            self.abort()  # a client that is there would wait for ever
            raise
        except Exception:
            logger.exception("A request failed")
            self._fail()
        finally:
            self._task = None
            if self.transport is not None:
                self._finish()

    def _fail(self) -> None:
        """What is half said cannot be mended; else the client is told."""
        if self._began:
            self.abort()
            return
        self._last = True
        with contextlib.suppress(Gone):
            self._reply(self._host.refusal(500, FAILED))

    def _finish(self) -> None:
        """What follows when a response is over, or when there is none to wait for."""
        transport = self.transport
        assert transport is not None
        self.heard_at = self._loop.time()
        if transport.is_closing():
            return
        if self._last:
            self._deaf = True
            transport.close()
        elif self._kept:
            self._start()
            self._listen_again()
        elif self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            self._last, self._bodiless = True, False
            self._reply(refusal)
            self._linger()

    def _listen_again(self) -> None:
        if self.paused and not self._deaf and not self._full:
            assert self.transport is not None
            self.paused = False
            if self.begun_at is not None:
                self.begun_at = self.heard_at
            self.transport.resume_reading()

    def _linger(self) -> None:
        assert self.transport is not None
        if self.paused:
            self.paused = False
            self.transport.resume_reading()
        self.transport.write_eof()
        self._loop.call_later(LINGER_SECONDS, self.abort)

    def close(self) -> None:
        """Close it when all that was written is taken."""
        self._deaf = True
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close it at once."""
        if self.transport is not None:
            self.transport.abort()

    def cancel(self) -> None:
        """End what is handled, and the connection with it."""
        if self._task is not None:
            self._task.cancel()
        else:
            self.close()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are not by inheritance
        self.transport.set_write_buffer_limits(high=BEHIND_BYTES)
        self.heard_at = self._loop.time()
        self._host.made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, by whomever."""
        self.transport = None
        self._deaf = True
        self._kept.clear()
        del self._parser  # it refers to us: else all of it would wait for the garbage collector
        self._host.lost(self)
        self.resume_writing()
        if self._task is not None:
            self._task.cancel()

    def resume_writing(self) -> None:
        """The client has taken most of what was written."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Some bytes of a request."""
        if self._deaf:
            return
        self.heard_at = self._loop.time()
        self._bare_bytes += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserCallbackError:
            logger.exception("A request could not be read")
            self.refuse(500, FAILED)
        except httptools.HttpParserError as error:
            self.refuse(400, f"this is not HTTP/1.1: {error}")
        else:
            if self._bare_bytes > MAX_HEAD_BYTES:
                self.refuse(431, f"the request's head is longer than {MAX_HEAD_BYTES} bytes")

    def _feed(self, data: bytes | memoryview) -> None:
        """To the parser. It stops behind a head that asks for another protocol. None is spoken
        here, so the request is an ordinary one: a new parser reads its body, by a head that has
        only the framing. NB: Java's own client asks for HTTP/2 so with every first request.
        """
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as stop:
                data = memoryview(data)[stop.args[0] :]
            else:
                return
            if self._deaf or self._request is None:
                return
            framing = _framing(self._request)
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(framing)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._deaf or self._request is not None:
            return
        self.begun_at = self.heard_at
        self._target = b""
        self._headers = {}
        self._body = b""
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, of which none means anything here."""
        if self._request is not None or self._deaf:
            return
        key = name.lower()
        before = self._headers.get(key)
        self._headers[key] = value if before is None else b"%b, %b" % (before, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        if self._deaf or self._request is not None:
            return
        self.begun_at = None
        version, headers = self._parser.get_http_version(), self._headers
        if version not in VERSIONS:
            self.refuse(505, "this is not HTTP/1.1")
            return
        method = self._parser.get_method().decode("ascii")
        request = self._request = Request(method, path_of(self._target), headers)
        request.old = version != "1.1"
        refused = self._refused = self._host.door(request)
        expects = b"expect" in headers and not request.old
        if expects and refused is not None:
            self._refuse(refused)
        elif int(headers.get(b"content-length", 0)) > MAX_BODY_BYTES:
            self._too_large()
        elif expects and headers[b"expect"].lower() == b"100-continue" and self._task is None:
            assert self.transport is not None
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self._deaf:
            return
        self._bare_bytes = 0
        self._body_bytes += len(data)
        if self._refused is not None:
            if self._body_bytes > MAX_IGNORED_BYTES:
                self._refuse(self._refused)
        elif self._body_bytes > MAX_BODY_BYTES:
            self._too_large()
        else:
            self._append(data)

    def _append(self, data: bytes) -> None:
        """NB: not to a list, where each of the smallest chunks would take fifty bytes."""
        if not self._body:
            self._body = data
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += data

    def _too_large(self) -> None:
        self.refuse(413, f"the request's body is longer than {MAX_BODY_BYTES} bytes")

    def on_message_complete(self) -> None:
        """The request is complete."""
        request, parser = self._request, self._parser
        if self._deaf or request is None or self.transport is None or parser.should_upgrade():
            return
        self._request = None
        self._bare_bytes = 0
        request.body, self._body = bytes(self._body), b""
        request.last = request.old or not parser.should_keep_alive()
        self._kept.append((request, self._refused or self._decode(request)))
        if self._task is None:
            self._start()
        elif self._full and not self.paused:
            self.paused = True
            self.transport.pause_reading()

    def _decode(self, request: Request) -> Reply | None:
        """Undo the coding of a body; or refuse it."""
        coding = request.header(b"content-encoding")
        if coding is None:
            return None
        try:
            request.body = decoded(request.body, coding, MAX_BODY_BYTES)
        except Undecodable as error:
            return self._host.refusal(error.status, error.message)
        return None


def _framing(request: Request) -> bytes:
    """A head that ends its request where the given one ends, and its connection if that does."""
    named = b"content-length", b"transfer-encoding", b"connection"
    lines = [b"%b: %b\r\n" % (name, request.raw[name]) for name in named if name in request.raw]
    if request.method == "CONNECT":
        lines = [b"Connection: close\r\n"]
    return b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(lines)


def path_of(target: bytes) -> str:
    """A target without its query."""
    if not target.startswith(b"/"):  # as a proxy is asked
        try:
            target = httptools.parse_url(target).path or b"/"
        except httptools.HttpParserInvalidURLError:
            target = b""
    return target.partition(b"?")[0].decode("latin-1")
