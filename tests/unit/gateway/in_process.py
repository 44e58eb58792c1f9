"""A gateway and an emulated engine in the test's own event loop, where a call can be made to fail
and the gateway's state can be looked at.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.unit.gateway.asking import PLAN
from thinkscale.emulator.options import parse
from thinkscale.emulator.server import Server
from thinkscale.emulator.sglang import SglangServer
from thinkscale.emulator.tgi import TgiServer
from thinkscale.gateway.api import Api
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.patience import Patience
from thinkscale.gateway.routing import Replica
from thinkscale.gateway.upstream import Upstream
from thinkscale.model.gateway_config import GatewayConfig

SERVERS = {"vllm": Server, "tgi": TgiServer, "sglang": SglangServer}
NAMES = {"vllm": "VLLM", "tgi": "TGI", "sglang": "SGLang"}
DROPPED, SILENT = -1, -2
USUAL = Patience()


@dataclass
class Engine:
    """An emulated engine. `faults`: path, how many calls of it pass first, and what becomes of the
    next one: a status, `DROPPED` or `SILENT`.
    """

    kind: str
    url: str = ""
    faults: list[tuple[str, int, int]] = field(default_factory=list)

    @web.middleware
    async def fail(self, request: web.Request, handler: Any) -> web.StreamResponse:
        for number, (path, passing, fault) in enumerate(self.faults):
            if path != request.path:
                continue
            if passing:
                self.faults[number] = path, passing - 1, fault
                break
            del self.faults[number]
            if fault == SILENT:
                await asyncio.sleep(60)
            if fault > 0:
                return web.json_response({"error": "no"}, status=fault)
            assert request.transport is not None
            request.transport.abort()
            break
        response: web.StreamResponse = await handler(request)
        return response


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    """The URL of this application on loopback."""
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving(api: Api) -> AsyncIterator[str]:
    """The URL of a gateway on loopback."""
    server = api.server()
    try:
        yield f"http://127.0.0.1:{await server.listen('127.0.0.1', 0)}"
    finally:
        await server.close(0.1)


@asynccontextmanager
async def emulated(kind: str, *flags: str) -> AsyncIterator[Engine]:
    """An emulated engine of 1 ms a token."""
    timing = ("--a0-milliseconds", "1", "--a1-milliseconds", "0")
    options = parse(["tiny", "--dialect", kind, "--plan-field", PLAN, *timing, *flags])
    server, engine = SERVERS[kind](options), Engine(kind)
    steps = asyncio.create_task(server.engine.run())
    app = server.application()
    app.middlewares.insert(0, engine.fail)
    try:
        async with served(app) as engine.url:
            yield engine
    finally:
        steps.cancel()


@dataclass
class Front:
    """A gateway, and a client of it."""

    gateway: Gateway
    upstream: Upstream
    url: str
    session: aiohttp.ClientSession

    async def ask(self, path: str = "/v1/chat/completions", **body: Any) -> tuple[Any, Any]:
        """Headers and body of a whole answer."""
        async with self.session.post(self.url + path, json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return response.headers, answer


@asynccontextmanager
async def front_of(
    engine: Engine, names: Sequence[str] = "a", patience: Patience = USUAL, **config: Any
) -> AsyncIterator[Front]:
    """A gateway before an engine, which is there under each of these names."""
    gateway, upstream = Gateway("g"), Upstream()
    api = Api(gateway, upstream, patience)
    fields = {"service": "n/s", "model": "tiny", "seats_per_replica": 8, **config}
    gateway.configure(GatewayConfig(engine=NAMES[engine.kind], **fields))
    gateway.locate([Replica(name=name, url=engine.url, ready=True) for name in names])
    try:
        async with serving(api) as url, aiohttp.ClientSession() as session:
            yield Front(gateway, upstream, url, session)
    finally:
        await upstream.close()


def chat(thinks: int, answers: int, **extra: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": "hello"}],
        PLAN: {"thinking_tokens": thinks, "answer_tokens": answers},
        **extra,
    }


def thought(answer: Any) -> int:
    return int(answer["usage"]["completion_tokens_details"]["reasoning_tokens"])
