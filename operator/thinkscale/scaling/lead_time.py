"""How long a new replica takes to become ready, learnt from those that did.

Kubernetes tells when a replica became ready last, not first: after a missed probe, the time since
its creation is no lead time. So only those teach that were seen before they were ever ready; who
knows nothing yet takes the quickest there is, since a missed probe only adds. The 16 that became
ready last are remembered by name, so that one replica is one sample.

What people are told, and what makes a replica stuck, is the 90th percentile; the law plans for the
mean, since what comes late for one replica comes early for the next. Before anything was learnt the
prior is the declared `startupSeconds`, clipped to five minutes: that field is a limit for giving
up, generous by nature.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from thinkscale.model.observation import ReplicaState, ReplicaView
from thinkscale.scaling.supply import in_state_seconds

KEPT: Final = 16
MOST_AWAITED: Final = 16
FIRST_STATE_SECONDS: Final = 10.0
"""Within which the node that runs a new replica first tells that it is not ready."""
QUANTILE: Final = 0.9
PRIOR_LONGEST_SECONDS: Final = 300.0
TICK_SECONDS: Final = 15.0
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
Awaited: TypeAlias = tuple[str, ...]
"""Names of replicas that were never ready."""


def still_awaited(before: Awaited, replicas: Iterable[ReplicaView]) -> Awaited:
    """Those of before that are not ready yet, and the new ones: what they are since they were
    created, but for ten seconds. At most 16, the youngest.
    """
    known = set(before)
    warming = sorted(
        (replica.age_seconds, replica.name)
        for replica in replicas
        if replica.state in (ReplicaState.WARMING, ReplicaState.STUCK)
        and (
            replica.name in known
            or replica.age_seconds - in_state_seconds(replica) <= FIRST_STATE_SECONDS
        )
    )
    return tuple(sorted(name for _, name in warming[:MOST_AWAITED]))


def observe(
    known: LeadTimes, awaited: Awaited, now: float, replicas: Iterable[ReplicaView]
) -> LeadTimes:
    """Add those of the awaited that became ready; the newest 16 are kept.

    The quickest of the others is taken only while nothing is known, and only if it was quicker than
    the longest prior: it can make the plan shorter, never longer.
    """
    ready = [
        Warmed(
            name=replica.name,
            ready_at=round(now - replica.age_seconds + replica.warmed_in_seconds, 3),
            seconds=replica.warmed_in_seconds,
        )
        for replica in replicas
        if replica.warmed_in_seconds is not None
    ]
    taught = {warmed.name for warmed in known}
    new = [w for w in ready if w.name in awaited and w.name not in taught]
    if not known and not new:
        quick = (w for w in ready if w.seconds <= PRIOR_LONGEST_SECONDS)
        new = sorted(quick, key=lambda w: (w.seconds, w.name))[:1]
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


def horizon_seconds(known: LeadTimes, startup_seconds: float) -> float:
    """How far ahead to look: the mean lead time and one tick.

    Of 17, 18, 20, 21 and 40 s: 23.2 + 15 = 38.2 s.
    """
    return mean_seconds(known, startup_seconds) + TICK_SECONDS


def mean_seconds(known: LeadTimes, startup_seconds: float) -> float:
    """Mean seconds from the order to the readiness of a replica."""
    if not known:
        return min(startup_seconds, PRIOR_LONGEST_SECONDS)
    return sum(warmed.seconds for warmed in known) / len(known)


def stuck_after_seconds(known: LeadTimes, startup_seconds: float) -> float:
    """A replica that warms longer than this is not supply: three lead times, once three replicas
    taught it; the declared limit otherwise.
    """
    if len(known) < ENOUGH_TO_JUDGE:
        return startup_seconds
    learnt = STUCK_AFTER_LEADS * lead_seconds(known, startup_seconds)
    return min(startup_seconds, max(STUCK_EARLIEST_SECONDS, learnt))
