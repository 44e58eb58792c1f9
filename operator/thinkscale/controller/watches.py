"""Watches of the owned kinds and of the pods, straight into the store.

They are selected by our label, cluster-wide or by namespace. The resources themselves come through
kopf (`handlers`); these do not, because an event through kopf costs a task and a copy of the object
per owned object, and nothing here needs more than the newest state.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from thinkscale.api import names
from thinkscale.controller.store import Store
from thinkscale.kube.client import KubeClient, Listed
from thinkscale.kube.resources import OWNED, PODS, Resource
from thinkscale.kube.watching import Watch

LABEL: Final = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"


class Watches:
    """All watches of the operator but kopf's."""

    def __init__(
        self,
        kube: KubeClient,
        store: Store,
        namespaces: Sequence[str],
        on_change: Callable[[str], None],
    ) -> None:
        self._store = store
        self._on_change = on_change
        scopes: Sequence[str | None] = namespaces or (None,)
        self._synced = asyncio.Event()
        self._watches: list[tuple[Resource, str | None, Watch]] = [
            (resource, scope, Watch(kube, resource, scope, label_selector=LABEL))
            for resource in (*OWNED, PODS)
            for scope in scopes
        ]

    def followers(self) -> list[Coroutine[Any, Any, None]]:
        """One coroutine for each watch, to run until cancelled."""
        return [self._follow(*watch) for watch in self._watches]

    async def all_listed(self) -> None:
        """Return once everything was listed."""
        await self._synced.wait()

    def synced(self) -> bool:
        """Everything was listed at least once: what is not in the store is not there."""
        return self._synced.is_set()

    def quietest_seconds(self) -> float:
        """How long the quietest watch has not heard of the API server (bookmarks count)."""
        now = time.monotonic()
        return max(now - (watch.heard or 0.0) for _, _, watch in self._watches)

    async def _follow(self, resource: Resource, scope: str | None, watch: Watch) -> None:
        async for happened in watch.events():
            if isinstance(happened, Listed):
                for key in self._store.replace(resource, scope, happened.items):
                    self._on_change(key)
                if all(other.heard is not None for _, _, other in self._watches):
                    self._synced.set()
                continue
            gone = happened.type == "DELETED"
            manifest = happened.object
            changed = self._store.drop(manifest) if gone else self._store.put(manifest)
            if changed is not None:
                self._on_change(changed)
