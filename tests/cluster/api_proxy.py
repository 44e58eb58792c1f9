"""A proxy in front of the real API server that pulls the plug after the n-th write.

The write has happened, its answer is withheld, and the client is told to be dead: to the cluster
this is a crash between two writes.
"""

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from tests.cluster.operator_kit import free_port

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class ApiProxy:
    """Forwards everything; `on_write(count)` is called after each write that the server accepted,
    before its answer is passed on.
    """

    def __init__(self, kubeconfig: Path, directory: Path, *, port: int = 0) -> None:
        cluster = yaml.safe_load(kubeconfig.read_text())
        self._server = cluster["clusters"][0]["cluster"]["server"]
        self._tls = _tls(cluster, directory)
        self.writes = 0
        self.log: list[str] = []
        self.on_write: Callable[[int], None] = lambda count: None
        self.port = port or free_port()
        self.kubeconfig = directory / "proxied.kubeconfig"
        self.kubeconfig.write_text(json.dumps(_kubeconfig(self.port)))
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "ApiProxy":
        self._thread.start()
        assert self._started.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._forward)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._session = self._loop.run_until_complete(self._connect())
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", self.port).start())
        self._started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.run_until_complete(self._session.close())
        self._loop.run_until_complete(asyncio.sleep(0.1))

    async def _connect(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        return aiohttp.ClientSession(connector=connector, auto_decompress=False)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        hops = ("host", "connection", "content-length", "transfer-encoding", "accept-encoding")
        headers = {k: v for k, v in request.headers.items() if k.lower() not in hops}
        async with self._session.request(
            request.method,
            self._server + request.path_qs,
            headers=headers,
            data=await request.read() or None,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            if request.method in WRITES and answer.status < 300:
                self.writes += 1
                self.log.append(f"{request.method} {request.path}")
                self.on_write(self.writes)
            made = web.StreamResponse(status=answer.status)
            made.content_type = answer.content_type
            await made.prepare(request)
            async for chunk in answer.content.iter_any():
                await made.write(chunk)
            await made.write_eof()
            return made


def _tls(config: dict[str, Any], directory: Path) -> ssl.SSLContext:
    """Trust and client certificate of a kubeconfig that holds them itself."""
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]

    def written(data: str, name: str) -> str:
        path = directory / name
        path.write_bytes(base64.b64decode(data))
        return str(path)

    context = ssl.create_default_context(
        cafile=written(cluster["certificate-authority-data"], "ca.crt")
    )
    context.load_cert_chain(
        written(user["client-certificate-data"], "client.crt"),
        written(user["client-key-data"], "client.key"),
    )
    return context


def _kubeconfig(port: int) -> dict[str, Any]:
    cluster = {"server": f"http://127.0.0.1:{port}"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxied", "cluster": cluster}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "proxied", "context": {"cluster": "proxied", "user": "nobody"}}],
        "current-context": "proxied",
    }
