"""Which replicas leave when fewer are wanted: cordon first, remove when idle.

A cordoned replica gets no new request and finishes what it has; taking the cordon off is free and
at once. Victims are those with the least expected work left, then the youngest. A victim is idle
when every gateway has nothing at it *and* its engine, asked after the cordon had time to arrive,
says that it has nothing: requests in transit land within three seconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from thinkscale.model.observation import MergedSignals, ReplicaView
from thinkscale.model.signals import ReplicaSignals
from thinkscale.scaling.evidence import Evidence, Trust

TRANSIT_SECONDS: Final = 3.0
ENGINE_FRESH_SECONDS: Final = 15.0
MOST_VICTIMS: Final = 32
"""At a time; bounds the directive and the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """The cordon, and those of it that are idle, the emptiest first."""

    cordon: Mapping[str, float]
    """Name, and since when (Unix seconds)."""
    idle: tuple[str, ...]


def choose(
    ready: Iterable[ReplicaView],
    known: Mapping[str, float],
    surplus: int,
    evidence: Evidence,
    now: float,
) -> Leaving:
    """The replicas to cordon when `surplus` ready ones are too many.

    Old victims stay victims as long as the surplus lasts; of too many, those with the most work go
    back to serving. New ones are picked only by complete and fresh signals. Whoever is no longer
    ready is forgotten.
    """
    fresh = evidence.trust is Trust.FRESH
    signals = evidence.signals
    candidates = sorted(ready, key=lambda replica: _work(replica, signals))
    surplus = min(max(0, surplus), MOST_VICTIMS)
    chosen = [replica for replica in candidates if replica.name in known][:surplus]
    if fresh:
        others = (replica for replica in candidates if replica.name not in known)
        for replica, _ in zip(others, range(surplus - len(chosen)), strict=False):
            chosen.append(replica)
    cordon = {replica.name: known.get(replica.name, now) for replica in chosen}
    idle = tuple(
        name
        for name, since in cordon.items()
        if fresh
        and signals is not None
        and _is_idle(signals.replicas.get(name), since, evidence, now)
    )
    return Leaving(cordon=cordon, idle=idle)


def _work(replica: ReplicaView, signals: MergedSignals | None) -> tuple[int, int, float, str]:
    """Sorts by the work left, then the requests, then the age, then the name."""
    seen = signals.replicas.get(replica.name) if signals else None
    if seen is None:
        return (0, 0, replica.age_seconds, replica.name)
    return (seen.remaining_tokens, seen.phases.in_flight, replica.age_seconds, replica.name)


def _is_idle(replica: ReplicaSignals | None, since: float, evidence: Evidence, now: float) -> bool:
    """Nothing at the gateways, nothing in the engine, both seen after the cordon had arrived."""
    if replica is None or replica.engine is None or not replica.cordoned:
        return False
    if replica.phases.in_flight > 0 or replica.engine.running + replica.engine.waiting > 0:
        return False
    age = evidence.age_seconds + replica.engine.age_seconds
    return age <= ENGINE_FRESH_SECONDS and now - age >= since + TRANSIT_SECONDS
