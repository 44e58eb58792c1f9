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
    waits: Mapping[str, str]
    """Of the others: name, and what keeps it, in words."""


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
    waits = {name: _waits_for(name, since, evidence, now) for name, since in cordon.items()}
    return Leaving(
        cordon=cordon,
        idle=tuple(name for name, words in waits.items() if not words),
        waits={name: words for name, words in waits.items() if words},
    )


def at_work(name: str, evidence: Evidence) -> bool:
    """Whether the signals show a request at this replica, be it ready or not."""
    seen = evidence.signals.replicas.get(name) if evidence.signals else None
    if seen is None:
        return False
    if seen.phases.in_flight > 0:
        return True
    engine, age = seen.engine, evidence.age_seconds
    if engine is None or age + engine.age_seconds > ENGINE_FRESH_SECONDS:
        return False
    return engine.running + engine.waiting > 0


def _work(replica: ReplicaView, signals: MergedSignals | None) -> tuple[int, int, float, str]:
    """Sorts by the work left, then the requests, then the age, then the name."""
    seen = signals.replicas.get(replica.name) if signals else None
    if seen is None:
        return (0, 0, replica.age_seconds, replica.name)
    return (seen.remaining_tokens, seen.phases.in_flight, replica.age_seconds, replica.name)


def _waits_for(name: str, since: float, evidence: Evidence, now: float) -> str:
    """What keeps a victim; nothing when it has no request at the gateways and none in the engine,
    both seen after the cordon had arrived.
    """
    signals = evidence.signals
    if evidence.trust is not Trust.FRESH or signals is None:
        return "the signals are not complete and fresh"
    seen = signals.replicas.get(name)
    if seen is None:
        return "no gateway tells of it"
    if seen.phases.in_flight > 0:
        return f"{seen.phases.in_flight} in flight"
    if not seen.cordoned:
        return "its cordon is not confirmed"
    if seen.engine is None:
        return "its engine does not tell its load"
    if seen.engine.running + seen.engine.waiting > 0:
        return f"{seen.engine.running + seen.engine.waiting} in its engine"
    age = evidence.age_seconds + seen.engine.age_seconds
    if age > ENGINE_FRESH_SECONDS:
        return f"its engine was last heard {age:.0f} s ago"
    return "" if now - age >= since + TRANSIT_SECONDS else "requests may be on their way to it"
