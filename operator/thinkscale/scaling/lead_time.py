"""How long a new replica takes to become ready, learnt from those that did.

The 16 that became ready last are remembered by name, so that one replica is one sample however
often it is seen. Planning uses the 90th percentile: a replica that comes late is a miss, one that
comes early costs little. Before anything was learnt the prior is the declared `startupSeconds`,
clipped to five minutes: that field is a limit for giving up, generous by nature.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from thinkscale.model.observation import ReplicaView

KEPT: Final = 16
QUANTILE: Final = 0.9
PRIOR_LONGEST_SECONDS: Final = 300.0
ENOUGH_TO_JUDGE: Final = 3
STUCK_AFTER_LEADS: Final = 3.0
STUCK_EARLIEST_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmed:
    """One replica that became ready."""

    name: str
    ready_at: float
    seconds: float


LeadTimes: TypeAlias = tuple[Warmed, ...]


def observe(known: LeadTimes, now: float, replicas: Iterable[ReplicaView]) -> LeadTimes:
    """Add the replicas that became ready; the newest 16 are kept."""
    names = {warmed.name for warmed in known}
    new = [
        Warmed(
            name=replica.name,
            ready_at=round(now - replica.age_seconds + replica.warmed_in_seconds, 3),
            seconds=replica.warmed_in_seconds,
        )
        for replica in replicas
        if replica.warmed_in_seconds is not None and replica.name not in names
    ]
    if not new:
        return known
    return tuple(sorted((*known, *new), key=lambda w: (w.ready_at, w.name))[-KEPT:])


def lead_seconds(known: LeadTimes, startup_seconds: float) -> float:
    """Seconds from the order to the readiness of a replica, 90th percentile (nearest rank).

    Of 17, 18, 20, 21 and 40 s it is the fifth (ceil(0.9·5) = 5): 40 s.
    """
    if not known:
        return min(startup_seconds, PRIOR_LONGEST_SECONDS)
    ordered = sorted(warmed.seconds for warmed in known)
    return ordered[math.ceil(QUANTILE * len(ordered)) - 1]


def stuck_after_seconds(known: LeadTimes, startup_seconds: float) -> float:
    """A replica that warms longer than this is not supply: three lead times, once three replicas
    taught it; the declared limit otherwise.
    """
    if len(known) < ENOUGH_TO_JUDGE:
        return startup_seconds
    learnt = STUCK_AFTER_LEADS * lead_seconds(known, startup_seconds)
    return min(startup_seconds, max(STUCK_EARLIEST_SECONDS, learnt))
