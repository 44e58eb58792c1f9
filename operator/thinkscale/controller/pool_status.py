"""The status of a GPU pool: what its members hold, may hold and would hold, and whether the limit
is in anybody's way. Written when it has changed, a moment after, since members come one by one.
"""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final

from thinkscale.api import conditions, names
from thinkscale.api.conditions import ConditionReason
from thinkscale.api.pool import MOST_MEMBERS, GPUPoolStatus, MemberStatus
from thinkscale.controller.metrics import Metrics
from thinkscale.controller.pools import Pools, Shared
from thinkscale.errors import ApiConflict, ApiError, ApiNotFound
from thinkscale.kube.client import KubeClient
from thinkscale.kube.resources import GPU_POOLS

logger = logging.getLogger(__name__)

LIMITING: Final = "Limiting"
SETTLE_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 10.0
NAMED: Final = 5
"""Members that a message names."""


class PoolReporter:
    """Writes the status of the pools."""

    def __init__(self, kube: KubeClient, pools: Pools, metrics: Metrics) -> None:
        self._kube = kube
        self._pools = pools
        self._metrics = metrics
        self._divided = asyncio.Event()
        self._told: dict[str, GPUPoolStatus] = {}
        """By uid."""
        pools.on_divided = self._divided.set

    async def run(self) -> None:
        """Write what has changed until cancelled."""
        while True:
            await self._divided.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._divided.clear()
            try:
                await self.tell()
            except ApiError as error:
                logger.warning(
                    "Could not write the status of a GPUPool", extra={"error": str(error)}
                )
                self._divided.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def tell(self) -> None:
        """Write the status of every pool whose division is another than was told."""
        now = datetime.now(UTC).replace(microsecond=0)
        divided = self._pools.all_shared()
        uids = {shared.pool.metadata.uid for shared in divided}
        self._told = {uid: told for uid, told in self._told.items() if uid in uids}
        for shared in divided:
            metadata = shared.pool.metadata
            before = self._told.get(metadata.uid, shared.pool.status)
            after = status_of(shared, before, now)
            if after == before:
                continue
            try:
                await self._kube.apply(
                    GPU_POOLS,
                    {
                        "apiVersion": names.API_VERSION,
                        "kind": names.POOL_KIND,
                        "metadata": {"name": metadata.name, "uid": metadata.uid},
                        "status": after.model_dump(mode="json", by_alias=True, exclude_none=True),
                    },
                    subresource="status",
                )
            except (ApiNotFound, ApiConflict):
                continue  # it is gone, or is another by now
            self._metrics.wrote("PoolStatus")
            self._told[metadata.uid] = after


def status_of(shared: Shared, before: GPUPoolStatus, now: datetime) -> GPUPoolStatus:
    """The status of a pool that is divided like this."""
    generation = shared.pool.metadata.generation
    members = {key: _member(shared, key) for key in shared.members}
    limited = sorted(members, key=lambda key: (not shared.is_limited(key), key))
    status, reason, message = _limiting(shared)
    return GPUPoolStatus(
        observed_generation=generation,
        used=shared.used_gpus,
        granted=sum(member.granted for member in members.values()),
        wished=sum(member.wished for member in members.values()),
        member_count=len(members),
        members=tuple(members[key] for key in sorted(limited[:MOST_MEMBERS])),
        conditions=conditions.put(
            before.conditions, LIMITING, status, reason, message, generation=generation, now=now
        ),
    )


def _member(shared: Shared, key: str) -> MemberStatus:
    member = shared.members[key]
    namespace, _, name = key.partition("/")
    gpus = member.gpus_per_replica
    return MemberStatus(
        namespace=namespace,
        name=name,
        used=member.held_replicas * gpus,
        granted=shared.grants[key].now * gpus,
        wished=member.wished_replicas * gpus,
    )


def _limiting(shared: Shared) -> tuple[bool, str, str]:
    limit = shared.pool.spec.max_gpus
    limited = [key for key in shared.members if shared.is_limited(key)]
    if shared.used_gpus > limit:
        reason: str = ConditionReason.LIMIT_EXCEEDED
        return True, reason, f"{shared.used_gpus} GPUs are in use until replicas have drained."
    if not limited:
        return False, ConditionReason.WITHIN_LIMITS, "Every member has what it wishes."
    starved = [
        key for key in limited if shared.grants[key].share < shared.members[key].min_replicas
    ]
    reason = ConditionReason.MINIMUMS_EXCEED_LIMIT if starved else ConditionReason.LIMIT_REACHED
    words = [_short(shared, key) for key in limited[:NAMED]]
    more = f"; and {len(limited) - NAMED} more" if len(limited) > NAMED else ""
    return True, reason, "; ".join(words) + more + "."


def _short(shared: Shared, key: str) -> str:
    member = shared.members[key]
    least = f", at least {member.min_replicas}" if member.min_replicas else ""
    return f"{key} gets {shared.grants[key].now} of {member.wished_replicas} replicas{least}"
