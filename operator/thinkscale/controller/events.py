"""Kubernetes events: what happened, for whoever runs `kubectl describe`.

Written to be few: the same words about the same object are said once in ten minutes. Failing to
write one never fails a tick.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal

from thinkscale.api import names
from thinkscale.api.v1alpha1 import ObjectMeta
from thinkscale.errors import ApiError
from thinkscale.kube.client import KubeClient
from thinkscale.kube.resources import EVENTS

logger = logging.getLogger(__name__)

SILENCE_SECONDS: Final = 600.0
REMEMBERED: Final = 2000
NOTE_LIMIT: Final = 1024


class EventPoster:
    """Posts events about ReasoningServices."""

    def __init__(self, kube: KubeClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._clock = clock
        self._said: dict[tuple[str, str, str], float] = {}

    async def post(
        self,
        about: ObjectMeta,
        reason: str,
        message: str,
        *,
        kind: Literal["Normal", "Warning"] = "Normal",
    ) -> None:
        """Say it, unless it was said a moment ago."""
        said = (about.uid, reason, message)
        now = self._clock()
        if now - self._said.get(said, now - SILENCE_SECONDS) < SILENCE_SECONDS:
            return
        self._said.pop(said, None)  # the order of insertion is the order of age
        self._said[said] = now
        while len(self._said) > REMEMBERED:
            del self._said[next(iter(self._said))]
        try:
            await self._kube.create(EVENTS, _event(about, reason, message, kind))
        except ApiError as error:
            logger.warning("Could not post event", extra={"reason": reason, "error": str(error)})


def _event(about: ObjectMeta, reason: str, message: str, kind: str) -> dict[str, object]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{about.name}.", "namespace": about.namespace},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": about.name,
            "namespace": about.namespace,
            "uid": about.uid,
        },
        "type": kind,
        "reason": reason,
        "message": message[:NOTE_LIMIT],
        "source": {"component": names.FIELD_MANAGER},
        "reportingComponent": names.FIELD_MANAGER,
        "reportingInstance": "",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
