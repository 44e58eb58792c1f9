"""The operator's own HTTP server: is it alive, may it be waited for, what does it count.

`/healthz` fails only for what a restart can mend: a tick that hangs, a watch that has heard nothing
for minutes while the API server answers others. An API server that is away is none of these.
"""

from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import generate_latest

from thinkscale.controller.metrics import Metrics

HUNG_TICK_SECONDS: Final = 180.0
SILENT_WATCH_SECONDS: Final = 600.0
"""Bookmarks come every minute, and a dead connection is given up after a minute and a half; an
outage of the API server shorter than this is waited out.
"""


class Admin:
    """Serves /healthz, /readyz and /metrics."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        synced: Callable[[], bool],
        quietest_watch_seconds: Callable[[], float],
        oldest_tick_seconds: Callable[[], float],
        services: Callable[[], int],
    ) -> None:
        self._metrics = metrics
        self._synced = synced
        self._quietest = quietest_watch_seconds
        self._oldest = oldest_tick_seconds
        self._services = services
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> None:
        """Listen on all addresses."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._serve_metrics)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=0.5
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, None, port).start()

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        hung = self._oldest()
        if hung > HUNG_TICK_SECONDS:
            return web.Response(status=500, text=f"a tick has been running for {hung:.0f} s\n")
        if self._synced() and (silent := self._quietest()) > SILENT_WATCH_SECONDS:
            return web.Response(status=500, text=f"a watch heard nothing for {silent:.0f} s\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if not self._synced():
            return web.Response(status=503, text="not everything was listed yet\n")
        return web.Response(text="ok\n")

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        self._metrics.services.set(self._services())
        if self._synced():
            self._metrics.watch_age_seconds.set(self._quietest())
        return web.Response(
            body=generate_latest(self._metrics.registry),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )
