"""One client's connection: requests are read, handled one at a time and answered in their order.

While a request is handled the next ones are read and kept, a few of them; behind these the client
waits. A client that goes away, or says that it will send no more, cancels its handler.

NB: everything is bounded. A request by its bytes (`reader`) and by time (`server` sweeps), what is
kept of later requests by their number and bytes, what is written and not taken by whoever writes
(`write` says so).
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, cast

from thinkscale.gateway.http.message import Reply, Request, head, header_lines
from thinkscale.gateway.http.reader import FAILED, RequestReader

logger = logging.getLogger(__name__)

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
        self.paused = False
        """Nothing is read: the client has sent too much ahead."""
        self._host = host
        self._loop = loop
        self.refusal = host.refusal
        self.door = host.door
        self._reader = RequestReader(self)
        self._task: asyncio.Task[None] | None = None
        self._kept: deque[tuple[Request, Reply | None]] = deque()
        """What was read, or what it was refused with."""
        self._refusal: Reply | None = None
        """The answer to what could not be read, behind all that could."""
        self._writable: asyncio.Future[None] | None = None
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
    def begun_at(self) -> float | None:
        """When the head began that is being read; None: none is."""
        return self._reader.begun_at

    @property
    def reading_body(self) -> bool:
        """A head is there and its body is not."""
        return self._reader.reading_body

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
        """No more is read: answer what was, then this, then close."""
        self._reader.refuse(status, message)

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
            self._reader.silence()
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
        if self.paused and not self._reader.deaf and not self._full:
            assert self.transport is not None
            self.paused = False
            if self._reader.begun_at is not None:
                self._reader.begun_at = self.heard_at
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
        self._reader.silence()
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
        self._kept.clear()
        self._reader.release()
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
        self.heard_at = self._loop.time()
        self._reader.feed(data, self.heard_at)

    # What the reader calls.

    def expected(self) -> None:
        """The client asks whether it may send its body. If it waits for an answer, it may guess."""
        if self._task is None and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def complete(self, request: Request, refused: Reply | None) -> None:
        """A request is complete."""
        if self.transport is None:
            return
        self._kept.append((request, refused))
        if self._task is None:
            self._start()
        elif self._full and not self.paused:
            self.paused = True
            self.transport.pause_reading()

    def unreadable(self, reply: Reply) -> None:
        """No more can be read: answer what was, then this, then close."""
        self._refusal = reply
        if self._task is None:
            self._finish()
