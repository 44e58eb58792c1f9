"""A watch that survives everything: it lists, follows, and lists again whenever it lost its place.

Nothing ends it but its reader: expired versions (410), broken connections, outages of the API
server and refused credentials are all waited out, with jittered backoff and without limit, since a
watcher that gives up leaves a process that looks alive and sees nothing. Half-open connections are
found by silence: the API server sends a bookmark about every minute, so more than that without a
byte is a dead peer.

A kind that the API server does not know is waited for like an outage, unless it need not be
installed: then there are no objects of it until there are.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator
from typing import Final

import aiohttp

from thinkscale.errors import ApiError, ApiNotFound, ApiUnavailable
from thinkscale.kube.client import Changed, KubeClient, Listed, Object, query, said
from thinkscale.kube.resources import Resource

logger = logging.getLogger(__name__)

SERVER_TIMEOUT_SECONDS: Final = (240, 300)
"""A watch is renewed after a random time in this range, so that many do not come back at once."""
SILENCE_SECONDS: Final = 90.0
SHORTEST_SECONDS: Final = 1.0
UNDEFINED_SECONDS: Final = 10.0
"""Between two looks for a kind that the API server does not know."""
FIRST_BACKOFF_SECONDS: Final = 0.2
LAST_BACKOFF_SECONDS: Final = 10.0
GONE: Final = 410


class _Expired(Exception):
    """The version to follow from is no longer known: list again."""


class Watch:
    """One collection, followed. `heard` says when the API server last spoke."""

    def __init__(
        self,
        kube: KubeClient,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        may_be_undefined: bool = False,
    ) -> None:
        self._kube = kube
        self._resource = resource
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._may_be_undefined = may_be_undefined
        self._version: str | None = None
        self._failures = 0
        self.heard: float | None = None
        """Monotonic time of the last byte of sense (list, event or bookmark); None: never yet."""

    async def events(self) -> AsyncIterator[Listed | Changed]:
        """`Listed` first, and again after each loss of place; `Changed` in between. Never ends."""
        while True:
            try:
                if self._version is None:
                    listed = await self._list()
                    self._version = listed.resource_version
                    yield listed
                begun = time.monotonic()
                async for changed in self._follow(self._version):
                    yield changed
                # A server that ends watches as soon as they begin must not be asked in a busy loop.
                await asyncio.sleep(max(0.0, SHORTEST_SECONDS - (time.monotonic() - begun)))
            except _Expired:
                self._version = None
            except ApiNotFound as error:
                self._version = None
                if not self._may_be_undefined:
                    await self._back_off(error)
                    continue
                self._hear()
                yield Listed(items=(), resource_version="")
                await asyncio.sleep(UNDEFINED_SECONDS)
            except ApiError as error:
                if error.status == GONE:
                    self._version = None
                await self._back_off(error)

    async def _list(self) -> Listed:
        listed = await self._kube.list(
            self._resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        self._hear()
        return listed

    async def _follow(self, version: str) -> AsyncIterator[Changed]:
        """The changes after `version`, until the server ends the watch.

        Raises _Expired, and ApiError if the connection breaks.
        """
        seconds = random.randint(*SERVER_TIMEOUT_SECONDS)
        path = self._resource.path(self._namespace) + query(
            watch=True,
            allowWatchBookmarks=True,
            resourceVersion=version,
            timeoutSeconds=seconds,
            labelSelector=self._label_selector,
            fieldSelector=self._field_selector,
        )
        response = await self._kube.open(
            "GET",
            path,
            timeout=aiohttp.ClientTimeout(
                total=seconds + 30, sock_connect=5, sock_read=SILENCE_SECONDS
            ),
        )
        try:
            async for line in response.content:
                changed = self._read(line)
                if changed is not None:
                    yield changed
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"watch {path}: {said(error)}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ApiUnavailable(f"watch {path}: not an event: {error!r}") from error
        finally:
            response.close()

    def _read(self, line: bytes) -> Changed | None:
        """One line of the stream; None for a bookmark."""
        if not line.strip():
            return None
        event = json.loads(line)
        thing: Object = event["object"]
        if event["type"] == "ERROR":
            if thing.get("code") == GONE:
                raise _Expired
            raise ApiUnavailable(
                f"watch of {self._resource.plural}: {thing.get('message')}",
                status=int(thing.get("code") or 0),
            )
        self._hear()
        self._version = thing["metadata"]["resourceVersion"]
        if event["type"] == "BOOKMARK":
            return None
        return Changed(type=event["type"], object=thing)

    def _hear(self) -> None:
        self._failures = 0
        self.heard = time.monotonic()

    async def _back_off(self, error: ApiError) -> None:
        longest = min(LAST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** min(self._failures, 10))
        self._failures += 1
        logger.warning(
            "Watch failed, trying again",
            extra={"resource": self._resource.plural, "error": str(error)},
        )
        await asyncio.sleep(random.uniform(longest / 2, longest))
