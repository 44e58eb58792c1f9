"""Reads an upstream's server-sent events, and no more of one than can be meant.

A model server that never ends an event must not fill the gateway's memory: the largest honest event
holds the token ids of a whole prompt.
"""

from typing import Final

from thinkscale.gateway.engine_response import EngineResponse
from thinkscale.gateway.sse import SseEvent, SseParser

MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""Of one that is not streamed."""


class Broken(Exception):
    """The engine broke off, cannot be understood, or said that it cannot go on."""

    def __init__(self, why: str, *, is_full: bool = False) -> None:
        """`is_full`: it has no room, which is no fault."""
        super().__init__(why)
        self.is_full = is_full


class EventReader:
    """The events of one response, in the batches in which they arrive."""

    __slots__ = ("_parser", "_response")

    def __init__(self, response: EngineResponse, parser: SseParser | None = None) -> None:
        """`parser`: it has seen what came before."""
        self._response = response
        self._parser = parser or SseParser()

    async def read(self) -> list[SseEvent] | None:
        """The next batch, which may be empty; None: the stream is over. Raises `Broken`."""
        data = await self._response.readany()
        if not data:
            return None
        events = self._parser.feed(data)
        if len(self._parser.rest) > MAX_EVENT_BYTES:
            raise Broken("the model server sent an event without an end")
        return events


async def whole(response: EngineResponse) -> bytes:
    """A body that is not a stream. Raises `Broken` if it is too long to be one."""
    pieces, size = [], 0
    while data := await response.readany():
        pieces.append(data)
        size += len(data)
        if size > MAX_ANSWER_BYTES:
            raise Broken("the model server sent an answer without an end")
    return b"".join(pieces)
