"""`thinkscale operator`: flags, wiring, start and stop.

Order of start: credentials, admin port, watches, the loop once everything was listed, kopf.
Whatever ends first (the wait for SIGTERM, or a part that failed) ends all, at once: there is
nothing to hand over, a successor finds all it needs in the cluster.
"""

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import kopf
import uvloop

from thinkscale.controller import handlers, logs
from thinkscale.controller.admin import Admin
from thinkscale.controller.apply import Applier
from thinkscale.controller.events import EventPoster
from thinkscale.controller.execute import Executor
from thinkscale.controller.loop import Loop
from thinkscale.controller.metrics import Metrics
from thinkscale.controller.pool_status import PoolReporter
from thinkscale.controller.pool_watches import PoolWatches
from thinkscale.controller.pools import Pools
from thinkscale.controller.report import Reporter
from thinkscale.controller.schedule import Schedule
from thinkscale.controller.store import Store
from thinkscale.controller.tick import Ticker
from thinkscale.controller.watches import Watches
from thinkscale.errors import ApiError
from thinkscale.kube.client import KubeClient
from thinkscale.kube.resources import REASONING_SERVICES
from thinkscale.resources.gateway import GatewayImage
from thinkscale.signals.source import GatewaySource

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    image: GatewayImage
    namespaces: tuple[str, ...]
    """Empty: all of them."""
    admin_port: int


def parse(argv: Sequence[str]) -> Options:
    """The options, or exit with a usage message."""
    parser = argparse.ArgumentParser(prog="thinkscale operator", description=__doc__)
    parser.add_argument(
        "--image", required=True, metavar="REF", help="the product's image, for the gateways"
    )
    parser.add_argument(
        "--image-pull-policy",
        default="IfNotPresent",
        choices=("Always", "IfNotPresent", "Never"),
        help="of the gateways' pods (default: %(default)s)",
    )
    parser.add_argument(
        "--namespaces",
        default="",
        metavar="A,B",
        help="watch only these namespaces (default: all)",
    )
    parser.add_argument(
        "--admin-port",
        type=int,
        default=9090,
        help="/healthz, /readyz and /metrics (default: %(default)s)",
    )
    given = parser.parse_args(argv)
    return Options(
        image=GatewayImage(reference=given.image, pull_policy=given.image_pull_policy),
        namespaces=tuple(name for name in given.namespaces.split(",") if name),
        admin_port=given.admin_port,
    )


def main(argv: Sequence[str]) -> int:
    """Run until told to stop; returns the exit code."""
    options = parse(argv)
    logs.configure()
    try:
        uvloop.run(run(options))
    except ApiError as error:
        logger.error("Cannot start", extra={"error": str(error)})  # noqa: TRY400
        return 1
    return 0


async def run(options: Options) -> None:
    """The operator, from start to SIGTERM. Raises what a part failed with."""
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(KubeClient.from_environment())
        schedule = Schedule(asyncio.get_running_loop().time)
        source = await stack.enter_async_context(GatewaySource(schedule.want))
        store, metrics = Store(), Metrics()
        watches = Watches(kube, store, options.namespaces, schedule.want)
        pools = Pools(store, schedule.want)
        pool_watches = PoolWatches(kube, pools)
        applier = Applier(kube, store, metrics.wrote)
        ticker = Ticker(
            store,
            source,
            applier,
            Executor(kube, applier, options.image),
            Reporter(kube, EventPoster(kube), metrics),
            metrics,
            pools,
            watches.quietest_seconds,
        )
        loop = Loop(schedule, ticker, metrics)
        admin = Admin(
            metrics,
            synced=lambda: watches.synced() and pool_watches.synced(),
            quietest_watch_seconds=lambda: max(
                watches.quietest_seconds(), pool_watches.quietest_seconds()
            ),
            oldest_tick_seconds=loop.oldest_tick_seconds,
            services=lambda: sum(s.metadata is not None for s in store.services.values()),
        )
        await admin.start(options.admin_port)
        stack.push_async_callback(admin.stop)
        ready = asyncio.Event()
        await _until_first_ends(
            [
                *(
                    asyncio.create_task(follower)
                    for follower in (*watches.followers(), *pool_watches.followers())
                ),
                asyncio.create_task(_tick_when_synced(loop, watches, pool_watches)),
                asyncio.create_task(PoolReporter(kube, pools, metrics).run()),
                asyncio.create_task(_watch_resources(kube, store, schedule, options, ready)),
                asyncio.create_task(_told_to_stop(ready)),
            ]
        )
        logger.info("Stopped")


async def _tick_when_synced(loop: Loop, watches: Watches, pools: PoolWatches) -> None:
    """Before everything was listed, an object that is not in the store may well exist, and a limit
    that is not known may well hold.
    """
    await watches.all_listed()
    await pools.all_listed()
    logger.info("Started")
    await loop.run()


async def _watch_resources(
    kube: KubeClient, store: Store, schedule: Schedule, options: Options, ready: asyncio.Event
) -> None:
    """Kopf, once the resource's definition is there: without it, kopf would wait for nothing."""
    while True:
        try:
            await kube.list(
                REASONING_SERVICES, options.namespaces[0] if options.namespaces else None
            )
            break
        except ApiError as error:
            logger.warning("Waiting for the CustomResourceDefinition", extra={"error": str(error)})
            await asyncio.sleep(2)
    # NB: kopf asks for the user's name even where it peers with nobody, and the uid of a container
    # need not have one: without this the operator dies at its start.
    os.environ.setdefault("LOGNAME", "thinkscale")
    await kopf.operator(
        registry=handlers.registry(kube, store, schedule.want),
        settings=handlers.settings(),
        standalone=True,
        clusterwide=not options.namespaces,
        namespaces=options.namespaces,
        ready_flag=ready,
    )


async def _told_to_stop(kopf_is_ready: asyncio.Event) -> None:
    """Return on SIGTERM or SIGINT.

    NB: kopf, told by its own handlers, waits five seconds for every task in the process that it
    does not know. So ours replace them as soon as it has set them.
    """
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    waiting = asyncio.create_task(kopf_is_ready.wait())
    await asyncio.wait(
        [waiting, asyncio.create_task(told.wait())], return_when=asyncio.FIRST_COMPLETED
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()


async def _until_first_ends(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for the first to end, cancel the others; raises what it failed with."""
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    for task in done:
        task.result()
