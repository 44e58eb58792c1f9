"""`thinkscale gateway`: wiring, and a graceful end.

On SIGTERM readiness goes off first; connections are still accepted for a moment, since the load
balancers in front take a while to hear of it; then the listeners close, and the process stays until
its last stream is finished or the pod's grace is over.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import uvloop
from aiohttp import web

from thinkscale.errors import ThinkscaleError
from thinkscale.gateway.admin import Admin
from thinkscale.gateway.api import Api
from thinkscale.gateway.canary import prove_replicas
from thinkscale.gateway.flags import Options, parse
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.http.server import HttpServer
from thinkscale.gateway.scrape import scrape_engines
from thinkscale.gateway.supervise import supervise
from thinkscale.gateway.upstream import Upstream

logger = logging.getLogger(__name__)


class CannotListen(ThinkscaleError):
    """A port is taken, or an address is not ours."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    options = parse(argv)
    gc.freeze()
    try:
        uvloop.run(serve(options))
    except CannotListen as error:
        print(f"thinkscale gateway: {error}", file=sys.stderr)
        return 1
    return 0


async def serve(options: Options) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    gateway = Gateway(socket.gethostname(), native_retry_seconds=options.native_retry_seconds)
    async with AsyncExitStack() as stack:
        upstream = Upstream()
        stack.push_async_callback(upstream.close)
        if options.tracing is not None:
            stack.callback(options.tracing.close)
        api = Api(gateway, upstream, options.patience, options.keys, options.tracing)
        admin = Admin(gateway)
        server = await _listen(stack, api, options.host, options.port)
        await _listen_for_admin(stack, admin.application(), options.host, options.admin_port)
        stack.push_async_callback(admin.last_word)
        logger.info("Serving port=%d admin_port=%d", options.port, options.admin_port)
        async with asyncio.TaskGroup() as group:
            works = _works(options, gateway, upstream, api)
            tasks = [group.create_task(supervise(name, work)) for name, work in works.items()]
            await stopping.wait()
            await _drain(gateway, server, options.drain_delay_seconds)
            for task in tasks:
                task.cancel()


def _works(
    options: Options, gateway: Gateway, upstream: Upstream, api: Api
) -> dict[str, Callable[[], Awaitable[None]]]:
    """What goes on in the background, by name."""
    works: dict[str, Callable[[], Awaitable[None]]] = {
        "source": lambda: options.source.run(gateway),
        "watch": api.watch,
        "scrape": lambda: scrape_engines(gateway, upstream),
        "canaries": lambda: prove_replicas(gateway, upstream),
    }
    if options.keys is not None:
        works["keys"] = options.keys.watch
    return works


async def _listen(stack: AsyncExitStack, api: Api, host: str, port: int) -> HttpServer:
    server = api.server()
    stack.push_async_callback(server.close)
    try:
        await server.listen(host, port)
    except OSError as error:
        raise CannotListen(f"cannot listen on {host}:{port}: {_reason(error)}") from None
    return server


async def _listen_for_admin(
    stack: AsyncExitStack, app: web.Application, host: str, port: int
) -> None:
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
    except OSError as error:
        raise CannotListen(f"cannot listen on {host}:{port}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


async def _drain(gateway: Gateway, server: HttpServer, delay_seconds: float) -> None:
    gateway.draining = True
    logger.info("Draining in_flight=%d", gateway.ledger.in_flight)
    await asyncio.sleep(delay_seconds)
    server.stop_listening()
    await gateway.idle()
    gateway.release_polls()
