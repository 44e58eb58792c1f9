"""The API port: OpenAI's routes, as clients of a model server know them.

One handler serves the generating routes; everything it decides is elsewhere. A client that goes
away cancels its handler, which closes the upstream.
"""

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Final

import orjson

from thinkscale.engines import DIALECTS
from thinkscale.engines.dialect import Route
from thinkscale.gateway import responses
from thinkscale.gateway.affinity import conversation_of
from thinkscale.gateway.client import Client, StreamingClient, WaitingClient, refusal
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.guard import Guard
from thinkscale.gateway.http.connection import Connection
from thinkscale.gateway.http.message import REASONS, Reply, Request
from thinkscale.gateway.http.server import HttpServer
from thinkscale.gateway.key_source import KeySource
from thinkscale.gateway.patience import Patience
from thinkscale.gateway.relay import Relay
from thinkscale.gateway.request import BadRequest, ClientRequest, parse
from thinkscale.gateway.tracing import CONTEXT_HEADERS, Trace, Tracing
from thinkscale.gateway.upstream import Upstream
from thinkscale.model.gateway_config import GatewayConfig

FORWARDED_HEADERS: Final = {
    b"authorization": "Authorization",
    b"x-request-id": "X-Request-Id",
    b"traceparent": "traceparent",
    b"tracestate": "tracestate",
}
SESSION_HEADER: Final = b"x-session-id"
MODELS_PATH: Final = "/v1/models"
HEALTH_PATH: Final = "/health"
ROUTES: Final[Mapping[str, Route]] = {route.value: route for route in Route}
METHODS: Final = {
    **dict.fromkeys(ROUTES, ("POST",)),
    responses.PATH: ("POST",),
    MODELS_PATH: ("GET", "HEAD"),
    HEALTH_PATH: ("GET", "HEAD"),
}
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
        self._born = int(time.time())

    def server(self) -> HttpServer:
        """Its HTTP server. No answer keeps its connection while this gateway drains, nor when there
        are more gateways than when the connection was made: clients with pools would never let go,
        and never come to the new ones.
        """
        return HttpServer(
            self._handle,
            lambda status, message: refusal(message, _kind(status), status),
            door=self._door,
            epoch=lambda: self._gateway.growths,
            closing=lambda: self._gateway.draining,
        )

    def _door(self, request: Request) -> Reply | None:
        """What can be said by the head alone."""
        if self._guard is not None and (refused := self._guard.refuses(request)) is not None:
            return refused
        methods = METHODS.get(request.path)
        if methods is None:
            return refusal(f"There is nothing at {request.path}.", _kind(404), 404)
        if request.method not in methods:
            told = f"{request.path} is for {methods[0]}, not {request.method}."
            allow = {"Allow": ", ".join(methods)}
            return refusal(told, _kind(405), 405, headers=allow)
        return None

    async def _handle(self, request: Request, connection: Connection) -> Reply | None:
        path = request.path
        route = ROUTES.get(path)
        if route is None and path != responses.PATH:
            return self._models() if path == MODELS_PATH else self._health()
        return await self._generate(request, connection, route)

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

    async def _generate(
        self, request: Request, connection: Connection, route: Route | None
    ) -> Reply | None:
        """`route`: None is the Responses API."""
        config = self._gateway.config
        if config is None:
            return refusal("The gateway has no configuration yet.", "Service Unavailable", 503)
        try:
            parsed, client = self._read(request, connection, route, config)
        except BadRequest as error:
            self._gateway.ledger.totals.refused += 1
            kind = "NotFoundError" if error.status == 404 else "BadRequestError"
            return refusal(error.message, kind, error.status, param=error.param)
        trace = None
        if self._tracing is not None:
            given = {name: request.header(name.encode()) for name in CONTEXT_HEADERS}
            told = {name: value for name, value in given.items() if value is not None}
            trace = self._tracing.begin(parsed.route, config.model, told)
        relay = self._relay(request, config, parsed, client, trace)
        session = request.header(SESSION_HEADER) or ""
        relay.flight.whose = partial(conversation_of, parsed.body, session)
        if parsed.grant.tier:
            self._gateway.ledger.of_tier(relay.flight, parsed.grant.tier)
        self._relays.add(relay)
        try:
            return await relay.run()
        finally:
            self._relays.discard(relay)
            if trace is not None:
                trace.end(relay.flight, relay.outcome, self._gateway.clock())
            self._gateway.tally.ended(
                tier=parsed.grant.tier,
                key=request.key_id,
                outcome=relay.outcome,
                thinking=relay.flight.thinking,
                answer=relay.flight.answer,
            )

    def _read(
        self,
        request: Request,
        connection: Connection,
        route: Route | None,
        config: GatewayConfig,
    ) -> tuple[ClientRequest, Client]:
        if route is None:
            return responses.accept(connection, request.body, config)
        parsed = parse(route, request.body, config)
        return parsed, StreamingClient(connection) if parsed.stream else WaitingClient(route)

    def _relay(
        self,
        request: Request,
        config: GatewayConfig,
        parsed: ClientRequest,
        client: Client,
        trace: Trace | None,
    ) -> Relay:
        headers: dict[str, str] = {}
        for name, spelled in FORWARDED_HEADERS.items():
            if (value := request.header(name)) is not None:
                headers[spelled] = value
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

    def _models(self) -> Reply:
        config = self._gateway.config
        models = [] if config is None else [self._card(config)]
        return Reply(body=orjson.dumps({"object": "list", "data": models}))

    def _health(self) -> Reply:
        """As engines answer it: 200 while new requests are welcome."""
        return Reply(status=503 if self._gateway.unready else 200)

    def _card(self, config: GatewayConfig) -> dict[str, object]:
        return {
            "id": config.model,
            "object": "model",
            "created": self._born,
            "owned_by": config.service,
        }


def _kind(status: int) -> str:
    return REASONS[status]
