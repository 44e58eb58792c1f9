"""Streams one request to its client, stage by stage: the request itself, and what continues it.

The shell around `exchange`: it reads an engine's events, writes what the exchange makes of them,
and opens the next stage when the exchange has ended one. What it must get right: a stage that was
cut is closed before the next one starts, and a client is never sent anything twice.
"""

import asyncio
import contextlib
from typing import Final

import aiohttp

from thinkscale.engines.dialect import Prompt, Route
from thinkscale.engines.text_reader import TextReader
from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.events import Broken, EventReader, whole
from thinkscale.gateway.exchange import Exchange
from thinkscale.gateway.routing import Replica
from thinkscale.gateway.serving import Serving
from thinkscale.gateway.sse import SseEvent
from thinkscale.gateway.turn import TOO_MANY, UNAVAILABLE, Next
from thinkscale.gateway.upstream import Unreachable

LOOK_BEYOND_SECONDS: Final = 2.0
"""How long a request waits, once per doubted replica, to see how its native budget failed."""


class NativeRefused(Exception):
    """The engine has no native budgets, and nothing was sent to the client."""


class Stages:
    """One request's, from its beginning at one replica until another one begins anew."""

    def __init__(self, serving: Serving, exchange: Exchange, budget: BudgetMachine) -> None:
        self.exchange = exchange
        self.sent = False
        """The client has something."""
        self.budget = budget
        self._serving = serving
        self._native = budget.native
        self._reader: EventReader | None = None

    async def run(self, response: aiohttp.ClientResponse, replica: Replica) -> None:
        """Stream this stage and all that follow. Raises `NativeRefused`, `Broken`, `ClientGone` and
        what is in `Unreachable`.
        """
        following: aiohttp.ClientResponse | None = response
        while following is not None and await self._pump(following):
            following = await self._next_stage(following, replica)

    async def resume(self, replica: Replica) -> aiohttp.ClientResponse:
        """Another replica goes on from what the client has."""
        await self.send(self.exchange.resume())
        return await self._continue(replica)

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

    async def send(self, data: bytes) -> None:
        """Write to the client. Raises `ClientGone`."""
        if data:
            self.sent = True
            await self._serving.client.send(data)

    async def _pump(self, response: aiohttp.ClientResponse) -> bool:
        """Stream one stage; True: it was ended for another one."""
        exchange, reader = self.exchange, EventReader(response)
        self._reader = reader
        while (events := await self._read(reader)) is not None:
            pieces = []
            for number, event in enumerate(events, 1):
                pieces.append(exchange.feed(event))
                if exchange.turn is not None or exchange.trouble is not None:
                    reader.ahead = events[number:]
                    break
            error = exchange.error
            if error and self.refuses_budget(error.get("code"), error.get("message")):
                raise NativeRefused
            self._report()
            await self.send(b"".join(pieces))
            if exchange.trouble is not None:
                raise Broken(exchange.trouble.why, is_full=exchange.trouble.is_full)
            if exchange.turn is not None:
                return True
        if not (exchange.done or exchange.error or exchange.finish_reason):
            raise Broken("the model server broke off the stream")
        if not exchange.done and not exchange.error:
            await self.send(exchange.end())
        return False

    async def _read(self, reader: EventReader) -> list[SseEvent] | None:
        """The next events. A stream that breaks when all was said has only lost its end mark."""
        exchange = self.exchange
        try:
            return await reader.read()
        except Unreachable:
            if exchange.done or (exchange.finish_reason and self._serving.request.judgeable):
                return None
            raise

    def _report(self) -> None:
        """Tell what has come."""
        serving = self._serving
        serving.line.heard(serving.gateway.clock(), began=self.exchange.began)
        serving.witness.look(self.budget)
        serving.booking.progress(self.exchange, self.budget)

    async def _next_stage(
        self, response: aiohttp.ClientResponse, replica: Replica
    ) -> aiohttp.ClientResponse | None:
        """Close the stage that was ended and open the next one, if there is one."""
        exchange, serving = self.exchange, self._serving
        assert exchange.turn is not None
        trim = exchange.turn.trim
        if self.budget.violated and self.budget.violation is None:
            await self._look_beyond()
        response.close()
        if trim is not None:
            text = await serving.upstream.spelled(
                replica,
                serving.dialect,
                serving.config.model,
                trim.ids,
                trim.text,
                own_ids=exchange.reader.own_ids,
            )
            await self.send(exchange.trimmed(text))
        serving.gateway.ledger.budget.extended += exchange.turn.next is Next.THINK
        await self.send(exchange.turned())
        self._report()
        if exchange.done:
            return None
        return await self._continue(replica)

    async def _look_beyond(self) -> None:
        """Read on a little behind the cut: is the native budget late, or has it no effect?"""
        reader, budget = self._reader, self.budget
        assert reader is not None
        events: list[SseEvent] | None = reader.ahead
        with contextlib.suppress(Broken, *Unreachable):
            async with asyncio.timeout(LOOK_BEYOND_SECONDS):
                while events is not None and self.exchange.look_beyond(events):
                    events = await reader.read()
        budget.conclude(None)
        self._serving.witness.look(budget)

    async def _continue(self, replica: Replica) -> aiohttp.ClientResponse:
        serving, transcript = self._serving, self.exchange.transcript
        model = serving.config.model
        prompt: Prompt | None = None
        if isinstance(self.exchange.reader, TextReader):
            prompt = await serving.upstream.prompt(
                replica, self.exchange.reader, transcript.generated, model
            )
            if prompt is None:
                raise Broken("the model server did not tell the prompt to go on behind")
        body = transcript.continuation(serving.dialect, model, prompt)
        serving.gateway.goes_on(replica.name, transcript.tokens)
        response = await serving.line.post(replica, Route.COMPLETIONS, body)
        if response.status != 200:
            said = (await whole(response)).decode(errors="replace")
            is_full = response.status in (TOO_MANY, UNAVAILABLE)
            raise Broken(f"the model server refused to go on: {said}", is_full=is_full)
        return response
