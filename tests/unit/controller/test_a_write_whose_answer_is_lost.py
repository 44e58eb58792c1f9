"""One service ticked against an API server that can lose the answer of a write that it has made."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client.configuration import Configuration

from thinkscale.api import names
from thinkscale.controller.apply import Applier
from thinkscale.controller.events import EventPoster
from thinkscale.controller.execute import Executor
from thinkscale.controller.metrics import Metrics
from thinkscale.controller.pools import Pools
from thinkscale.controller.report import Reporter
from thinkscale.controller.store import Store
from thinkscale.controller.tick import Ticker
from thinkscale.errors import ApiUnavailable
from thinkscale.kube.client import KubeClient
from thinkscale.resources.gateway import GatewayImage
from thinkscale.signals.source import GatewaySource

KEY = "ns/r1"
DEPLOYMENT = "/apis/apps/v1/namespaces/ns/deployments/r1-model"


def resource(replicas: int, generation: int, *, mode: str = "Manual") -> dict[str, Any]:
    return {
        "metadata": {"name": "r1", "namespace": "ns", "uid": "u1", "generation": generation},
        "spec": {
            **({"replicas": replicas} if mode == "Manual" else {}),
            "model": {"uri": "hf://a/b"},
            "engine": {"image": "e:1", "contextTokens": 4096},
            "scaling": {"mode": mode, "maxReplicas": 9},
        },
    }


class Api:
    """Keeps what is applied, as far as a tick looks at it."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.events: list[str] = []
        self.loses = ""
        """Path of the write whose answer is lost."""
        self._version = 0
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            if request.path.endswith("/reasoningservices/r1"):
                return web.json_response(resource(0, 1))
            found = self.objects.get(request.path)
            return web.json_response(found or {}, status=200 if found else 404)
        body = await request.json()
        if request.method == "POST":
            self.events.append(body["reason"])
            return web.json_response(body)
        self._version += 1
        made = {"uid": request.path, "resourceVersion": str(self._version), "generation": 1}
        self.objects[request.path] = body | {"metadata": body["metadata"] | made}
        if request.path == self.loses:
            return web.json_response({"message": "too late"}, status=504)
        return web.json_response(self.objects[request.path])

    def replicas(self) -> int:
        return int(self.objects[DEPLOYMENT]["spec"]["replicas"])

    def edit(self, *, replicas: int, without_label: str = "") -> None:
        """Somebody changes the Deployment."""
        live, self._version = self.objects[DEPLOYMENT], self._version + 1
        metadata = live["metadata"] | {"resourceVersion": str(self._version)}
        metadata["labels"] = {k: v for k, v in metadata["labels"].items() if k != without_label}
        spec = live["spec"] | {"replicas": replicas}
        self.objects[DEPLOYMENT] = live | {"metadata": metadata, "spec": spec}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api()
    async with made.server:
        yield made


class Process:
    """The ticking part of an operator, as it is when it has just started."""

    def __init__(self, kube: KubeClient, source: GatewaySource) -> None:
        self.store, metrics = Store(), Metrics()
        applier = Applier(kube, self.store, metrics.wrote)
        self.ticker = Ticker(
            self.store,
            source,
            applier,
            Executor(kube, applier, GatewayImage(reference="i:1", pull_policy="Never")),
            Reporter(kube, EventPoster(kube), metrics),
            metrics,
            Pools(self.store, lambda key: None),
            lambda: 0.0,
        )

    async def tick(self, spec: dict[str, Any]) -> None:
        self.store.put_resource(spec)
        await self.ticker.tick(KEY)


@pytest.fixture
async def start(api: Api) -> AsyncIterator[Callable[[], Process]]:
    configuration = Configuration(host=str(api.server.make_url("")).rstrip("/"))
    async with KubeClient(configuration) as kube, GatewaySource(lambda _: None) as source:
        yield lambda: Process(kube, source)


async def test_a_scaling_that_landed_without_an_answer_is_nobody_elses(
    api: Api, start: Callable[[], Process]
) -> None:
    process = start()
    await process.tick(resource(2, 1))
    assert api.replicas() == 2
    api.loses = DEPLOYMENT
    with pytest.raises(ApiUnavailable):
        await process.tick(resource(3, 2))
    process.store.put(api.objects[DEPLOYMENT])  # the watch tells of it
    api.loses = ""
    await process.tick(resource(3, 2))
    assert (api.replicas(), "ReplicasRestated" in api.events) == (3, False)


async def test_a_scaling_by_somebody_else_is_undone_and_told(
    api: Api, start: Callable[[], Process]
) -> None:
    process = start()
    await process.tick(resource(2, 1))
    api.edit(replicas=7)
    process.store.put(api.objects[DEPLOYMENT])
    await process.tick(resource(2, 1))
    assert (api.replicas(), "ReplicasRestated" in api.events) == (2, True)


async def test_a_new_process_finds_the_fleet_whose_label_somebody_took_off(
    api: Api, start: Callable[[], Process]
) -> None:
    await start().tick(resource(1, 1, mode="Auto"))
    api.edit(replicas=5, without_label=names.MANAGED_BY_LABEL)
    pin = api.objects[DEPLOYMENT]["metadata"]["annotations"]
    await start().tick(resource(1, 1, mode="Auto"))
    found = api.objects[DEPLOYMENT]["metadata"]
    assert names.MANAGED_BY_LABEL in found["labels"]
    assert (api.replicas(), found["annotations"]) == (5, pin)
