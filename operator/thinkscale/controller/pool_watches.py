"""Watches of what lies in no namespace: the GPU pools, and the namespaces that they select.

No service may act before both were listed: a limit that is not known yet is still a limit. An API
server without the kind GPUPool has no pools.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from thinkscale.controller.pools import Pools
from thinkscale.kube.client import KubeClient, Listed
from thinkscale.kube.resources import GPU_POOLS, NAMESPACES, Resource
from thinkscale.kube.watching import Watch


class PoolWatches:
    """Both watches."""

    def __init__(self, kube: KubeClient, pools: Pools) -> None:
        self._pools = pools
        self._synced = asyncio.Event()
        self._watches: Sequence[tuple[Resource, Watch]] = (
            (GPU_POOLS, Watch(kube, GPU_POOLS, may_be_undefined=True)),
            (NAMESPACES, Watch(kube, NAMESPACES)),
        )

    def followers(self) -> list[Coroutine[Any, Any, None]]:
        """One coroutine for each watch, to run until cancelled."""
        return [self._follow(*watch) for watch in self._watches]

    async def all_listed(self) -> None:
        """Return once both were listed."""
        await self._synced.wait()

    def synced(self) -> bool:
        """Both were listed at least once."""
        return self._synced.is_set()

    def quietest_seconds(self) -> float:
        """How long the quietest watch has not heard of the API server (bookmarks count)."""
        now = time.monotonic()
        return max(now - (watch.heard or 0.0) for _, watch in self._watches)

    async def _follow(self, resource: Resource, watch: Watch) -> None:
        async for happened in watch.events():
            if isinstance(happened, Listed):
                self._pools.replace(resource.kind, happened.items)
                if all(other.heard is not None for _, other in self._watches):
                    self._synced.set()
            elif happened.type == "DELETED":
                self._pools.drop(happened.object)
            else:
                self._pools.put(happened.object)
