"""The API port: OpenAI's routes, as clients of a model server know them.

One handler serves the generating routes; everything it decides is elsewhere. A client that goes
away cancels its handler (aiohttp's `handler_cancellation`), which closes the upstream.
"""

import asyncio
import time
from typing import Final
from weakref import WeakKeyDictionary

import orjson
from aiohttp import web

from thinkscale.engines import DIALECTS
from thinkscale.engines.dialect import Route
from thinkscale.gateway import responses
from thinkscale.gateway.affinity import conversation_of
from thinkscale.gateway.client import Client, ClientGone, StreamingClient, WaitingClient, refusal
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.guard import KEY_ID, Guard
from thinkscale.gateway.key_source import KeySource
from thinkscale.gateway.patience import Patience
from thinkscale.gateway.relay import Relay
from thinkscale.gateway.request import BadRequest, ClientRequest, parse
from thinkscale.gateway.tracing import CONTEXT_HEADERS, Trace, Tracing
from thinkscale.gateway.upstream import Upstream
from thinkscale.model.gateway_config import GatewayConfig

FORWARDED_HEADERS: Final = ("Authorization", "X-Request-Id", "traceparent", "tracestate")
SESSION_HEADER: Final = "X-Session-Id"
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
WATCH_SECONDS: Final = 1.0


class Api:
    """The handlers, and the requests that they serve now."""

    def __init__(
        self,
        gateway: Gateway,
        upstream: Upstream,
        patience: Patience,
        keys: KeySource | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """`keys`: what clients must show; None: they need no key. `tracing`: None: no spans."""
        self._gateway = gateway
        self._guard = Guard(keys, gateway.tally) if keys else None
        self._upstream = upstream
        self._patience = patience
        self._tracing = tracing
        self._relays: set[Relay] = set()
        self._met: WeakKeyDictionary[asyncio.BaseTransport, int] = WeakKeyDictionary()
        """Clients' connections, and how many gateways there were when they were made."""
        self._born = int(time.time())

    def application(self) -> web.Application:
        """The aiohttp application."""
        doors = [self._guard.middleware()] if self._guard else []
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=doors)
        app.router.add_post(Route.CHAT, self._chat)
        app.router.add_post(Route.COMPLETIONS, self._completions)
        app.router.add_post(responses.PATH, self._responses)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.on_response_prepare.append(self._close_when_due)
        return app

    async def watch(self) -> None:
        """Once a second: silent engines, the brown-out and the thoughts that it closes."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = self._gateway.clock()
            for relay in tuple(self._relays):
                relay.tick(now)
            self._gateway.look()
            self._close_thoughts(now)

    def _close_thoughts(self, now: float) -> None:
        brownout = self._gateway.brownout
        if brownout.effective_tokens is None:
            return
        open_thoughts = (relay.closable_thought() for relay in self._relays)
        for thought in brownout.choose((t for t in open_thoughts if t is not None), now):
            limit = brownout.limit_tokens(thought.tier)
            assert limit is not None
            thought.item.flight.would_lose_millipoints = round(1000 * brownout.lost_points(thought))
            thought.item.close_thought(limit)

    async def _close_when_due(self, request: web.Request, response: web.StreamResponse) -> None:
        """No answer keeps its connection while this gateway drains, nor when there are more
        gateways than when the connection was made: clients with pools would never let go, and never
        come to the new ones.

        NB: `force_close` alone comes too late to be told in the headers here.
        """
        gateways, transport = self._gateway.router.gateways, request.transport
        before = gateways if transport is None else self._met.setdefault(transport, gateways)
        if self._gateway.draining or gateways > before:
            response.force_close()
            response.headers["Connection"] = "close"

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, Route.CHAT)

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, Route.COMPLETIONS)

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, None)

    async def _generate(self, request: web.Request, route: Route | None) -> web.StreamResponse:
        """`route`: None is the Responses API."""
        config = self._gateway.config
        if config is None:
            return refusal("The gateway has no configuration yet.", "Service Unavailable", 503)
        try:
            parsed, client = await self._read(request, route, config)
        except BadRequest as error:
            self._gateway.ledger.totals.refused += 1
            kind = "NotFoundError" if error.status == 404 else "BadRequestError"
            return refusal(error.message, kind, error.status, param=error.param)
        trace = None
        if self._tracing is not None:
            trace = self._tracing.begin(parsed.route, config.model, request.headers)
        relay = self._relay(request, config, parsed, client, trace)
        session = request.headers.get(SESSION_HEADER, "")
        relay.flight.conversation = conversation_of(parsed.body, session)
        if parsed.grant.tier:
            self._gateway.ledger.of_tier(relay.flight, parsed.grant.tier)
        self._relays.add(relay)
        try:
            return await relay.run()
        except ClientGone:
            raise asyncio.CancelledError from None  # as aiohttp itself would have, a moment later
        finally:
            self._relays.discard(relay)
            if trace is not None:
                trace.end(relay.flight, relay.outcome, self._gateway.clock())
            self._gateway.tally.ended(
                tier=parsed.grant.tier,
                key=request.get(KEY_ID),
                outcome=relay.outcome,
                thinking=relay.flight.thinking,
                answer=relay.flight.answer,
            )

    async def _read(
        self, request: web.Request, route: Route | None, config: GatewayConfig
    ) -> tuple[ClientRequest, Client]:
        data = await request.read()
        if route is None:
            return responses.accept(request, data, config)
        parsed = parse(route, data, config)
        return parsed, StreamingClient(request) if parsed.stream else WaitingClient(route)

    def _relay(
        self,
        request: web.Request,
        config: GatewayConfig,
        parsed: ClientRequest,
        client: Client,
        trace: Trace | None,
    ) -> Relay:
        headers = {n: request.headers[n] for n in FORWARDED_HEADERS if n in request.headers}
        if trace is not None:
            headers = {n: v for n, v in headers.items() if n not in CONTEXT_HEADERS}
            headers.update(trace.headers)
        if self._guard is not None:
            headers.pop("Authorization", None)  # it is between the client and us
        return Relay(
            gateway=self._gateway,
            upstream=self._upstream,
            dialect=DIALECTS[config.engine],
            config=config,
            request=parsed,
            client=client,
            headers=headers,
            patience=self._patience,
        )

    async def _models(self, _: web.Request) -> web.Response:
        config = self._gateway.config
        models = [] if config is None else [self._card(config)]
        return web.Response(
            body=orjson.dumps({"object": "list", "data": models}), content_type="application/json"
        )

    async def _health(self, _: web.Request) -> web.Response:
        """As engines answer it: 200 while new requests are welcome."""
        return web.Response(status=503 if self._gateway.unready else 200)

    def _card(self, config: GatewayConfig) -> dict[str, object]:
        return {
            "id": config.model,
            "object": "model",
            "created": self._born,
            "owned_by": config.service,
        }
