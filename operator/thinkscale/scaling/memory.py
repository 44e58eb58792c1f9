"""Learning: what one observation adds to the law's memory, before anything is decided.

Only complete and fresh signals teach; a partial sum would look like a fall of every total. When the
totals began anew (another epoch) they become the baseline, and what was learnt before stays.
"""

from dataclasses import replace

from thinkscale.model.intent import Intent
from thinkscale.model.observation import FleetView, MergedSignals
from thinkscale.model.signals import SloCounts
from thinkscale.scaling import attainment, latency, lead_time, life_table, steps, traffic
from thinkscale.scaling.evidence import Evidence, Trust
from thinkscale.scaling.state import State


def learn_fleet(state: State, intent: Intent, fleet: FleetView, now: float) -> State:
    """Lead times of the replicas that became ready, and changes of the workload's size."""
    period = steps.longest_period(intent.scale_up, intent.scale_down)
    return replace(
        state,
        lead_times=lead_time.observe(state.lead_times, state.awaited, now, fleet.replicas),
        awaited=lead_time.still_awaited(state.awaited, fleet.replicas),
        changes=steps.observe(state.changes, now, state.size, fleet.desired, period),
        size=fleet.desired,
    )


def learn_signals(
    state: State, intent: Intent, evidence: Evidence, epoch: str, now: float
) -> State:
    """Traffic, lengths, outcomes; and whether anybody uses the service at all."""
    signals = evidence.signals
    if signals is None or evidence.trust is not Trust.FRESH:
        return replace(state, busy_at=now)
    if state.epoch is not None and state.epoch != epoch:
        state = _rebased(state, signals)
    at = now - evidence.age_seconds
    arrived = bool(state.traffic) and signals.counters.arrivals > state.traffic[-1].arrivals
    busy = signals.phases.in_flight > 0 or arrived or state.busy_at is None
    return replace(
        state,
        epoch=epoch,
        trusted_at=now,
        busy_at=now if busy else state.busy_at,
        traffic=traffic.observe(state.traffic, at, signals),
        lengths=life_table.observe(state.lengths, at, signals),
        latency=latency.observe(state.latency, at, signals.ttfa_seconds),
        slos={
            o.name: attainment.observe(
                state.slos.get(o.name),
                now,
                signals.slos.get(o.name, SloCounts()),
                o.window_seconds,
            )
            for o in intent.objectives
        },
    )


def _rebased(state: State, signals: MergedSignals) -> State:
    return replace(
        state,
        traffic=(),
        latency=(),
        lengths=life_table.rebased(state.lengths, signals),
        slos={
            name: attainment.rebased(history, signals.slos.get(name, SloCounts()))
            for name, history in state.slos.items()
        },
    )
