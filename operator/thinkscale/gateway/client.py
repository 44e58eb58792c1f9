"""The client's end of a request: one that reads a stream, and one that waits for the whole answer.

Both are written the same bytes; the waiting one puts them together. A stream's headers go out when
the engine has accepted the request, so that its refusals keep their HTTP status; or before, with a
comment, when the request has waited here for seconds, so that nothing on the way takes the silence
for death. What such headers could not say yet comes in a comment later.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import orjson
from aiohttp import web

from thinkscale.engines.dialect import Route, Tags
from thinkscale.gateway.aggregate import Aggregator
from thinkscale.gateway.shape import error_body


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

    async def send(self, data: bytes) -> None:
        """Bytes of the stream."""
        ...

    async def finish(self) -> web.StreamResponse:
        """The stream is complete."""
        ...


class StreamingClient:
    """Gets server-sent events as they come."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response: web.StreamResponse | None = None
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
            await self._response.prepare(self._request)
        except ConnectionError as error:
            raise ClientGone from error

    async def send(self, data: bytes) -> None:
        """Write through."""
        assert self._response is not None
        try:
            await self._response.write(data)
        except ConnectionError as error:
            raise ClientGone from error

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

    async def send(self, data: bytes) -> None:
        """Put together."""
        self._whole.feed(data)

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
