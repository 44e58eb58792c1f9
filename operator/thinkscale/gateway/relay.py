"""Carries one request from its client to an engine and back: placing, trying again, ending.

What it must get right: once the client has a byte, another replica only goes on from what the
client has, and is never asked again from the beginning; a client that goes away closes the upstream
at once (the engine aborts); a silent engine does not hold a client for ever, neither before its
headers nor after them; a replica that is gone but still listed as ready costs its requests a wait,
not their lives. The streaming itself is the affair of `stages`.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from thinkscale.engines.dialect import Dialect
from thinkscale.gateway.booking import Booking
from thinkscale.gateway.client import Client, ClientGone, refusal
from thinkscale.gateway.engine_http import Unconnected
from thinkscale.gateway.engine_response import EngineResponse
from thinkscale.gateway.events import Broken, whole
from thinkscale.gateway.flight import Flight
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.http.message import Reply
from thinkscale.gateway.line import Line
from thinkscale.gateway.patience import Patience
from thinkscale.gateway.pump import NativeRefused
from thinkscale.gateway.request import ClientRequest
from thinkscale.gateway.retry import Loss, Retry
from thinkscale.gateway.routing import QueueFull, Replica
from thinkscale.gateway.serving import Preparation, Serving, headers_before, prepare
from thinkscale.gateway.shape import error_body, error_event
from thinkscale.gateway.slo import Outcome
from thinkscale.gateway.sse import encode
from thinkscale.gateway.stages import Stages
from thinkscale.gateway.turn import UNAVAILABLE
from thinkscale.gateway.upstream import Unreachable, Upstream
from thinkscale.gateway.whole_answer import read_answer
from thinkscale.gateway.witness import Witness
from thinkscale.model.cutting import Thought
from thinkscale.model.gateway_config import GatewayConfig

RETRY_AFTER_SECONDS: Final = 5


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
        self._retry = Retry(patience.connect)
        self._comment_seconds = patience.comment
        self._serving = Serving(
            gateway=gateway,
            upstream=upstream,
            dialect=dialect,
            config=config,
            request=request,
            client=client,
            line=Line(upstream, headers, patience, gateway.clock, self._retry.connected),
            booking=Booking(gateway, request.body),
            witness=Witness(gateway),
        )
        self._gateway = gateway
        self._request = request
        self._client = client
        self._prepared: Preparation | None = None
        self._stages: Stages | None = None
        self._told: Mapping[str, str] = {}
        """The headers of the answer."""
        self._lowered = False
        self._resumes = 0

    @property
    def flight(self) -> Flight:
        """The request in the books."""
        return self._serving.booking.flight

    async def run(self) -> Reply | None:
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
            self._serving.witness.release()
            self._serving.booking.end(self.outcome)
        return response

    def tick(self, now: float) -> None:
        """Once a second: give up on a silent engine."""
        self._serving.line.tick(now)

    def closable_thought(self) -> "Thought[Relay] | None":
        """The open thought, if load may close it and has not done so yet."""
        stages, replica = self._stages, self.flight.replica
        if stages is None or replica is None or self._lowered:
            return None
        is_open = stages.exchange.began and not self._serving.booking.thought_over
        budget = stages.budget
        if not is_open or not budget.closable or budget.thinking < self._request.grant.floor:
            return None
        return Thought(self, replica, budget.thinking, self.flight.tier)

    def close_thought(self, limit: int) -> None:
        """Load closes the thought at its next token; the answer follows."""
        assert self._stages is not None
        self._lowered = True
        self._stages.budget.lower(limit)
        self.flight.limit = self._stages.budget.limit

    async def _attempts(self) -> Reply | None:
        replica = await self._place()
        while True:
            try:
                try:
                    done = await self._attempt(replica)
                finally:
                    self._serving.line.close()
            except (Broken, *Unreachable) as error:
                if not (isinstance(error, Broken) and error.is_full):
                    self._gateway.failed(replica.name)
                if not self._may_try_again(replica, error):
                    self._gateway.leave(self.flight, replica.name)
                    return await self._fail(self._why(error))
                self._gateway.away(self.flight, replica.name, goes_on=self._retry.goes_on)
                self._serving.booking.moved()
                replica = await self._place(again=True)
                continue
            except BaseException:
                self._gateway.leave(self.flight, replica.name)
                raise
            self._gateway.leave(self.flight, replica.name)
            return done

    async def _place(self, *, again: bool = False) -> Replica:
        return await self._gateway.place(
            self.flight, again=again, beat=self._beat, beat_seconds=self._comment_seconds
        )

    async def _beat(self) -> None:
        """A client that reads a stream is shown that its request still waits."""
        await self._client.hold(headers_before(self._request))

    def _may_try_again(self, replica: Replica, error: Exception) -> bool:
        """Whether another replica may have it: from its beginning, or from what the client has."""
        stages, now = self._stages, self._gateway.clock()
        exchange = stages.exchange if stages is not None else None
        loss = Loss(
            sent=stages is not None and stages.sent,
            resumable=exchange is not None and exchange.resumable,
            unconnected=isinstance(error, Unconnected),
            silent=self._serving.line.silent,
            refused=exchange is not None and exchange.trouble is not None,
            alone=not self._gateway.router.another(replica.name, now),
        )
        return self._retry.again(loss, now)

    async def _attempt(self, replica: Replica) -> Reply | None:
        if self._retry.goes_on:
            response = await self._resume(replica)
        else:
            response, refused = await self._open(replica)
            if response.status != 200:
                return await self._refused(response, replica, refused)
            if not self._request.streamable:
                return await self._plain(response, replica)
            await self._client.begin(self._told)
            self._make_ready()
        assert self._stages is not None
        try:
            await self._stages.run(response, replica)
        except NativeRefused:
            self._gateway.trust.refused(replica.name)
            return await self._attempt(replica)
        return await self._conclude(self._stages)

    async def _resume(self, replica: Replica) -> EngineResponse:
        """Another replica goes on from what the client has. The client is told: where the headers
        are out, by a comment, which readers of events skip.
        """
        stages = self._stages
        assert stages is not None
        response = await stages.resume(replica)
        self._resumes += 1
        self._gateway.ledger.totals.resumed += 1
        await self._client.begin(self._answer_headers(replica))
        behind = stages.exchange.account.completion
        await stages.send(f": resumed by {replica.name} behind {behind} tokens\n\n".encode())
        return response

    def _make_ready(self) -> None:
        """For what will come, once the client has its first byte."""
        assert self._prepared is not None
        budget = self._prepared.plan.machine()
        exchange = self._prepared.exchange(self._serving, budget)
        self._stages = Stages(self._serving, exchange, budget)

    async def _open(self, replica: Replica) -> tuple[EngineResponse, bytes | None]:
        """The engine's response, and its body if that was read. An engine that refuses the native
        budget is asked again without.
        """
        request, dialect, line = self._request, self._serving.dialect, self._serving.line
        self._stages = None
        prepared = self._prepared = await prepare(self._serving, replica)
        write = dialect.first_body if request.streamable else dialect.plain_body
        body = write(
            request.body,
            model=self._serving.config.model,
            native_budget=prepared.plan.native,
            most_tokens=prepared.plan.most_tokens,
        )
        response = await line.send(replica, request.route, body)
        self._told = self._answer_headers(replica)  # while the engine looks at it
        if request.streamable:
            response.on_head = self._client.prepare(self._told)
        await line.accepted(response)
        if prepared.plan.native is None or response.status != 400:
            return response, None
        refused = await whole(response)
        if not dialect.refuses_native_budget(400, refused.decode(errors="replace")):
            return response, refused
        self._gateway.trust.refused(replica.name)
        return await self._open(replica)

    def _answer_headers(self, replica: Replica) -> dict[str, str]:
        assert self._prepared is not None
        return self._prepared.answer_headers(self._request, replica, self._resumes)

    async def _conclude(self, stages: Stages) -> Reply | None:
        exchange = stages.exchange
        account = exchange.account
        exact = account.is_exact and self._request.judgeable
        self._serving.witness.conclude(stages.budget, account.thinking if exact else None)
        self._gateway.ledger.totals.miscounted += exchange.miscounted
        self.outcome = Outcome.FAILED if exchange.error is not None else Outcome.COMPLETED
        return await self._client.finish()

    def _why(self, error: Exception) -> str:
        if self._serving.line.silent:
            return "the model server was silent for too long"
        return str(error) or type(error).__name__

    async def _fail(self, message: str) -> Reply | None:
        self.outcome = Outcome.FAILED
        exchange = self._stages.exchange if self._stages is not None else None
        own = exchange.concede() if exchange is not None else b""
        if own:
            self._client.write(own)
            return await self._client.finish()
        if not self._client.began:
            return refusal(message, "Bad Gateway", 502)
        error = error_body(message, "Bad Gateway", 502)
        self._client.write(exchange.fail(error) if exchange is not None else encode(error))
        return await self._client.finish()

    async def _refused(
        self, response: EngineResponse, replica: Replica, told: bytes | None
    ) -> Reply | None:
        """The engine said no: pass it on with its shape, or try another replica if it is ill."""
        if response.status < 400:  # a redirect, which is not followed: the client could not either
            raise Broken(f"the model server answered with HTTP {response.status}")
        told = await whole(response) if told is None else told
        body = self._serving.dialect.refusal(response.status, told)
        if response.status >= 500:
            now, is_full = self._gateway.clock(), response.status == UNAVAILABLE
            if not self._retry.is_last and self._gateway.router.another(replica.name, now):
                raise Broken("the model server is ill", is_full=is_full)
            if not is_full:
                self._gateway.failed(replica.name)
        ill = response.status >= 500 or response.status == 429
        self.outcome = Outcome.FAILED if ill else Outcome.REFUSED
        if self._client.began:
            self._client.write(error_event(body, response.status))
            return await self._client.finish()
        return Reply(
            status=response.status,
            body=body,
            content_type=response.content_type,
            headers=self._answer_headers(replica),
        )

    async def _plain(self, response: EngineResponse, replica: Replica) -> Reply | None:
        """A request that cannot be streamed goes as it is; its tokens are told by its usage."""
        answer = await whole(response)
        told = read_answer(answer)
        if told is None:
            raise Broken("the model server's answer is garbled")
        assert self._prepared is not None
        self._serving.witness.conclude(self._prepared.plan.machine(), told.thinking_of_one)
        self._serving.booking.whole(told)
        self.outcome = Outcome.COMPLETED
        return Reply(body=answer, headers=self._answer_headers(replica))
