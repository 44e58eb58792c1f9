"""The words for people: one reason and one sentence, from the facts that the numbers come from."""

from dataclasses import dataclass
from typing import Final

from thinkscale.model.decision import LimitedBy, Reason
from thinkscale.model.intent import Intent, Mode
from thinkscale.scaling.demand import Demand
from thinkscale.scaling.evidence import Evidence, Trust
from thinkscale.scaling.move import Move
from thinkscale.scaling.size import Size
from thinkscale.scaling.supply import Supply

AT_THE_TOP: Final = (LimitedBy.MAX_REPLICAS, LimitedBy.GPU_POOL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that was found and decided in one tick."""

    intent: Intent
    evidence: Evidence
    supply: Supply
    demand: Demand
    size: Size
    move: Move
    limited_by: LimitedBy


def reason(facts: Facts) -> Reason:
    """Why the replicas are what they are; the first that applies."""
    if facts.intent.mode is Mode.MANUAL:
        return Reason.MANUAL
    if facts.intent.mode is Mode.ADVISORY:
        return Reason.ADVISORY
    size = facts.size
    if size.wanted > size.standing or facts.move.to > facts.supply.size:
        return _growing(facts)
    if facts.evidence.trust is not Trust.FRESH:
        return _missing(facts.evidence.trust)
    if facts.limited_by in AT_THE_TOP:
        return Reason.MAX_REPLICAS
    if facts.move.to < facts.supply.size:
        return Reason.IDLE if size.wanted == 0 else Reason.SURPLUS
    if facts.move.cordon:
        return Reason.DRAINING_SURPLUS
    return _standing_still(facts)


def _standing_still(facts: Facts) -> Reason:
    if facts.supply.rolling:
        return Reason.ROLLING
    size = facts.size
    surplus = facts.demand.down is not None and facts.demand.down < size.wanted
    if surplus and facts.limited_by in (LimitedBy.STABILIZATION, LimitedBy.SCALE_DOWN_POLICY):
        return Reason.STABILIZING
    if size.wanted == 0 and facts.intent.min_replicas == 0:
        return Reason.IDLE
    return Reason.STEADY


def _growing(facts: Facts) -> Reason:
    wanted, wish = facts.size.wanted, facts.demand.up
    if facts.size.waking:
        return Reason.WAKING
    if facts.limited_by in AT_THE_TOP:
        return Reason.MAX_REPLICAS
    if wish is not None and wish >= wanted:
        return facts.demand.reason
    if wanted <= facts.intent.min_replicas:
        return Reason.MIN_REPLICAS
    if wish is None:
        return _missing(facts.evidence.trust)
    return Reason.STABILIZING


def _missing(trust: Trust) -> Reason:
    match trust:
        case Trust.PARTIAL:
            return Reason.SIGNALS_PARTIAL
        case Trust.ABSENT:
            return Reason.SIGNALS_ABSENT
        case _:
            return Reason.SIGNALS_STALE


def message(facts: Facts, why: Reason) -> str:
    """One sentence: "41 requests in flight, 46 expected in 35 s, on 3 ready replicas; 6 carry them
    at 8 each".
    """
    supply, demand = facts.supply, facts.demand
    ready = _replicas(len(supply.ready), "ready ")
    if demand.up is None:
        return (
            f"No signals to decide by: {facts.evidence.trouble}; holding {_replicas(facts.move.to)}"
        )
    text = f"{demand.because} on {ready}"
    if why is Reason.IDLE:
        return f"No request for {facts.intent.scale_to_zero_after_seconds or 0:g} s; scaled to zero"
    if demand.reason is Reason.OCCUPANCY:
        carry = "carries" if demand.up == 1 else "carry"
        text += f"; {demand.up} {carry} them at {demand.numbers['design_batch']:.0f} each"
    else:
        text += f"; {_replicas(demand.up)} would do"
    return text + _afterthought(facts, why) + _trouble(facts)


def _afterthought(facts: Facts, why: Reason) -> str:
    size, supply, intent = facts.size, facts.supply, facts.intent
    match why:
        case Reason.MANUAL | Reason.ADVISORY:
            return (
                f"; {intent.mode} keeps {intent.manual_replicas}, the law would want {size.wanted}"
            )
        case Reason.MAX_REPLICAS:
            return _at_the_top(facts)
        case Reason.MIN_REPLICAS:
            return f"; minReplicas asks for {intent.min_replicas}"
        case Reason.SURPLUS:
            return f"; the workload goes from {supply.size} to {facts.move.to}"
        case Reason.DRAINING_SURPLUS:
            return f"; draining {_replicas(len(facts.move.cordon))} before removal{_waits(facts)}"
        case Reason.STABILIZING:
            return f"; {size.wanted} stay until the surplus has lasted"
        case Reason.ROLLING:
            return "; nothing shrinks while a new revision rolls out"
        case Reason.WAKING:
            return "; waking from zero"
        case Reason.SIGNALS_PARTIAL:
            return f"; {facts.evidence.trouble}, so nothing shrinks"
    return ""


def _at_the_top(facts: Facts) -> str:
    if facts.limited_by is LimitedBy.GPU_POOL:
        return f"; its GPU pool leaves {facts.intent.granted_replicas}"
    return f"; maxReplicas allows {facts.intent.max_replicas}"


def _waits(facts: Facts) -> str:
    """Up to three victims, and what keeps each."""
    waits = sorted(facts.move.waits.items())[:3]
    return f" ({'; '.join(f'{name}: {words}' for name, words in waits)})" if waits else ""


def _trouble(facts: Facts) -> str:
    text = ""
    if facts.supply.stuck:
        names = ", ".join(sorted(replica.name for replica in facts.supply.stuck)[:3])
        text += f"; {len(facts.supply.stuck)} stuck and not counted as supply ({names})"
    if facts.move.kept and facts.size.wanted < facts.supply.size:
        names = ", ".join(facts.move.kept[:3])
        text += f"; no replica is removed while one that is not ready may still work ({names})"
    if facts.limited_by is LimitedBy.SCALE_UP_POLICY:
        text += "; the scale-up policy allows no more now"
    if facts.limited_by is LimitedBy.SCALE_DOWN_POLICY:
        text += "; the scale-down policy allows no fewer now"
    return text


def _replicas(count: int, adjective: str = "") -> str:
    return f"{count} {adjective}replica{'' if count == 1 else 's'}"
