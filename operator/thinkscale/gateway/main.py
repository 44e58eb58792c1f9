"""`thinkscale gateway`: flags, wiring, and a graceful end.

On SIGTERM readiness goes off first; connections are still accepted for a moment, since the load
balancers in front take a while to hear of it; then the listeners close, and the process stays until
its last stream is finished or the pod's grace is over.
"""

import argparse
import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import uvloop
from aiohttp import web

from thinkscale.gateway.admin import Admin
from thinkscale.gateway.api import Api
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.patience import Patience
from thinkscale.gateway.scrape import scrape_engines
from thinkscale.gateway.sources import FileSource, Source
from thinkscale.gateway.supervise import supervise
from thinkscale.gateway.upstream import Upstream
from thinkscale.gateway.verify import RETRY_SECONDS

logger = logging.getLogger(__name__)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="thinkscale gateway", description="The gateway of one ReasoningService."
    )
    cluster = parser.add_argument_group("in a cluster")
    cluster.add_argument("--namespace", help="namespace of the ReasoningService")
    cluster.add_argument("--service", help="name of the ReasoningService")
    local = parser.add_argument_group("without a cluster")
    local.add_argument("--config-dir", type=Path, help="directory with config.json, directive.json")
    local.add_argument(
        "--replicas-file",
        type=Path,
        help='JSON list of {"name", "url", "ready"}, read when changed',
    )
    usual = Patience()
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="the API")
    parser.add_argument("--admin-port", type=int, default=9090, help="signals, metrics and probes")
    parser.add_argument(
        "--connect-timeout-seconds",
        type=float,
        default=usual.connect,
        help="search for a replica that takes the connection that ends a request",
    )
    parser.add_argument(
        "--idle-timeout-seconds",
        type=float,
        default=usual.idle,
        help="silence within a stream that ends it",
    )
    parser.add_argument(
        "--first-token-timeout-seconds",
        type=float,
        default=usual.first_token,
        help="silence before the first token that ends a request",
    )
    parser.add_argument(
        "--native-budget-retry-seconds",
        type=float,
        default=RETRY_SECONDS,
        help="after an engine broke its native thinking budget, one request tries it again",
    )
    parser.add_argument(
        "--drain-delay-seconds",
        type=float,
        default=2.0,
        help="after SIGTERM, new connections are accepted that long",
    )
    return parser


def _source(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Source:
    if options.config_dir is not None and options.replicas_file is not None:
        return FileSource(options.config_dir, options.replicas_file)
    if options.namespace is None or options.service is None:
        parser.error("give --namespace and --service, or --config-dir and --replicas-file")
    from thinkscale.gateway.kube_source import KubernetesSource  # costs memory, so only here

    return KubernetesSource(options.namespace, options.service)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    source = _source(parser, options)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    gc.freeze()
    uvloop.run(serve(options, source))
    return 0


async def serve(options: argparse.Namespace, source: Source) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    gateway = Gateway(
        socket.gethostname(), native_retry_seconds=options.native_budget_retry_seconds
    )
    upstream = Upstream()
    patience = Patience(
        connect=options.connect_timeout_seconds,
        first_token=options.first_token_timeout_seconds,
        idle=options.idle_timeout_seconds,
    )
    api = Api(gateway, upstream, patience)
    runners = [
        await _listen(api.application(), options.host, options.port),
        await _listen(Admin(gateway).application(), options.host, options.admin_port),
    ]
    logger.info("Serving port=%d admin_port=%d", options.port, options.admin_port)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(supervise("source", lambda: source.run(gateway))),
            group.create_task(supervise("watch", api.watch)),
            group.create_task(supervise("scrape", lambda: scrape_engines(gateway, upstream))),
        ]
        await stopping.wait()
        await _drain(gateway, runners[0], options.drain_delay_seconds)
        for task in tasks:
            task.cancel()
    for runner in runners:
        await runner.cleanup()
    await upstream.close()


async def _listen(app: web.Application, host: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=1024).start()
    return runner


async def _drain(gateway: Gateway, runner: web.AppRunner, delay_seconds: float) -> None:
    gateway.draining = True
    logger.info("Draining in_flight=%d", gateway.ledger.in_flight)
    await asyncio.sleep(delay_seconds)
    for site in tuple(runner.sites):
        await site.stop()
    await gateway.idle()
    gateway.release_polls()
