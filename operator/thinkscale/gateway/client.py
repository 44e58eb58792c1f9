"""The client's end of a request: one that reads a stream, and one that waits for the whole answer.

Both are written the same bytes; the waiting one puts them together. A stream's headers go out when
the engine has accepted the request, so that its refusals keep their HTTP status; or before, with a
comment, when the request has waited here for seconds, so that nothing on the way takes the silence
for death. What such headers could not say yet comes in a comment later.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from thinkscale.engines.dialect import Route, Tags
from thinkscale.gateway.aggregate import Aggregator
from thinkscale.gateway.shape import error_body

BEHIND_BYTES: Final = 64 * 1024
"""Written and not taken by the client: no more is read from the engine."""


class ClientGone(Exception):
    """The client's connection is closed. NB: never let the transport's own error out of here: it is
    an OSError like those of the upstream, and the request would count as failed.
    """


class Client(Protocol):
    """Where a request's stream goes. Everything raises `ClientGone` when there is nobody left."""

    @property
    def began(self) -> bool:
        """The HTTP status is out: an error can only be told inside the stream."""
        ...

    def expect(self, tags: Tags, *, opened: bool = False) -> None:
        """How the model writes its tags, before each attempt from the beginning. `opened`: the
        output begins inside a thought, which no id of the prompt will tell.
        """
        ...

    async def hold(self, headers: Mapping[str, str]) -> None:
        """It still waits for a replica. `headers`: those that are known already."""
        ...

    async def begin(self, headers: Mapping[str, str]) -> None:
        """The engine accepted it. May be called again by a second attempt."""
        ...

    def write(self, data: bytes) -> bool:
        """Bytes of the stream; False: the client is behind, so wait until it has `drained`."""
        ...

    async def drained(self) -> None:
        """The client has taken most of what was written."""
        ...

    async def send(self, data: bytes) -> None:
        """Write, and wait if the client is behind."""
        ...

    async def finish(self) -> web.StreamResponse:
        """The stream is complete."""
        ...


class StreamingClient:
    """Gets server-sent events as they come."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response: web.StreamResponse | None = None
        self._writer: AbstractStreamWriter | None = None
        self._transport: asyncio.Transport | None = None
        self._framed = False
        self._owed = False
        """Headers that were not known when they went out."""

    @property
    def began(self) -> bool:
        """Whether the headers are out."""
        return self._response is not None

    def expect(self, tags: Tags, *, opened: bool = False) -> None:
        """All one: the stream passes as it is."""

    async def hold(self, headers: Mapping[str, str]) -> None:
        """Send a comment, which readers of events skip."""
        if self._response is None:
            await self.begin(headers)
            self._owed = True
        await self.send(b": waiting for a model server\n\n")

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Send the headers; if some are out, all of them as a comment."""
        if self._response is not None:
            if self._owed:
                self._owed = False
                told = "".join(f": {name}: {value}\n" for name, value in headers.items())
                await self.send(f"{told}\n".encode())
            return
        self._response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",
                **headers,
            }
        )
        try:
            self._writer = await self._response.prepare(self._request)
            assert self._writer is not None
            self._writer.send_headers()  # else they would wait for the first token
        except ConnectionError as error:
            raise ClientGone from error
        self._transport = self._request.transport
        self._framed = "Transfer-Encoding" in self._response.headers

    def write(self, data: bytes) -> bool:
        """Write through, in one chunk. NB: straight to the transport, behind aiohttp's back, whose
        own `write` is a coroutine and costs more than all the rest of a token.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ClientGone
        transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._framed else data)
        return transport.get_write_buffer_size() <= BEHIND_BYTES

    async def drained(self) -> None:
        """Wait for the transport."""
        assert self._writer is not None
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise ClientGone from error

    async def send(self, data: bytes) -> None:
        """Write through."""
        if not self.write(data):
            await self.drained()

    async def finish(self) -> web.StreamResponse:
        """End the body."""
        assert self._response is not None
        try:
            await self._response.write_eof()
        except ConnectionError as error:
            raise ClientGone from error
        return self._response


class WaitingClient:
    """Gets one JSON answer, put together from the stream."""

    def __init__(self, route: Route) -> None:
        self._whole = Aggregator(route)
        self._headers: Mapping[str, str] = {}

    @property
    def began(self) -> bool:
        """Never: everything is sent at the end."""
        return False

    def expect(self, tags: Tags, *, opened: bool = False) -> None:
        """All one: the text passes as it is."""

    async def hold(self, headers: Mapping[str, str]) -> None:
        """Nothing may be sent before the status is known."""

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Remember the headers."""
        self._headers = headers

    def write(self, data: bytes) -> bool:
        """Put together."""
        self._whole.feed(data)
        return True

    async def drained(self) -> None:
        """Nothing is written before the end."""

    async def send(self, data: bytes) -> None:
        """Put together."""
        self.write(data)

    async def finish(self) -> web.StreamResponse:
        """The answer, or the error that came inside the stream, as an HTTP error."""
        error = self._whole.error
        if error is not None:
            code = error.get("code")
            status = code if isinstance(code, int) and 400 <= code <= 599 else 500
            return _json(orjson.dumps({"error": error}), status, self._headers)
        return _json(orjson.dumps(self._whole.response()), 200, self._headers)


def refusal(
    message: str,
    kind: str,
    status: int,
    *,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """An error of the gateway's own, in OpenAI's shape."""
    return _json(error_body(message, kind, status, param), status, headers or {})


def _json(body: bytes, status: int, headers: Mapping[str, Any]) -> web.Response:
    return web.Response(
        body=body, status=status, content_type="application/json", headers=dict(headers)
    )
