"""The hot path: from an engine's response to the client, inside the transport's own callback.

A token costs no task switch and no queue: `data` is called when the bytes are there, and writes
what the exchange makes of them. The coroutine `run` is woken only when somebody has to wait: the
client is behind (then nothing more is read from the engine), or the stage is over.
"""

import asyncio
from enum import Enum
from math import inf

from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.client import ClientGone
from thinkscale.gateway.engine_response import BrokenOff, EngineResponse
from thinkscale.gateway.events import MAX_EVENT_BYTES, Broken
from thinkscale.gateway.exchange import Exchange
from thinkscale.gateway.serving import Serving
from thinkscale.gateway.sse import SseEvent, SseParser


class NativeRefused(Exception):
    """The engine has no native budgets, and nothing was sent to the client."""


class _Woken(Enum):
    BEHIND = "the client is behind"
    TURNED = "the exchange ended the stage"
    OVER = "the engine did"


class Pump:
    """One request's, over all its stages."""

    __slots__ = (
        "_between",
        "_budget",
        "_client",
        "_clock",
        "_exchange",
        "_flight",
        "_ledger",
        "_line",
        "_native",
        "_plain",
        "_response",
        "_serving",
        "_woken",
        "ahead",
        "parser",
        "sent",
    )

    def __init__(self, serving: Serving, exchange: Exchange, budget: BudgetMachine) -> None:
        self.sent = False
        """The client has something."""
        self.parser = SseParser()
        self.ahead: list[SseEvent] = []
        """Of the last piece, those that were not looked at."""
        self._serving = serving
        self._exchange = exchange
        self._budget = budget
        self._native = budget.native
        self._between = True
        """No event has begun that is not complete."""
        self._plain = exchange.plain
        self._client = serving.client
        self._line = serving.line
        self._ledger = serving.gateway.ledger
        self._flight = serving.booking.flight
        self._clock = serving.gateway.clock
        self._response: EngineResponse | None = None
        self._woken: asyncio.Future[_Woken] | None = None

    async def run(self, response: EngineResponse) -> bool:
        """Stream one stage; True: it was ended for another one. Raises `NativeRefused`, `Broken`,
        `ClientGone` and what is in `Unreachable`.
        """
        self._response, self.parser, self.ahead = response, SseParser(), []
        self._between = True
        loop = asyncio.get_running_loop()
        woken = _Woken.BEHIND
        while woken is _Woken.BEHIND:
            self._woken = loop.create_future()
            response.listen(self)
            try:
                woken = await self._woken
            finally:
                response.unlisten()
            if woken is _Woken.BEHIND:
                await self._catch_up()
        exchange = self._exchange
        if exchange.trouble is not None:
            raise Broken(exchange.trouble.why, is_full=exchange.trouble.is_full)
        if woken is _Woken.TURNED:
            return True
        if not (exchange.done or exchange.error or exchange.finish_reason):
            raise Broken("the model server broke off the stream")
        if not exchange.done and not exchange.error:
            await self.send(exchange.end())
        return False

    async def _catch_up(self) -> None:
        """Wait for the client, which is no silence of the engine's. One that takes nothing for as
        long as an engine may be silent is gone: it holds a seat that others wait for.
        """
        self._line.heard_at = inf
        try:
            async with asyncio.timeout(self._line.idle_seconds):
                await self._client.drained()
        except TimeoutError:
            raise ClientGone from None
        self._line.heard_at = self._clock()

    async def send(self, data: bytes) -> None:
        """Write to the client. Raises `ClientGone`."""
        if data:
            self.sent = True
            if not self._client.write(data):
                await self._catch_up()

    def report(self) -> None:
        """Tell what has come."""
        self._line.heard(self._clock(), began=self._exchange.began)
        self._serving.witness.look(self._budget)
        self._serving.booking.progress(self._exchange, self._budget)

    def refuses_budget(self, status: object, message: object) -> bool:
        """The server was started without native budgets. NB: vLLM says so with HTTP 400, but to a
        request that streams with an error inside HTTP 200.
        """
        return (
            self._native is not None
            and not self.sent
            and isinstance(status, int)
            and self._serving.dialect.refuses_native_budget(status, str(message))
        )

    # What the response calls.

    def data(self, data: bytes) -> None:
        """A piece of the stream."""
        plain = self._plain
        out = plain.feed(data) if self._between else None
        try:
            if out is None:
                self._take(data)
                return
            now = self._clock()
            self._line.heard_at = now
            self._ledger.token(self._flight, now, thinking=plain.thinking)
            if not self._client.write(out):
                self._wake(_Woken.BEHIND)
        except Exception as error:  # into the coroutine that waits
            self._fail(error)

    def over(self, error: BrokenOff | None) -> None:
        """The engine ended the stage. One that breaks when all was said has only lost its end
        mark.
        """
        exchange = self._exchange
        said = exchange.done or (exchange.finish_reason and self._serving.request.judgeable)
        if error is None or said:
            self._wake(_Woken.OVER)
        else:
            self._fail(error)

    def _take(self, data: bytes) -> None:
        exchange = self._exchange
        events = self.parser.feed(data)
        rest = len(self.parser.rest)
        if rest > MAX_EVENT_BYTES:
            raise Broken("the model server sent an event without an end")
        self._between = rest == 0
        pieces = []
        for number, event in enumerate(events, 1):
            pieces.append(exchange.feed(event))
            if exchange.turn is not None or exchange.trouble is not None:
                self.ahead = events[number:]
                break
        error = exchange.error
        if error and self.refuses_budget(error.get("code"), error.get("message")):
            raise NativeRefused
        self.report()
        out = b"".join(pieces)
        ended = exchange.turn is not None or exchange.trouble is not None
        if out:
            self.sent = True
            if not self._client.write(out) and not ended:
                self._wake(_Woken.BEHIND)
        if ended:  # though the client be behind: nothing more is read from this stage
            self._wake(_Woken.TURNED)

    def _wake(self, woken: _Woken) -> None:
        assert self._woken is not None
        assert self._response is not None
        self._response.unlisten()
        if not self._woken.done():
            self._woken.set_result(woken)

    def _fail(self, error: Exception) -> None:
        assert self._woken is not None
        assert self._response is not None
        self._response.unlisten()
        if not self._woken.done():
            self._woken.set_exception(error)
