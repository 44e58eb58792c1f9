"""The admin port: `/signals` for the operator, `/metrics`, `/healthz`, `/readyz`. Never for
clients.

A poll of `/signals` that has nothing new to tell is answered after `wait` all the same: silence
must never look like no load. A gateway that goes waits for the next poll of who follows it, for the
outcome of its last requests would be in nobody's books.
"""

import asyncio
import contextlib
from typing import Final

from aiohttp import web

from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.metrics import exposition
from thinkscale.gateway.signals import signals_of

MAX_WAIT_SECONDS: Final = 30.0
FOLLOWED_SECONDS: Final = 10.0
"""Who asked within so long, and was ready to wait, asks again."""
LAST_WORD_SECONDS: Final = 1.0
"""Its polls are a fifth of a second apart."""


class Admin:
    """The handlers."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._followed_at = float("-inf")
        self._told_changes = -1
        self._told = asyncio.Event()

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application()
        app.router.add_get("/signals", self._signals)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        return app

    async def _signals(self, request: web.Request) -> web.Response:
        try:
            since = int(request.query.get("since", "-1"))
            wait = min(MAX_WAIT_SECONDS, float(request.query.get("wait", "0")))
        except ValueError:
            return web.Response(status=400, text="since and wait must be numbers\n")
        if wait > 0:
            await self._gateway.changed_since(since, wait)
            self._followed_at = self._gateway.clock()
            self._told_changes = self._gateway.ledger.changes
            self._told.set()
        body = signals_of(self._gateway).model_dump_json(by_alias=True)
        return web.Response(text=body, content_type="application/json")

    async def last_word(self) -> None:
        """Return when who follows the gateway knows all that it has counted, or does not ask."""
        gateway = self._gateway
        if gateway.clock() - self._followed_at > FOLLOWED_SECONDS:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD_SECONDS):
                while self._told_changes != gateway.ledger.changes:
                    self._told.clear()
                    await self._told.wait()

    async def _metrics(self, _: web.Request) -> web.Response:
        body, content_type = exposition(self._gateway)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        unready = self._gateway.unready
        return web.Response(status=503 if unready else 200, text=f"{unready or 'ok'}\n")
