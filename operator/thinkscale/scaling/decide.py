"""The law's one entry: `decide(intent, observation, state, now) -> (Decision, State)`.

One tick is a chain: learn from the observation; ask the terms what they wish; choose a size within
windows and limits; move the workload towards it, cordon first; order the gateways; explain. Each
link is a pure function in its own module. Nothing here knows Kubernetes, a clock or a log: the same
function runs in the operator and in a simulation.

The caller writes the returned state before it acts, and gives it back at the next tick.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from thinkscale.model.decision import (
    Blocked,
    Decision,
    Hold,
    LimitedBy,
    Reason,
    Replicas,
    Scale,
)
from thinkscale.model.intent import Intent, Mode
from thinkscale.model.observation import FleetView, Observation
from thinkscale.model.reading import Value
from thinkscale.scaling import attainment, explain, latency, lead_time, memory, order, tail
from thinkscale.scaling.demand import ask
from thinkscale.scaling.evidence import Evidence, Trust, weigh
from thinkscale.scaling.explain import Facts
from thinkscale.scaling.move import Move, by_hand, towards
from thinkscale.scaling.occupancy import TARGET
from thinkscale.scaling.size import Size, choose
from thinkscale.scaling.state import State
from thinkscale.scaling.supply import Supply, count

STEADY_TICK_SECONDS = 15.0
MOVING_TICK_SECONDS = 2.0
PATIENCE = 30.0
"""A victim that has been waited for so many times as long as a tick is looked at that seldom."""


def decide(
    intent: Intent, observation: Observation, state: State, now: datetime
) -> tuple[Decision, State]:
    """Decide about one service at one instant. Deterministic; never raises on missing readings."""
    match observation.fleet:
        case Value(value=fleet, complete=True):
            return _decide(intent, fleet, observation, state, now)
        case _:
            return _blocked(intent, state, observation.gateways_expected, now), state


def _decide(
    intent: Intent, fleet: FleetView, observation: Observation, state: State, now: datetime
) -> tuple[Decision, State]:
    at = now.timestamp()
    evidence = weigh(observation)
    state = memory.learn_fleet(state, intent, fleet, at)
    state = memory.learn_signals(state, intent, evidence, observation.epoch, at)
    lead = lead_time.lead_seconds(state.lead_times, intent.startup_seconds)
    limit = lead_time.stuck_after_seconds(state.lead_times, intent.startup_seconds)
    supply = count(fleet, limit)
    state = _trim(state, intent, evidence, supply, at)
    serving = sum(replica.name not in state.cordon for replica in supply.ready)
    demand = ask(state, intent, evidence, serving, lead)
    size, state = choose(state, intent, supply, demand, evidence.trust, at)
    move = _move(intent, state, supply, evidence, size, at)
    limited = _limited_by(intent, supply, size, move)
    facts = Facts(
        intent=intent,
        evidence=evidence,
        supply=supply,
        demand=demand,
        size=size,
        move=move,
        limited_by=limited,
    )
    state = replace(state, wanted=size.wanted, cordon=move.cordon)
    return _decision(facts, state, observation.gateways_expected, now, lead), state


def _move(
    intent: Intent, state: State, supply: Supply, evidence: Evidence, size: Size, now: float
) -> Move:
    """Towards the law's size, or the person's."""
    if intent.mode is not Mode.AUTO and intent.manual_replicas is not None:
        return by_hand(intent.manual_replicas, state, intent, supply, evidence, now)
    return towards(
        size.wanted, state, intent, supply, evidence, may_shrink=size.may_shrink, now=now
    )


def _trim(state: State, intent: Intent, evidence: Evidence, supply: Supply, now: float) -> State:
    """Move the margin by what the SLOs burn."""
    elapsed = 0.0 if state.trimmed_at is None else max(0.0, now - state.trimmed_at)
    burns = [
        tail.Burn(
            rate=tail.burn_rate(
                attainment.short(state.slos[o.name], now, _overdue(evidence, o.name)),
                attainment.whole(state.slos[o.name], now, _overdue(evidence, o.name)),
                o.objective,
            ),
            window_seconds=o.window_seconds,
        )
        for o in intent.objectives
        if o.name in state.slos
    ]
    trim = tail.trimmed(
        state.trim,
        elapsed,
        burns,
        frozen=evidence.trust is not Trust.FRESH or supply.coming > 0,
        at_maximum=supply.size >= intent.max_replicas or intent.mode is not Mode.AUTO,
    )
    return replace(state, trim=trim, trimmed_at=now)


def _overdue(evidence: Evidence, name: str) -> int:
    counts = evidence.signals.slos.get(name) if evidence.signals else None
    return counts.overdue if counts else 0


def _limited_by(intent: Intent, supply: Supply, size: Size, move: Move) -> LimitedBy:
    if move.limited_by is not None and size.limited_by is LimitedBy.NONE:
        return move.limited_by
    short = len(supply.ready) + supply.coming < size.wanted
    if supply.stuck and short and size.limited_by in (LimitedBy.NONE, LimitedBy.STABILIZATION):
        return LimitedBy.STUCK_REPLICAS
    return size.limited_by


def _decision(
    facts: Facts, state: State, gateways: int, now: datetime, lead_seconds: float
) -> Decision:
    supply, move, demand = facts.supply, facts.move, facts.demand
    signals = facts.evidence.signals
    identity = _identity(facts.intent, now)
    why = explain.reason(facts)
    replicas: Replicas = Hold(at=supply.size) if move.to == supply.size else Scale(to=move.to)
    cordoned = tuple(sorted(move.cordon))
    return Decision(
        id=identity,
        replicas=replicas,
        wanted=facts.size.wanted,
        cordon=frozenset(cordoned),
        retire=move.retire,
        directive=order.directive(
            identity,
            facts.intent,
            cordoned,
            in_flight=signals.phases.in_flight if signals else None,
            serving=len(supply.ready) - len(cordoned),
            wish=demand.up,
            gateways=gateways,
            now=now,
        ),
        next_tick_seconds=_next_tick(facts, now.timestamp()),
        reason=why,
        message=explain.message(facts, why),
        limited_by=facts.limited_by,
        terms=demand.terms,
        numbers=_numbers(facts, state, now.timestamp(), lead_seconds),
        attained=_attained(facts, state, now.timestamp()),
        stuck=tuple(sorted(replica.name for replica in supply.stuck)),
    )


def _numbers(facts: Facts, state: State, now: float, lead_seconds: float) -> Mapping[str, float]:
    supply = facts.supply
    numbers = {
        **facts.demand.numbers,
        "lead_time_seconds": lead_seconds,
        "ready": float(len(supply.ready)),
        "warming": float(supply.coming),
        "stuck": float(len(supply.stuck)),
        "draining": float(supply.draining),
        "occupancy_target": TARGET,
        "admission_ceiling": float(order.admission_ceiling(facts.intent.seats_per_replica)),
    }
    signals = facts.evidence.signals
    if signals is not None and signals.budget.effective_max_tokens is not None:
        numbers["effective_max_tokens"] = float(signals.budget.effective_max_tokens)
    if signals is not None and facts.evidence.trust is Trust.FRESH:
        at = now - facts.evidence.age_seconds
        p95 = latency.percentile(state.latency, at, signals.ttfa_seconds, 0.95)
        if p95 is not None:
            numbers["first_answer_p95_seconds"] = p95
    return numbers


def _attained(facts: Facts, state: State, now: float) -> Mapping[str, float]:
    shares: dict[str, float] = {}
    for objective in facts.intent.objectives:
        history = state.slos.get(objective.name)
        if history is None:
            continue
        overdue = _overdue(facts.evidence, objective.name)
        share = attainment.whole(history, now, overdue).attained
        if share is not None:
            shares[objective.name] = share
    return shares


def _next_tick(facts: Facts, now: float) -> float:
    """Soon while something moves; when the scale-down window lets go; otherwise 15 s. A victim
    that keeps working is looked at ever more seldom: 60 s after its cordon each 2 s, after 450 s
    each 15 s.
    """
    supply, move, signals = facts.supply, facts.move, facts.evidence.signals
    serving = (len(supply.ready) - len(move.cordon)) * facts.intent.seats_per_replica
    moving = (
        move.to != supply.size
        or supply.coming > 0
        or supply.draining > 0
        or supply.rolling
        or (signals is not None and (signals.phases.depth > serving or signals.held > 0))
        or facts.limited_by in (LimitedBy.SCALE_UP_POLICY, LimitedBy.SCALE_DOWN_POLICY)
    )
    if moving:
        return MOVING_TICK_SECONDS
    soonest = STEADY_TICK_SECONDS
    if move.cordon:
        soonest = min(soonest, (now - max(move.cordon.values())) / PATIENCE)
    if facts.size.settles_at is not None:
        soonest = min(soonest, facts.size.settles_at - now)
    return max(MOVING_TICK_SECONDS, soonest)


def _identity(intent: Intent, now: datetime) -> str:
    return hashlib.sha256(f"{intent.service} {now.isoformat()}".encode()).hexdigest()[:8]


def _blocked(intent: Intent, state: State, gateways: int, now: datetime) -> Decision:
    """The fleet could not be read: nothing is written, and nothing is forgotten."""
    identity = _identity(intent, now)
    return Decision(
        id=identity,
        replicas=Blocked(),
        wanted=intent.min_replicas if state.wanted is None else state.wanted,
        cordon=frozenset(state.cordon),
        retire=(),
        directive=order.directive(
            identity,
            intent,
            tuple(sorted(state.cordon)),
            in_flight=None,
            serving=0,
            wish=None,
            gateways=gateways,
            now=now,
        ),
        next_tick_seconds=MOVING_TICK_SECONDS,
        reason=Reason.FLEET_UNKNOWN,
        message="The replicas could not be read; nothing is changed",
        limited_by=LimitedBy.SIGNALS,
    )
