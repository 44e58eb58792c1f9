"""Everything about kopf: its settings, its login, and the one handler that marks a service dirty.

Kopf brings the watch of the resources with its ordering and start-up. It writes nothing: no
finalizer, no annotation, no event. Its defaults give up on an API server that is away for a minute;
these never do.
"""

import datetime
import logging
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import kopf

from thinkscale.api import names
from thinkscale.controller.store import Store
from thinkscale.kube.client import KubeClient

LOGIN_SECONDS: Final = 600
"""Credentials are read anew this often: tokens of pods rotate."""


class JitteredForever:
    """Pauses between attempts, without end; iterable again and again."""

    def __iter__(self) -> Iterator[float]:
        while True:
            yield random.uniform(1.0, 5.0)


def settings() -> kopf.OperatorSettings:
    """Kopf's settings, each for a reason told in the design notes."""
    made = kopf.OperatorSettings()
    made.networking.request_timeout = 30
    made.networking.connect_timeout = 5
    made.networking.error_backoffs = JitteredForever()
    made.watching.server_timeout = 290
    made.watching.client_timeout = 300
    made.watching.reconnect_backoff = 1.0
    made.watching.chunk_size = 500
    made.scanning.disabled = True
    made.peering.standalone = True
    made.posting.enabled = False
    made.posting.level = logging.WARNING
    made.execution.max_workers = 2
    made.process.ultimate_exiting_timeout = 20
    made.queueing.exit_timeout = 0.5
    made.queueing.idle_timeout = 1.0
    made.persistence.finalizer = f"{names.GROUP}/finalizer"
    made.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    made.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=names.GROUP)
    return made


def registry(
    kube: KubeClient, store: Store, on_change: Callable[[str], None]
) -> kopf.OperatorRegistry:
    """The registrations: a login, and `on.event` of our one kind."""
    made = kopf.OperatorRegistry()

    async def login(**_: Any) -> kopf.ConnectionInfo:
        known = await kube.credentials()
        return kopf.ConnectionInfo(
            server=known.server,
            ca_path=known.ca_path,
            ca_data=known.ca_data,
            certificate_path=known.certificate_path,
            private_key_path=known.private_key_path,
            scheme="Bearer" if known.token else None,
            token=known.token,
            insecure=known.insecure,
            expiration=datetime.datetime.now(datetime.UTC)
            + datetime.timedelta(seconds=LOGIN_SECONDS),
        )

    async def seen(event: Any, **_: Any) -> None:
        manifest = event["object"]
        if event["type"] == "DELETED":
            metadata = manifest["metadata"]
            key = f"{metadata['namespace']}/{metadata['name']}"
            store.drop_resource(key)
            on_change(key)
            return
        key, changed = store.put_resource(manifest)
        if changed:
            on_change(key)

    kopf.on.login(registry=made)(login)
    kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=made)(seen)
    return made
