"""The client's end of a request of the Responses API: written a chat stream, it hands on events.

One for a client that reads events, which wraps the client that a chat stream would have had, and
one for a client that waits for the whole response. Comments of the stream pass. There is no
`[DONE]`: the last event says how the response ended.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

from thinkscale.engines.dialect import Route, Tags
from thinkscale.gateway.client import Client, StreamingClient, refusal
from thinkscale.gateway.http.connection import Connection
from thinkscale.gateway.http.message import Reply
from thinkscale.gateway.request import BadRequest, ClientRequest, parse
from thinkscale.gateway.responses.events import Event, Translator
from thinkscale.gateway.responses.request import in_its_words, read
from thinkscale.gateway.sse import DONE, SseParser
from thinkscale.model.gateway_config import GatewayConfig

PATH: Final = "/v1/responses"


def accept(
    connection: Connection, data: bytes, config: GatewayConfig
) -> tuple[ClientRequest, Client]:
    """The chat request that serves this body, and the client's end of it. Raises `BadRequest`."""
    asked = read(data, config.model)
    try:
        chat = parse(Route.CHAT, asked.chat, config)
    except BadRequest as error:
        raise in_its_words(error) from error
    translator = Translator(secrets.token_hex(16), int(time.time()), asked.echo)
    if asked.stream:
        return chat, EventsClient(StreamingClient(connection), translator)
    return chat, ResponseClient(translator)


class EventsClient:
    """Gets the events as they come, through `inner`."""

    def __init__(self, inner: Client, translator: Translator) -> None:
        self._inner = inner
        self._translator = translator
        self._parser = SseParser()
        self._started = False

    @property
    def began(self) -> bool:
        """Whether the headers are out."""
        return self._inner.began

    def expect(self, tags: Tags, *, opened: bool = False) -> None:
        """How the model writes its tags."""
        self._translator.expect(tags, opened=opened)

    async def hold(self, headers: Mapping[str, str]) -> None:
        """Send a comment."""
        await self._inner.hold(headers)

    def prepare(self, headers: Mapping[str, str]) -> Callable[[int], None] | None:
        """Render the headers."""
        return self._inner.prepare(headers)

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Send the headers, and that the response was created."""
        await self._inner.begin(headers)
        if out := self._start():
            await self._inner.send(out)

    def _start(self) -> bytes:
        """That the response was created: once."""
        if self._started:
            return b""
        self._started = True
        return _encode(self._translator.start())

    def write(self, data: bytes) -> bool:
        """Translate and write through."""
        pieces = [self._start()]  # an error may come before any engine has accepted the request
        for event in self._parser.feed(data):
            if event.data is None:
                pieces.append(event.raw)
            elif event.data != DONE:
                pieces.append(_encode(self._translator.feed(orjson.loads(event.data))))
        out = b"".join(pieces)
        return self._inner.write(out) if out else True

    async def drained(self) -> None:
        """Wait for the transport."""
        await self._inner.drained()

    async def send(self, data: bytes) -> None:
        """Translate and write through."""
        if not self.write(data):
            await self.drained()

    async def finish(self) -> Reply | None:
        """The last events, and the end of the body. NB: they repeat all that was said. Nobody waits
        until they are taken: the request is over, and its seat is others'.
        """
        out = _encode(self._translator.finish())
        if out:
            self._inner.write(out)
        return await self._inner.finish()


class ResponseClient:
    """Gets one JSON response, put together from the stream."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator
        self._parser = SseParser()
        self._headers: Mapping[str, str] = {}

    @property
    def began(self) -> bool:
        """Never: everything is sent at the end."""
        return False

    def expect(self, tags: Tags, *, opened: bool = False) -> None:
        """How the model writes its tags."""
        self._translator.expect(tags, opened=opened)

    async def hold(self, headers: Mapping[str, str]) -> None:
        """Nothing may be sent before the status is known."""

    def prepare(self, headers: Mapping[str, str]) -> None:
        """Nothing is sent before the end."""

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Remember the headers."""
        self._headers = headers

    def write(self, data: bytes) -> bool:
        """Put together."""
        for payload in _payloads(self._parser, data):
            self._translator.feed(payload)
        return True

    async def drained(self) -> None:
        """Nothing is written before the end."""

    async def send(self, data: bytes) -> None:
        """Put together."""
        self.write(data)

    async def finish(self) -> Reply:
        """The response, or the error that came inside the stream, as an HTTP error."""
        self._translator.finish()
        error = self._translator.error
        if error is not None:
            code = error.get("code")
            status = code if isinstance(code, int) and 400 <= code <= 599 else 500
            return refusal(
                str(error.get("message")),
                str(error.get("type")),
                status,
                param=error.get("param"),
                headers=self._headers,
            )
        return Reply(body=orjson.dumps(self._translator.response()), headers=self._headers)


def _payloads(parser: SseParser, data: bytes) -> Iterator[Any]:
    for event in parser.feed(data):
        if event.data is not None and event.data != DONE:
            yield orjson.loads(event.data)


def _encode(events: list[Event]) -> bytes:
    return b"".join(
        b"event: " + event["type"].encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"
        for event in events
    )
