"""The cluster as a source: the ConfigMap `NAME-runtime` by name, and the EndpointSlices of the
model servers' Service.

A replica is an endpoint; its name is the pod's. Ready means ready and not terminating. Losing the
API server changes nothing for the requests: the watch comes back by itself, and until then the
gateway serves with what it knows.
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any, Final

from thinkscale.api.names import CONFIG_KEY, DIRECTIVE_KEY, MODEL_PORT, model_name, runtime_name
from thinkscale.gateway.routing import Replica
from thinkscale.gateway.sources import Runtime, Sink
from thinkscale.kube.client import Changed, KubeClient, Listed
from thinkscale.kube.resources import CONFIG_MAPS, ENDPOINT_SLICES

SLICE_SERVICE_LABEL: Final = "kubernetes.io/service-name"


class KubernetesSource:
    """Watches what one gateway needs, and nothing else (its Role allows no more)."""

    def __init__(self, namespace: str, service: str) -> None:
        self._namespace = namespace
        self._service = service

    async def run(self, sink: Sink) -> None:
        """Watch for ever."""
        async with KubeClient.from_environment() as kube, asyncio.TaskGroup() as group:
            group.create_task(self._watch_runtime(kube, sink))
            group.create_task(self._watch_replicas(kube, sink))

    async def _watch_runtime(self, kube: KubeClient, sink: Sink) -> None:
        runtime = Runtime(sink)
        name = runtime_name(self._service)
        events = kube.watch(CONFIG_MAPS, self._namespace, field_selector=f"metadata.name={name}")
        async for event in events:
            for item in _present(event):
                data = item.get("data") or {}
                runtime.update(data.get(CONFIG_KEY), data.get(DIRECTIVE_KEY))

    async def _watch_replicas(self, kube: KubeClient, sink: Sink) -> None:
        slices: dict[str, dict[str, Any]] = {}
        selector = f"{SLICE_SERVICE_LABEL}={model_name(self._service)}"
        events = kube.watch(ENDPOINT_SLICES, self._namespace, label_selector=selector)
        async for event in events:
            match event:
                case Listed(items=items):
                    slices = {item["metadata"]["name"]: item for item in items}
                case Changed(type="DELETED", object=item):
                    slices.pop(item["metadata"]["name"], None)
                case Changed(object=item):
                    slices[item["metadata"]["name"]] = item
            sink.locate(replicas_of(slices.values()))


def _present(event: Listed | Changed) -> Iterator[dict[str, Any]]:
    match event:
        case Listed(items=items):
            yield from items
        case Changed(type="ADDED" | "MODIFIED", object=item):
            yield item


def replicas_of(slices: Iterable[dict[str, Any]]) -> list[Replica]:
    """The replicas that these EndpointSlices tell of. During a move an endpoint may be in two
    slices; it is ready if either says so.
    """
    replicas: dict[str, Replica] = {}
    for item in slices:
        for endpoint in item.get("endpoints") or ():
            replica = _replica_of(endpoint, item.get("addressType") == "IPv6")
            if replica is None:
                continue
            known = replicas.get(replica.name)
            if known is None or replica.ready:
                replicas[replica.name] = replica
    return list(replicas.values())


def _replica_of(endpoint: dict[str, Any], is_v6: bool) -> Replica | None:
    addresses = endpoint.get("addresses") or ()
    if not addresses:
        return None
    conditions = endpoint.get("conditions") or {}
    host = f"[{addresses[0]}]" if is_v6 else addresses[0]
    return Replica(
        name=(endpoint.get("targetRef") or {}).get("name") or addresses[0],
        url=f"http://{host}:{MODEL_PORT}",
        ready=conditions.get("ready") is not False and not conditions.get("terminating"),
    )
