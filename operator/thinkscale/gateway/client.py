"""The client's end of a request: one that reads a stream, and one that waits for the whole answer.

Both are written the same bytes; the waiting one puts them together. A stream's headers go out when
the engine has accepted the request, so that its refusals keep their HTTP status; or before, with a
comment, when the request has waited here for seconds, so that nothing on the way takes the silence
for death. What such headers could not say yet comes in a comment later.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import orjson

from thinkscale.engines.dialect import Route, Tags
from thinkscale.gateway.aggregate import Aggregator
from thinkscale.gateway.http.connection import Connection, Gone
from thinkscale.gateway.http.message import Reply, header_lines
from thinkscale.gateway.shape import error_body

ClientGone = Gone
OK: Final = 200
_STREAM: Final = header_lines(
    {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",
    }
)


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

    def prepare(self, headers: Mapping[str, str]) -> Callable[[int], None] | None:
        """It is about to begin with these. What is returned begins it at once when it is called
        with an engine's status of 200; `begin` has to follow all the same.
        """
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

    async def finish(self) -> Reply | None:
        """The stream is complete. None: all was written already."""
        ...


class StreamingClient:
    """Gets server-sent events as they come."""

    __slots__ = ("_connection", "_lines", "_owed", "began", "drained", "write")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.write = connection.write
        self.drained = connection.drained
        self.began = False
        """Whether the headers are out."""
        self._lines = ""
        self._owed = False
        """Headers that were not known when they went out."""

    def expect(self, tags: Tags, *, opened: bool = False) -> None:
        """All one: the stream passes as it is."""

    async def hold(self, headers: Mapping[str, str]) -> None:
        """Send a comment, which readers of events skip."""
        if not self.began:
            await self.begin(headers)
            self._owed = True
        await self.send(b": waiting for a model server\n\n")

    def prepare(self, headers: Mapping[str, str]) -> Callable[[int], None] | None:
        """Render the headers."""
        if self.began:
            return None
        self._lines = header_lines(headers)
        return self._begin_at_once

    def _begin_at_once(self, status: int) -> None:
        if status == OK and not self.began:
            with contextlib.suppress(ClientGone):  # who writes next will notice
                self._connection.begin(_STREAM + self._lines)
                self.began = True

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Send the headers; if some are out, all of them as a comment."""
        if not self.began:
            self._connection.begin(_STREAM + header_lines(headers))
            self.began = True
        elif self._owed:
            self._owed = False
            told = "".join(f": {name}: {value}\n" for name, value in headers.items())
            await self.send(f"{told}\n".encode())

    async def send(self, data: bytes) -> None:
        """Write through."""
        if not self.write(data):
            await self.drained()

    async def finish(self) -> None:
        """End the body."""
        self._connection.end()


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

    def prepare(self, headers: Mapping[str, str]) -> None:
        """Nothing is sent before the end."""

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

    async def finish(self) -> Reply:
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
) -> Reply:
    """An error of the gateway's own, in OpenAI's shape."""
    return _json(error_body(message, kind, status, param), status, headers or {})


def _json(body: bytes, status: int, headers: Mapping[str, Any]) -> Reply:
    return Reply(status=status, body=body, headers=headers)
