"""Scrapes the engines for the operator: each ready replica's own load, every 2 s, sooner after a
jump.

The numbers are relayed with their age. An engine that does not answer keeps its last reading, which
grows old: the operator sees an old reading, never a zero.
"""

import asyncio
from typing import Final

import aiohttp

from thinkscale.engines import DIALECTS
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.routing import Replica
from thinkscale.gateway.upstream import Unreachable, Upstream

PERIOD_SECONDS: Final = 2.0
SOONEST_SECONDS: Final = 0.5


async def scrape_engines(gateway: Gateway, upstream: Upstream) -> None:
    """Scrape for ever."""
    while True:
        replicas = gateway.router.replicas
        upstream.tag_book.forget(tuple(upstream.tag_book.asked - replicas.keys()))
        await asyncio.gather(
            *(_scrape(gateway, upstream, replica) for replica in replicas.values() if replica.ready)
        )
        await asyncio.sleep(SOONEST_SECONDS)
        gateway.hurry.clear()
        try:
            async with asyncio.timeout(PERIOD_SECONDS - SOONEST_SECONDS):
                await gateway.hurry.wait()
        except TimeoutError:
            continue


async def _scrape(gateway: Gateway, upstream: Upstream, replica: Replica) -> None:
    try:
        page = await upstream.text(replica, "/metrics")
    except (*Unreachable, aiohttp.ClientError, UnicodeDecodeError):
        return
    config = gateway.config
    load = DIALECTS[config.engine].parse_load(page) if config else None
    if load is not None:
        gateway.scraped(replica.name, load)
