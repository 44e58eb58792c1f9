"""Tells people: writes the status when it means something new, and posts events about it.

A condition, a replica or a decision is written at once; numbers that have moved far, every two
seconds at most; the rest is refreshed twice a minute. The caller is told when to come back.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from thinkscale.api import names
from thinkscale.api.status import LastDecision, ReasoningServiceStatus
from thinkscale.api.v1alpha1 import ObjectMeta
from thinkscale.controller.events import EventPoster
from thinkscale.controller.metrics import Metrics
from thinkscale.controller.status import has_moved, is_urgent
from thinkscale.controller.trouble import Trouble
from thinkscale.errors import ApiConflict, ApiNotFound
from thinkscale.kube.client import KubeClient
from thinkscale.kube.resources import REASONING_SERVICES
from thinkscale.model.decision import Decision

STATUS_EVERY_SECONDS: Final = 2.0
REFRESH_SECONDS: Final = 30.0
"""Numbers that moved a little, and the numbers in messages."""


@dataclass(slots=True, kw_only=True)
class _Told:
    status: ReasoningServiceStatus
    at: float
    troubles: frozenset[tuple[str, str]]
    """Keys of those that are known already."""


class Reporter:
    """Status and events of all services."""

    def __init__(
        self,
        kube: KubeClient,
        poster: EventPoster,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._poster = poster
        self._metrics = metrics
        self._clock = clock
        self._told: dict[str, _Told] = {}

    async def tell(
        self,
        about: ObjectMeta,
        troubles: Sequence[Trouble],
        make: Callable[[ReasoningServiceStatus], ReasoningServiceStatus],
        stored: ReasoningServiceStatus,
    ) -> float:
        """Write the status that `make` makes of the last one, if it is worth it. Returns the
        seconds after which a status that was held back may be written (infinite: none was).
        """
        told = self._told.get(about.uid)
        if told is None:
            known = frozenset(t.key for t in troubles if t.told_by(stored.conditions))
            told = _Told(status=stored, at=-REFRESH_SECONDS, troubles=known)
            self._told[about.uid] = told
        after = make(told.status)
        await self._warn(about, told, troubles)
        if after == told.status:
            return float("inf")
        now = self._clock()
        if not is_urgent(told.status, after):
            moved = has_moved(told.status, after)
            rest = told.at - now + (STATUS_EVERY_SECONDS if moved else REFRESH_SECONDS)
            if rest > 0:
                return rest
        try:
            await self._kube.apply(
                REASONING_SERVICES, _manifest(about, after), subresource="status"
            )
        except (ApiNotFound, ApiConflict):
            return float("inf")  # the resource is gone, or is another by now
        self._metrics.wrote("Status")
        told.status, told.at = after, now
        return float("inf")

    async def announce(
        self, about: ObjectMeta, decision: Decision, scaled: LastDecision | None, rolled: bool
    ) -> None:
        """Post what this tick changed."""
        if scaled is not None:
            await self._poster.post(
                about,
                decision.reason.value,
                f"Scaled from {scaled.from_} to {scaled.to} replicas: {decision.message} "
                f"(decision {decision.id})",
            )
        if rolled:
            await self._poster.post(
                about, "Rolling", "Model or engine changed: the model pods roll to a new revision."
            )

    async def overridden(self, about: ObjectMeta, found: int, stated: int) -> None:
        """Somebody else set the Deployment's replicas."""
        await self._poster.post(
            about,
            "ReplicasRestated",
            f"Somebody set the model Deployment to {found} replicas; it is {stated} again. "
            f"In scaling mode Manual, spec.replicas of the ReasoningService is yours.",
            kind="Warning",
        )

    async def _warn(self, about: ObjectMeta, told: _Told, troubles: Sequence[Trouble]) -> None:
        """Trouble is an event when it is new; its message alone may change without one."""
        before, told.troubles = told.troubles, frozenset(t.key for t in troubles)
        for trouble in troubles:
            if trouble.key not in before:
                await self._poster.post(about, trouble.reason, trouble.message, kind="Warning")

    def forget(self, uid: str) -> None:
        """The resource is gone."""
        self._told.pop(uid, None)


def _manifest(about: ObjectMeta, status: ReasoningServiceStatus) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        # NB: the uid is a precondition: never the status of one resource on another of its name.
        "metadata": {"name": about.name, "namespace": about.namespace, "uid": about.uid},
        "status": status.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
