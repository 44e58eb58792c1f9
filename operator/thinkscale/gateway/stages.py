"""Streams one request to its client, stage by stage: the request itself, and what continues it.

It opens the next stage when the exchange has ended one; a stage itself is the affair of `pump`.
What it must get right: a stage that was cut is closed before the next one starts, and a client is
never sent anything twice.
"""

import asyncio
import contextlib
from typing import Final

from thinkscale.engines.dialect import Prompt, Route
from thinkscale.engines.text_reader import TextReader
from thinkscale.gateway.beyond import look_beyond
from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.engine_response import EngineResponse
from thinkscale.gateway.events import Broken, EventReader, whole
from thinkscale.gateway.exchange import Exchange
from thinkscale.gateway.pump import Pump
from thinkscale.gateway.routing import Replica
from thinkscale.gateway.serving import Serving
from thinkscale.gateway.sse import SseEvent
from thinkscale.gateway.turn import TOO_MANY, UNAVAILABLE, Next
from thinkscale.gateway.upstream import Unreachable

LOOK_BEYOND_SECONDS: Final = 2.0
"""How long a request waits, once per doubted replica, to see how its native budget failed."""


class Stages:
    """One request's, from its beginning at one replica until another one begins anew."""

    def __init__(self, serving: Serving, exchange: Exchange, budget: BudgetMachine) -> None:
        self.exchange = exchange
        self.budget = budget
        self._serving = serving
        self._pump = Pump(serving, exchange, budget)

    @property
    def sent(self) -> bool:
        """The client has something."""
        return self._pump.sent

    async def run(self, response: EngineResponse, replica: Replica) -> None:
        """Stream this stage and all that follow. Raises `NativeRefused`, `Broken`, `ClientGone` and
        what is in `Unreachable`.
        """
        following: EngineResponse | None = response
        while following is not None and await self._pump.run(following):
            following = await self._next_stage(following, replica)

    async def resume(self, replica: Replica) -> EngineResponse:
        """Another replica goes on from what the client has."""
        await self.send(self.exchange.resume())
        return await self._continue(replica)

    async def send(self, data: bytes) -> None:
        """Write to the client. Raises `ClientGone`."""
        await self._pump.send(data)

    async def _next_stage(
        self, response: EngineResponse, replica: Replica
    ) -> EngineResponse | None:
        """Close the stage that was ended and open the next one, if there is one."""
        exchange, serving = self.exchange, self._serving
        assert exchange.turn is not None
        trim = exchange.turn.trim
        if self.budget.violated and self.budget.violation is None:
            await self._look_beyond(response)
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
        self._pump.report()
        if exchange.done:
            return None
        return await self._continue(replica)

    async def _look_beyond(self, response: EngineResponse) -> None:
        """Read on a little behind the cut: is the native budget late, or has it no effect?"""
        reader, budget = EventReader(response, self._pump.parser), self.budget
        events: list[SseEvent] | None = self._pump.ahead
        with contextlib.suppress(Broken, *Unreachable):
            async with asyncio.timeout(LOOK_BEYOND_SECONDS):
                while events is not None and look_beyond(self.exchange, budget, events):
                    events = await reader.read()
        budget.conclude(None)
        self._serving.witness.look(budget)

    async def _continue(self, replica: Replica) -> EngineResponse:
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
