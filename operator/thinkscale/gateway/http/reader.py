"""Reads the requests of one connection: their framing, and what is bounded of them.

The parsing is httptools' (llhttp, strict: what two readers could frame differently is refused).
A head is bounded by its bytes, a body by its bytes; how long both may take is the server's affair,
and how many requests may come ahead the connection's.
"""

import logging
from collections.abc import Callable
from typing import Final, Protocol

import httptools

from thinkscale.gateway.http.coding import Undecodable, decoded
from thinkscale.gateway.http.message import Reply, Request

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
MAX_IGNORED_BYTES: Final = 256 * 1024
"""Of the body of a request that was refused by its head: that much is read past, so that the
connection can be kept.
"""
FAILED: Final = "The gateway failed."
VERSIONS: Final = ("1.1", "1.0")


class Taker(Protocol):
    """Who gets what is read. May call `silence` from within."""

    refusal: Callable[[int, str], Reply]
    """How an error looks."""

    def door(self, request: Request) -> Reply | None:
        """Refuse a request by its head; None: its body is read."""
        ...

    def expected(self) -> None:
        """The client asks whether it may send its body."""
        ...

    def complete(self, request: Request, refused: Reply | None) -> None:
        """A request is complete; `refused`: what it is answered with, if that is known already."""
        ...

    def unreadable(self, reply: Reply) -> None:
        """No more can be read: answer what was, then this, then close. Nothing follows."""
        ...


class RequestReader:
    """One connection's. Gives up with the first thing that cannot be read."""

    def __init__(self, taker: Taker) -> None:
        self.begun_at: float | None = None
        """When the head began that is being read; None: none is."""
        self.deaf = False
        """What still comes is thrown away."""
        self._taker = taker
        self._parser = httptools.HttpRequestParser(self)
        self._now = 0.0
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

    @property
    def reading_body(self) -> bool:
        """The head is there and the body is not."""
        return self._request is not None

    def silence(self) -> None:
        """Read no more."""
        self.deaf = True
        self.begun_at = self._request = None
        self._body = b""

    def release(self) -> None:
        """The connection is closed. The parser refers to its reader, and that to the connection:
        else all of it would wait for the garbage collector.
        """
        self.silence()
        del self._parser, self._taker

    def refuse(self, status: int, message: str) -> None:
        """No more can be read."""
        if not self.deaf:
            self._give_up(self._taker.refusal(status, message))

    def _give_up(self, reply: Reply) -> None:
        self.silence()
        self._taker.unreadable(reply)

    def feed(self, data: bytes, now: float) -> None:
        """Some bytes, which came now."""
        if self.deaf:
            return
        self._now = now
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
            if self.deaf or self._request is None:
                return
            framing = _framing(self._request)
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(framing)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        if self.deaf or self._request is not None:
            return
        self.begun_at = self._now
        self._target = b""
        self._headers = {}
        self._body = b""
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, of which none means anything here."""
        if self._request is not None or self.deaf:
            return
        key = name.lower()
        before = self._headers.get(key)
        self._headers[key] = value if before is None else b"%b, %b" % (before, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        if self.deaf or self._request is not None:
            return
        self.begun_at = None
        version, headers = self._parser.get_http_version(), self._headers
        if version not in VERSIONS:
            self.refuse(505, "this is not HTTP/1.1")
            return
        method = self._parser.get_method().decode("ascii")
        request = self._request = Request(method, path_of(self._target), headers)
        request.old = version != "1.1"
        refused = self._refused = self._taker.door(request)
        expects = b"expect" in headers and not request.old
        if expects and refused is not None:
            self._give_up(refused)
        elif int(headers.get(b"content-length", 0)) > MAX_BODY_BYTES:
            self._too_large()
        elif expects and headers[b"expect"].lower() == b"100-continue":
            self._taker.expected()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self.deaf:
            return
        self._bare_bytes = 0
        self._body_bytes += len(data)
        if self._refused is not None:
            if self._body_bytes > MAX_IGNORED_BYTES:
                self._give_up(self._refused)
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
        if self.deaf or request is None or parser.should_upgrade():
            return
        self._request = None
        self._bare_bytes = 0
        request.body, self._body = bytes(self._body), b""
        request.last = request.old or not parser.should_keep_alive()
        self._taker.complete(request, self._refused or self._decode(request))

    def _decode(self, request: Request) -> Reply | None:
        """Undo the coding of a body; or refuse it."""
        coding = request.header(b"content-encoding")
        if coding is None:
            return None
        try:
            request.body = decoded(request.body, coding, MAX_BODY_BYTES)
        except Undecodable as error:
            return self._taker.refusal(error.status, error.message)
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
