"""The life of an emulated model server: start-up, serving, and an end like its dialect's.

The port is bound only when the start-up is over; until then connections are refused, there is no
phase of 503. vLLM's SIGTERM aborts what is in flight (the streams end with finish_reason `abort`)
unless `--shutdown-timeout` gives it time; while it drains, `/health` stays 200 and new requests get
500. TGI closes its port at once and finishes its streams within that time; SGLang finishes them
whatever it takes, and then kills itself.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

import uvloop
from aiohttp import web

from thinkscale.emulator.options import SGLANG, TGI, VLLM, Options, parse
from thinkscale.emulator.server import KEEP_ALIVE_SECONDS, Server
from thinkscale.emulator.sglang import SglangServer
from thinkscale.emulator.tgi import TgiServer

log = logging.getLogger("thinkscale.emulator")

_SERVERS: Final[dict[str, type[Server]]] = {
    VLLM: Server,
    TGI: TgiServer,
    SGLANG: SglangServer,
}
LAST_WORDS_SECONDS: Final = 2.0
"""How long ending streams may take to flush."""


def main(argv: Sequence[str]) -> int:
    """Run until a signal; returns the exit code."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    options = parse(argv)
    return uvloop.run(serve(options))


async def serve(options: Options) -> int:
    """Start up, serve, shut down."""
    stop = _stop_signals()
    log.info(
        "Starting engine model=%s revision=%s tensor_parallel=%d profile=%s seats=%d "
        "kv_tokens=%d startup_seconds=%.1f",
        options.served_name,
        options.revision,
        options.tensor_parallel,
        options.profile.name,
        options.profile.seats,
        options.profile.kv_tokens,
        options.profile.startup_seconds,
    )
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), options.profile.startup_seconds)
    if stop.is_set():
        return 0
    if options.quirks.fails_start:
        log.error("Engine core initialization failed")
        return 1
    server = _SERVERS[options.dialect](options)
    steps = asyncio.create_task(server.engine.run(), name="engine")
    steps.add_done_callback(_die_with_the_engine)
    runner = web.AppRunner(
        server.application(),
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        shutdown_timeout=LAST_WORDS_SECONDS,
    )
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port, backlog=2048)
    await site.start()
    log.info("Application startup complete host=%s port=%d", options.host, options.port)
    # What the start-up made stays: collections during a run must not walk it (10 ms each).
    gc.collect()
    gc.freeze()
    if options.quirks.crash_after_seconds is not None:
        asyncio.get_running_loop().call_later(options.quirks.crash_after_seconds, _crash)
    await stop.wait()
    await _shut_down(options, server, site)
    await runner.cleanup()
    steps.cancel()
    _log_lag(server)
    if server.kills_itself:
        os.kill(os.getpid(), signal.SIGKILL)
    return 0


def _stop_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _shut_down(options: Options, server: Server, site: web.TCPSite) -> None:
    """Drain if there is time for it, then abort (or hang, when asked to)."""
    server.shutting_down = True
    if server.closes_port_at_once:
        await site.stop()
    log.info("Shutting down in_flight=%d", server.engine.in_flight)
    patience = None if server.drains_without_limit else options.shutdown_timeout_seconds
    if patience is None or patience > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.engine.drained(), patience)
    if not server.closes_port_at_once:
        await site.stop()
    if options.quirks.hangs_on_terminate:
        server.engine.freeze()
        await server.engine.drained()
    server.engine.abort_all()
    await asyncio.sleep(0)


def _crash() -> None:
    log.critical("EngineCore encountered an issue")
    os._exit(1)


def _die_with_the_engine(task: "asyncio.Task[None]") -> None:
    """An engine that stops stepping would hang every client in silence."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("The engine loop died", exc_info=task.exception())
        os._exit(1)


def _log_lag(server: Server) -> None:
    lag = server.engine.lag
    log.info("Stopped steps=%d lag_p99_seconds=%.4f void=%s", lag.steps, lag.p99_seconds, lag.void)
