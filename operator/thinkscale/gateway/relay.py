"""Carries one request from its client to an engine and back: placing, trying again, streaming,
turning from one stage to the next.

The shell around `exchange`. What it must get right: once the client has a byte, another replica
only goes on from what the client has, and is never asked again from the beginning; a client that
goes away closes the upstream at once (the engine aborts); a stage that was cut is closed before the
next one starts; a silent engine does not hold a client for ever, neither before its headers nor
after them; a replica that is gone but still listed as ready costs its requests a wait, not their
lives.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from aiohttp import web

from thinkscale.engines.dialect import Dialect, Prompt, Route, Tags
from thinkscale.engines.text_reader import TextReader
from thinkscale.gateway.booking import Booking
from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.client import Client, ClientGone, refusal
from thinkscale.gateway.events import Broken, EventReader, whole
from thinkscale.gateway.exchange import TOO_MANY, UNAVAILABLE, Exchange, Next
from thinkscale.gateway.flight import Flight
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.patience import Patience
from thinkscale.gateway.plan import BudgetPlan, plan_budget
from thinkscale.gateway.request import ClientRequest
from thinkscale.gateway.retry import Loss, Retry
from thinkscale.gateway.routing import QueueFull, Replica
from thinkscale.gateway.shape import error_body
from thinkscale.gateway.slo import Outcome
from thinkscale.gateway.sse import SseEvent
from thinkscale.gateway.upstream import Unconnected, Unreachable, Upstream
from thinkscale.gateway.verify import Standing
from thinkscale.gateway.whole_answer import read_answer
from thinkscale.gateway.witness import Witness
from thinkscale.model.cutting import Thought
from thinkscale.model.gateway_config import GatewayConfig

RETRY_AFTER_SECONDS: Final = 5
LOOK_BEYOND_SECONDS: Final = 2.0
"""How long a request waits, once per doubted replica, to see how its native budget failed."""


class NativeRefused(Exception):
    """The engine has no native budgets, and nothing was sent to the client."""


class Relay:
    """One request's journey. `outcome` says how it ended."""

    def __init__(
        self,
        gateway: Gateway,
        upstream: Upstream,
        dialect: Dialect,
        config: GatewayConfig,
        request: ClientRequest,
        client: Client,
        headers: Mapping[str, str],
        patience: Patience,
    ) -> None:
        """`headers`: the client's own that go on to the engine."""
        self.outcome = Outcome.FAILED
        self._booking = Booking(gateway, request.body)
        self.flight: Flight = self._booking.flight
        self.exchange: Exchange | None = None
        self._gateway = gateway
        self._upstream = upstream
        self._dialect = dialect
        self._config = config
        self._request = request
        self._client = client
        self._headers = dict(headers)
        self._patience = patience
        self._deadline = float("inf")
        self._response: aiohttp.ClientResponse | None = None
        self._refusal: bytes | None = None
        self._reader: EventReader | None = None
        self._witness = Witness(gateway)
        self._budget = BudgetMachine(limit=None)
        self._native: int | None = None
        self._most_tokens: int | None = None
        self._told: dict[str, str] = {}
        self._lowered = False
        self._sent = False
        self._silent = False
        self._retry = Retry(patience.connect)
        self._resumes = 0

    async def run(self) -> web.StreamResponse:
        """Serve the request; raises CancelledError when the client went away."""
        try:
            response = await self._attempts()
        except (ClientGone, asyncio.CancelledError):
            self.outcome = Outcome.CANCELLED
            raise
        except QueueFull:
            return refusal(
                "All replicas are busy and the queue is full. Please try again later.",
                "Service Unavailable",
                429,
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        finally:
            self._witness.release()
            self._booking.end(self.outcome)
        return response

    def tick(self, now: float) -> None:
        """Once a second: give up on a silent engine."""
        if now > self._deadline and self._response is not None:
            self._silent = True
            self._response.close()

    def closable_thought(self) -> "Thought[Relay] | None":
        """The open thought, if load may close it and has not done so yet."""
        exchange, replica, budget = self.exchange, self.flight.replica, self._budget
        is_open = exchange is not None and exchange.began and not self._booking.thought_over
        if replica is None or not is_open or self._lowered or not budget.closable:
            return None
        if budget.thinking < self._request.grant.floor:
            return None
        return Thought(self, replica, budget.thinking, self.flight.tier)

    def close_thought(self, limit: int) -> None:
        """Load closes the thought at its next token; the answer follows."""
        self._lowered = True
        self._budget.lower(limit)
        self.flight.limit = self._budget.limit

    async def _attempts(self) -> web.StreamResponse:
        replica = await self._gateway.place(self.flight)
        while True:
            try:
                try:
                    done = await self._attempt(replica)
                finally:
                    self._close()
                    self._deadline = float("inf")
            except (Broken, *Unreachable) as error:
                if not (isinstance(error, Broken) and error.is_full):
                    self._gateway.failed(replica.name)
                if not self._may_try_again(replica, error):
                    self._gateway.leave(self.flight, replica.name)
                    return await self._fail(self._why(error))
                self._gateway.away(self.flight, replica.name, goes_on=self._retry.goes_on)
                self._booking.moved()
                replica = await self._gateway.place(self.flight, again=True)
                continue
            except BaseException:
                self._gateway.leave(self.flight, replica.name)
                raise
            self._gateway.leave(self.flight, replica.name)
            return done

    def _may_try_again(self, replica: Replica, error: Exception) -> bool:
        """Whether another replica may have it: from its beginning, or from what the client has."""
        exchange, now = self.exchange, self._gateway.clock()
        loss = Loss(
            sent=self._sent,
            resumable=exchange is not None and exchange.resumable,
            unconnected=isinstance(error, Unconnected),
            silent=self._silent,
            refused=exchange is not None and exchange.trouble is not None,
            alone=not self._gateway.router.another(replica.name, now),
        )
        return self._retry.again(loss, now)

    async def _attempt(self, replica: Replica) -> web.StreamResponse:
        if self._retry.goes_on:
            response = await self._resume(replica)
        else:
            await self._prepare(replica)
            response = await self._open(replica)
            if response.status != 200:
                return await self._refused(response, replica)
            if not self._request.streamable:
                return await self._plain(response, replica)
            await self._client.begin(self._answer_headers(replica))
        following: aiohttp.ClientResponse | None = response
        try:
            while following is not None and await self._pump(following):
                following = await self._next_stage(following, replica)
        except NativeRefused:
            self._gateway.trust.refused(replica.name)
            return await self._attempt(replica)
        return await self._conclude()

    async def _resume(self, replica: Replica) -> aiohttp.ClientResponse:
        """Another replica goes on from what the client has. The client is told: where the headers
        are out, by a comment, which readers of events skip.
        """
        exchange = self.exchange
        assert exchange is not None
        await self._send(exchange.resume())
        response = await self._continue(exchange, replica)
        self._resumes += 1
        self._gateway.ledger.totals.resumed += 1
        await self._client.begin(self._answer_headers(replica))
        behind = exchange.account.completion
        await self._send(f": resumed by {replica.name} behind {behind} tokens\n\n".encode())
        return response

    async def _prepare(self, replica: Replica) -> None:
        """Decide the budget, now that the request is about to be sent."""
        tags = Tags()
        if self._request.streamable:
            tags = await self._upstream.tags(replica, self._dialect, self._config.model)
        reader = self._dialect.reader(self._request.route, self._request.body, tags)
        plan = self._plan(replica, reader.tags)
        self._budget = plan.machine()
        if plan.native is not None:
            self._witness.sends(replica.name)
        if not self._request.streamable:
            return
        self._client.expect(tags, opened=reader.opened)
        self.exchange = Exchange(
            self._request,
            self._budget,
            tags,
            model=self._config.model,
            stops_when_exhausted=self._config.on_exhausted == "Stop",
            keeps_ids=plan.forceable,
            reader=reader,
        )

    def _plan(self, replica: Replica, tags: Tags) -> BudgetPlan:
        plan = plan_budget(
            self._request,
            self._config,
            tags,
            standing=self._witness.standing(replica.name)
            if self._dialect.has_native_budget
            else Standing.ABSENT,
        )
        self._native, self._most_tokens = plan.native, plan.most_tokens
        self._told = plan.headers()
        self._booking.planned(plan.limit)
        return plan

    async def _open(self, replica: Replica) -> aiohttp.ClientResponse:
        streamable = self._request.streamable
        write = self._dialect.first_body if streamable else self._dialect.plain_body
        body = write(
            self._request.body,
            model=self._config.model,
            native_budget=self._native,
            most_tokens=self._most_tokens,
        )
        response = await self._post(replica, self._request.route, body)
        if self._native is None or response.status != 400:
            return response
        self._refusal = await whole(response)
        if not self._refuses_budget(response.status, self._refusal.decode(errors="replace")):
            return response
        self._gateway.trust.refused(replica.name)
        await self._prepare(replica)
        return await self._open(replica)

    async def _post(
        self, replica: Replica, route: Route, body: dict[str, Any]
    ) -> aiohttp.ClientResponse:
        """Returns when the headers are there. `tick` guards the body, of which nothing has come:
        engines queue silently, continuations too.
        """
        self._close()
        self._refusal = None
        patience = self._patience.first_token
        self._deadline = self._gateway.clock() + patience
        try:
            async with asyncio.timeout(patience) as limit:
                self._response = await self._upstream.post(replica, route, body, self._headers)
        finally:
            self._silent = limit.expired()
        self._retry.connected()
        return self._response

    def _refuses_budget(self, status: object, message: object) -> bool:
        """The server was started without native budgets. NB: vLLM says so with HTTP 400, but to a
        request that streams with an error inside HTTP 200.
        """
        return (
            self._native is not None
            and not self._sent
            and isinstance(status, int)
            and self._dialect.refuses_native_budget(status, str(message))
        )

    def _answer_headers(self, replica: Replica) -> dict[str, str]:
        stripped = self._request.stripped
        told = {"x-thinkscale-stripped": ", ".join(stripped)} if stripped else {}
        if self._resumes:
            told["x-thinkscale-resumed"] = str(self._resumes)
        granted = self._request.grant.headers()
        return {**granted, **self._told, **told, "x-thinkscale-replica": replica.name}

    def _watch(self) -> None:
        began = self.exchange is not None and self.exchange.began
        patience = self._patience.idle if began else self._patience.first_token
        self._deadline = self._gateway.clock() + patience

    async def _pump(self, response: aiohttp.ClientResponse) -> bool:
        """Stream one stage; True: it was ended for another one."""
        exchange, reader = self.exchange, EventReader(response)
        assert exchange is not None
        self._reader = reader
        while (events := await self._read(reader, exchange)) is not None:
            pieces = []
            for number, event in enumerate(events, 1):
                pieces.append(exchange.feed(event))
                if exchange.turn is not None or exchange.trouble is not None:
                    reader.ahead = events[number:]
                    break
            error = exchange.error
            if error and self._refuses_budget(error.get("code"), error.get("message")):
                raise NativeRefused
            self._report()
            await self._send(b"".join(pieces))
            if exchange.trouble is not None:
                raise Broken(exchange.trouble.why, is_full=exchange.trouble.is_full)
            if exchange.turn is not None:
                return True
        if not (exchange.done or exchange.error or exchange.finish_reason):
            raise Broken("the model server broke off the stream")
        if not exchange.done and not exchange.error:
            await self._send(exchange.end())
        return False

    async def _read(self, reader: EventReader, exchange: Exchange) -> list[SseEvent] | None:
        """The next events. A stream that breaks when all was said has only lost its end mark."""
        try:
            return await reader.read()
        except Unreachable:
            if exchange.done or (exchange.finish_reason and self._request.judgeable):
                return None
            raise

    async def _send(self, data: bytes) -> None:
        if data:
            self._sent = True
            await self._client.send(data)

    def _report(self) -> None:
        """Tell what has come."""
        exchange = self.exchange
        assert exchange is not None
        self._watch()
        self._witness.look(self._budget)
        self._booking.progress(exchange, self._budget)

    async def _next_stage(
        self, response: aiohttp.ClientResponse, replica: Replica
    ) -> aiohttp.ClientResponse | None:
        """Close the stage that was ended and open the next one, if there is one."""
        exchange = self.exchange
        assert exchange is not None
        assert exchange.turn is not None
        trim = exchange.turn.trim
        if self._budget.violated and self._budget.violation is None:
            await self._look_beyond(exchange)
        response.close()
        if trim is not None:
            text = await self._upstream.spelled(
                replica,
                self._dialect,
                self._config.model,
                trim.ids,
                trim.text,
                own_ids=exchange.reader.own_ids,
            )
            await self._send(exchange.trimmed(text))
        self._gateway.ledger.budget.extended += exchange.turn.next is Next.THINK
        await self._send(exchange.turned())
        self._report()
        if exchange.done:
            return None
        return await self._continue(exchange, replica)

    async def _look_beyond(self, exchange: Exchange) -> None:
        """Read on a little behind the cut: is the native budget late, or has it no effect?"""
        reader, budget = self._reader, self._budget
        assert reader is not None
        events: list[SseEvent] | None = reader.ahead
        with contextlib.suppress(Broken, *Unreachable):
            async with asyncio.timeout(LOOK_BEYOND_SECONDS):
                while events is not None and exchange.look_beyond(events):
                    events = await reader.read()
        budget.conclude(None)
        self._witness.look(budget)

    async def _continue(self, exchange: Exchange, replica: Replica) -> aiohttp.ClientResponse:
        prompt: Prompt | None = None
        if isinstance(exchange.reader, TextReader):
            prompt = await self._upstream.prompt(
                replica, exchange.reader, exchange.said, self._config.model
            )
            if prompt is None:
                raise Broken("the model server did not tell the prompt to go on behind")
        body = exchange.continuation(self._dialect, self._config.model, prompt)
        self._gateway.goes_on(replica.name, exchange.tokens_so_far)
        response = await self._post(replica, Route.COMPLETIONS, body)
        if response.status != 200:
            said = (await whole(response)).decode(errors="replace")
            is_full = response.status in (TOO_MANY, UNAVAILABLE)
            raise Broken(f"the model server refused to go on: {said}", is_full=is_full)
        return response

    async def _conclude(self) -> web.StreamResponse:
        exchange = self.exchange
        assert exchange is not None
        account = exchange.account
        exact = account.is_exact and self._request.judgeable
        self._witness.conclude(self._budget, account.thinking if exact else None)
        self._gateway.ledger.totals.miscounted += exchange.miscounted
        self.outcome = Outcome.FAILED if exchange.error is not None else Outcome.COMPLETED
        return await self._client.finish()

    def _why(self, error: Exception) -> str:
        if self._silent:
            return "the model server was silent for too long"
        return str(error) or type(error).__name__

    async def _fail(self, message: str) -> web.StreamResponse:
        self.outcome = Outcome.FAILED
        own = self.exchange.concede() if self.exchange is not None else b""
        if own:
            await self._client.send(own)
            return await self._client.finish()
        if not self._client.began:
            return refusal(message, "Bad Gateway", 502)
        assert self.exchange is not None
        await self._client.send(self.exchange.fail(error_body(message, "Bad Gateway", 502)))
        return await self._client.finish()

    async def _refused(
        self, response: aiohttp.ClientResponse, replica: Replica
    ) -> web.StreamResponse:
        """The engine said no: pass it on with its shape, or try another replica if it is ill."""
        told = await whole(response) if self._refusal is None else self._refusal
        body = self._dialect.refusal(response.status, told)
        if response.status >= 500:
            now, is_full = self._gateway.clock(), response.status == UNAVAILABLE
            if not self._retry.is_last and self._gateway.router.another(replica.name, now):
                raise Broken("the model server is ill", is_full=is_full)
            if not is_full:
                self._gateway.failed(replica.name)
        if self._client.began:
            return await self._fail(f"the model server refused: {body.decode(errors='replace')}")
        ill = response.status >= 500 or response.status == 429
        self.outcome = Outcome.FAILED if ill else Outcome.REFUSED
        return web.Response(
            body=body,
            status=response.status,
            headers={
                "Content-Type": response.headers.get("Content-Type", "application/json"),
                **self._answer_headers(replica),
            },
        )

    async def _plain(
        self, response: aiohttp.ClientResponse, replica: Replica
    ) -> web.StreamResponse:
        """A request that cannot be streamed goes as it is; its tokens are told by its usage."""
        answer = await whole(response)
        told = read_answer(answer)
        if told is None:
            raise Broken("the model server's answer is garbled")
        self._witness.conclude(self._budget, told.thinking_of_one)
        self._booking.whole(told)
        self.outcome = Outcome.COMPLETED
        return web.Response(
            body=answer,
            content_type="application/json",
            headers=self._answer_headers(replica),
        )

    def _close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
