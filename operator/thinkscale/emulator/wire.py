"""What every dialect's server does with HTTP: reading bodies, writing JSON, errors inside a stream;
and what it asks of the module that shapes its replies.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import orjson
from aiohttp import web

from thinkscale.emulator.choice import Choice, Piece
from thinkscale.emulator.chunks import DONE
from thinkscale.emulator.refusals import malformed
from thinkscale.emulator.requests import Body

SSE_HEADERS: Final = {"Content-Type": "text/event-stream; charset=utf-8"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Shapes(Protocol):
    """Shapes the replies of one request; see `chunks.Replies`."""

    def first(self, choice: Choice, prompt: Sequence[int]) -> bytes:
        """What goes before a chat's first token."""
        ...

    def piece(self, choice: Choice, piece: Piece, prompt: Sequence[int]) -> bytes:
        """What one piece is in the stream."""
        ...

    def end(self, choices: Sequence[Choice], prompt_tokens: int) -> bytes:
        """What comes last."""
        ...

    def whole(
        self,
        choices: Sequence[Choice],
        pieces: Sequence[Sequence[Piece]],
        prompts: Sequence[Sequence[int]],
    ) -> bytes:
        """The answer of a request that does not stream."""
        ...


async def sent_as_event(request: web.Request, error: bytes) -> web.StreamResponse:
    """An error inside HTTP 200."""
    response = web.StreamResponse(headers=SSE_HEADERS)
    await response.prepare(request)
    await response.write(b"data: " + error + b"\n\n" + DONE)
    await response.write_eof()
    return response


async def json_body(request: web.Request) -> Body:
    """A request's body. Refusal: it is no JSON object."""
    if request.content_type != "application/json":
        raise malformed(f"Unsupported content type: {request.content_type}")
    try:
        body: Any = orjson.loads(await request.read())
    except orjson.JSONDecodeError as wrong:
        raise malformed(f"JSON decode error: {wrong}", "body") from wrong
    if not isinstance(body, dict):
        raise malformed("Input should be a valid dictionary", "body")
    return body


async def empty(request: web.Request) -> web.Response:
    """200 and nothing."""
    return web.Response()


def json_reply(body: bytes, status: int = 200) -> web.Response:
    """JSON that is written already."""
    return web.Response(body=body, status=status, content_type="application/json")
