"""The law's one entry: `decide(intent, observation, state, now) -> (Decision, State)`.

One tick is a chain: learn from the observation; put together what is known; ask the terms what they
wish; choose a size within windows and limits; move the workload towards it, cordon first; order the
gateways; explain. Each link is a pure function in its own module. Nothing here knows Kubernetes, a
clock or a log: the same function runs in the operator and in a simulation.

The caller writes the returned state before it acts, and gives it back at the next tick.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from thinkscale.model.brownout import BrownoutRule
from thinkscale.model.decision import Blocked, Decision, Hold, LimitedBy, Reason, Replicas, Scale
from thinkscale.model.intent import Intent, Mode
from thinkscale.model.observation import FleetView, MergedSignals, Observation
from thinkscale.model.reading import Value
from thinkscale.scaling import (
    allowance,
    attainment,
    backlog,
    brownout,
    explain,
    latency,
    lead_time,
    margin,
    memory,
    order,
    tier_budgets,
)
from thinkscale.scaling.demand import Demand, ask
from thinkscale.scaling.evidence import Evidence, Trust, weigh
from thinkscale.scaling.explain import Facts
from thinkscale.scaling.knowledge import Knowledge, gather
from thinkscale.scaling.move import Move, by_hand, towards
from thinkscale.scaling.size import LOST_SECONDS, Size, choose, highest_allowed
from thinkscale.scaling.state import State
from thinkscale.scaling.supply import Supply, count

STEADY_TICK_SECONDS = 15.0
MOVING_TICK_SECONDS = 2.0
TICKS_PER_LEAD = 12.0
"""While something moves; a fleet that takes long to move need not be looked at so often."""
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
            return _blocked(intent, state, observation.gateways_sharing, now), state


def _decide(
    intent: Intent, fleet: FleetView, observation: Observation, state: State, now: datetime
) -> tuple[Decision, State]:
    at = now.timestamp()
    evidence = weigh(observation)
    state = memory.learn_fleet(state, intent, fleet, at)
    state = memory.learn_signals(state, intent, evidence, observation.epoch, at)
    limit = lead_time.stuck_after_seconds(state.lead_times, intent.startup_seconds)
    supply = count(fleet, limit)
    known = gather(state, intent, evidence.signals)
    state = _spent(state, intent, evidence, supply, known, at)
    demand = ask(state, intent, evidence, supply, known)
    state = _saturated(state, evidence, supply, demand, at)
    size, state = choose(state, intent, supply, demand, evidence.trust, at)
    move = _move(intent, state, supply, evidence, size, at)
    facts = Facts(
        intent=intent,
        evidence=evidence,
        supply=supply,
        demand=demand,
        size=size,
        move=move,
        limited_by=_limited_by(supply, size, move),
    )
    state = replace(state, wanted=size.wanted, cordon=move.cordon)
    return _decision(facts, state, known, observation.gateways_sharing, now), state


def _move(
    intent: Intent, state: State, supply: Supply, evidence: Evidence, size: Size, now: float
) -> Move:
    """Towards the law's size, or the person's."""
    if intent.mode is not Mode.AUTO and intent.manual_replicas is not None:
        return by_hand(intent.manual_replicas, state, intent, supply, evidence, now)
    return towards(
        size.wanted, state, intent, supply, evidence, may_shrink=size.may_shrink, now=now
    )


def _spent(
    state: State,
    intent: Intent,
    evidence: Evidence,
    supply: Supply,
    known: Knowledge,
    now: float,
) -> State:
    """Move the margin by what late and cut requests spent."""
    if evidence.signals is None or evidence.trust is not Trust.FRESH:
        return state
    frozen = margin.frozen(
        now,
        state.arrivals.jumped_at,
        known.horizon_seconds,
        trusted=True,
        at_limit=supply.size >= highest_allowed(intent) or intent.mode is not Mode.AUTO,
    )
    moved = margin.observe(
        state.margin,
        now - evidence.age_seconds,
        evidence.signals,
        intent,
        frozen=frozen,
    )
    return replace(state, margin=moved)


def _saturated(
    state: State, evidence: Evidence, supply: Supply, demand: Demand, now: float
) -> State:
    """Measure what the replicas carry while requests wait."""
    if evidence.signals is None or evidence.trust is not Trust.FRESH:
        return state
    counters = evidence.signals.counters
    seen = backlog.observe(
        state.saturation,
        now - evidence.age_seconds,
        counters.thinking_tokens + counters.answer_tokens,
        supply.serving(state.cordon),
        piled=demand.piled_up,
    )
    return replace(state, saturation=seen)


def _limited_by(supply: Supply, size: Size, move: Move) -> LimitedBy:
    if move.limited_by is not None and size.limited_by is LimitedBy.NONE:
        return move.limited_by
    short = len(supply.ready) + supply.coming < size.wanted
    if supply.stuck and short and size.limited_by in (LimitedBy.NONE, LimitedBy.STABILIZATION):
        return LimitedBy.STUCK_REPLICAS
    return size.limited_by


def _decision(
    facts: Facts, state: State, known: Knowledge, gateways: int, now: datetime
) -> Decision:
    supply, move, intent = facts.supply, facts.move, facts.intent
    identity = _identity(intent, now)
    why = explain.reason(facts)
    replicas: Replicas = Hold(at=supply.size) if move.to == supply.size else Scale(to=move.to)
    cordoned = tuple(sorted(move.cordon))
    rule = _brownout(state, intent, known, now)
    return Decision(
        id=identity,
        replicas=replicas,
        wanted=facts.size.wanted,
        cordon=frozenset(cordoned),
        retire=move.retire,
        directive=order.directive(identity, intent, known.bounds, cordoned, rule, gateways),
        next_tick_seconds=_next_tick(facts, known, now.timestamp()),
        reason=why,
        message=explain.message(facts, why),
        limited_by=facts.limited_by,
        terms=facts.demand.terms,
        numbers=_numbers(facts, state, now.timestamp()),
        attained=_attained(facts, state, now.timestamp()),
        stuck=tuple(sorted(replica.name for replica in supply.stuck)),
        late_rates=facts.demand.late_rates,
    )


def _brownout(state: State, intent: Intent, known: Knowledge, now: datetime) -> BrownoutRule | None:
    """Renewed while the signals are heard: what is cut must be counted."""
    if state.trusted_at is None or now.timestamp() - state.trusted_at > LOST_SECONDS:
        return None
    if not allowance.opted_in(intent):
        return None
    points = brownout.carried(
        intent,
        known.bounds,
        known.outputs,
        known.prompt_tokens,
        known.answer_tokens,
        known.point.token_seconds,
        known.running_prompt_tokens,
    )
    tiers = tier_budgets.render(
        intent,
        points,
        known.thinking,
        state.lengths.tier_arrivals,
        brownout.floor_in_force(intent, state.allowance),
    )
    return brownout.rule(intent, state.allowance, points, now, tiers)


def _numbers(facts: Facts, state: State, now: float) -> Mapping[str, float]:
    supply, intent = facts.supply, facts.intent
    numbers = {
        **facts.demand.numbers,
        "lead_time_seconds": lead_time.lead_seconds(state.lead_times, intent.startup_seconds),
        "ready": float(len(supply.ready)),
        "warming": float(supply.coming),
        "stuck": float(len(supply.stuck)),
        "draining": float(supply.draining),
    }
    signals = facts.evidence.signals
    if allowance.opted_in(intent):
        numbers["allowance_level"] = state.allowance.level
        numbers["floor_tokens"] = float(allowance.floor_tokens(state.allowance, intent))
    if signals is None:
        return numbers
    numbers |= _budget_numbers(signals)
    if intent.tiers:
        numbers["withheld_points"] = signals.budget.withheld_millipoints / 1000
    if facts.evidence.trust is Trust.FRESH:
        at = now - facts.evidence.age_seconds
        p95 = latency.percentile(state.latency, at, signals.ttfa_seconds, 0.95)
        if p95 is not None:
            numbers["first_answer_p95_seconds"] = p95
    return numbers


def _budget_numbers(signals: MergedSignals) -> dict[str, float]:
    """The quality debt: since the gateways began to count."""
    budget = signals.budget
    numbers = {
        "cut_requests": float(budget.cut_by_load),
        "withheld_tokens": float(budget.withheld_tokens),
    }
    if budget.effective_max_tokens is not None:
        numbers["effective_max_tokens"] = float(budget.effective_max_tokens)
    return numbers


def _attained(facts: Facts, state: State, now: float) -> Mapping[str, float]:
    shares: dict[str, float] = {}
    signals = facts.evidence.signals
    for objective in facts.intent.objectives:
        history = state.slos.get(objective.name)
        if history is None:
            continue
        counts = signals.slos.get(objective.name) if signals else None
        share = attainment.whole(history, now, counts.overdue if counts else 0).attained
        if share is not None:
            shares[objective.name] = share
    return shares


def _next_tick(facts: Facts, known: Knowledge, now: float) -> float:
    """Soon while something moves, a twelfth of the learnt lead time but 2 to 15 s; when the
    scale-down window lets go; otherwise 15 s. A victim that keeps working is looked at ever more
    seldom: 60 s after its cordon each 2 s, after 450 s each 15 s.
    """
    supply, move = facts.supply, facts.move
    moving = (
        move.to != supply.size
        or supply.coming > 0
        or supply.draining > 0
        or supply.rolling
        or facts.demand.piled_up
        or facts.limited_by in (LimitedBy.SCALE_UP_POLICY, LimitedBy.SCALE_DOWN_POLICY)
    )
    soonest = STEADY_TICK_SECONDS
    if moving:
        soonest = min(soonest, _while_moving(known))
    if move.cordon:
        soonest = min(soonest, (now - max(move.cordon.values())) / PATIENCE)
    if facts.size.settles_at is not None:
        soonest = min(soonest, facts.size.settles_at - now)
    return max(MOVING_TICK_SECONDS, soonest)


def _while_moving(known: Knowledge) -> float:
    return known.lead_mean_seconds / TICKS_PER_LEAD if known.lead_is_learnt else 0.0


def _identity(intent: Intent, now: datetime) -> str:
    return hashlib.sha256(f"{intent.service} {now.isoformat()}".encode()).hexdigest()[:8]


def _blocked(intent: Intent, state: State, gateways: int, now: datetime) -> Decision:
    """The fleet could not be read: nothing is written, and nothing is forgotten."""
    identity = _identity(intent, now)
    known = gather(state, intent, None)
    cordoned = tuple(sorted(state.cordon))
    return Decision(
        id=identity,
        replicas=Blocked(),
        wanted=intent.min_replicas if state.wanted is None else state.wanted,
        cordon=frozenset(state.cordon),
        retire=(),
        directive=order.directive(
            identity,
            intent,
            known.bounds,
            cordoned,
            _brownout(state, intent, known, now),
            gateways,
        ),
        next_tick_seconds=MOVING_TICK_SECONDS,
        reason=Reason.FLEET_UNKNOWN,
        message="The replicas could not be read; nothing is changed",
        limited_by=LimitedBy.SIGNALS,
    )
