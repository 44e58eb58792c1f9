"""The admin port: `/signals` for the operator, `/metrics`, `/healthz`, `/readyz`. Never for
clients.

A poll of `/signals` that has nothing new to tell is answered after `wait` all the same: silence
must never look like no load.
"""

from typing import Final

from aiohttp import web

from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.metrics import exposition
from thinkscale.gateway.signals import signals_of

MAX_WAIT_SECONDS: Final = 30.0


class Admin:
    """The handlers."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

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
        body = signals_of(self._gateway).model_dump_json(by_alias=True)
        return web.Response(text=body, content_type="application/json")

    async def _metrics(self, _: web.Request) -> web.Response:
        body, content_type = exposition(self._gateway)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        unready = self._gateway.unready
        return web.Response(status=503 if unready else 200, text=f"{unready or 'ok'}\n")
