"""Learning: what one observation adds to the law's memory, before anything is decided.

Only complete and fresh signals teach; a partial sum would look like a fall of every total. When the
totals began anew (another epoch) they become the baseline, and what was learnt before stays.
"""

from dataclasses import replace

from thinkscale.model.intent import Intent
from thinkscale.model.observation import FleetView, MergedSignals
from thinkscale.model.signals import SloCounts
from thinkscale.scaling import (
    allowance,
    arrivals,
    attainment,
    calibrate,
    latency,
    lead_time,
    length_trend,
    life_table,
    margin,
    pace,
    running_prompt,
    steps,
)
from thinkscale.scaling.backlog import Saturation
from thinkscale.scaling.evidence import Evidence, Trust
from thinkscale.scaling.state import State
from thinkscale.scaling.survival import Survival


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
    """Traffic, lengths, engines, outcomes; and whether anybody uses the service at all."""
    signals = evidence.signals
    if signals is None or evidence.trust is not Trust.FRESH:
        return replace(state, busy_at=now)
    at = now - evidence.age_seconds
    if state.epoch is not None and state.epoch != epoch:
        state = _rebased(state, intent, signals, at)
    counted = state.lengths.counted_arrivals
    arrived = state.lengths.at > 0 and signals.counters.arrivals > counted
    busy = signals.phases.in_flight > 0 or arrived or state.busy_at is None
    state = _learnt(state, intent, signals, at)
    return replace(
        state,
        epoch=epoch,
        trusted_at=now,
        busy_at=now if busy else state.busy_at,
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


def _learnt(state: State, intent: Intent, signals: MergedSignals, at: float) -> State:
    """What sizes the fleet."""
    horizon = lead_time.horizon_seconds(state.lead_times, intent.startup_seconds)
    known = arrivals.observe(state.arrivals, at, signals.counters.arrivals, horizon)
    lengths = life_table.observe(state.lengths, at, signals, arrivals.rate(known))
    outputs = Survival(lengths.outputs, longest_output(intent))
    history = pace.observe(state.pace, at, signals)
    measured = pace.seconds_per_token(history) or signals.fastest_token_seconds
    return replace(
        state,
        arrivals=known,
        lengths=lengths,
        length_trend=length_trend.observe(state.length_trend, at, outputs.mean)
        if outputs.certain
        else state.length_trend,
        running_prompt=running_prompt.observe(state.running_prompt, at, signals),
        pace=history,
        calibration=calibrate.observe(state.calibration, at, signals, intent.step_time, measured),
        allowance=allowance.observe(
            state.allowance,
            at,
            signals.counters.arrivals,
            signals.budget.cut_by_load,
            intent.truncation_allowance,
        ),
    )


def longest_output(intent: Intent) -> int | None:
    """Tokens that bound an output; None: nothing does."""
    if intent.budget.max_tokens is None or intent.answer_max_tokens is None:
        return None
    return intent.budget.max_tokens + intent.answer_max_tokens


def _rebased(state: State, intent: Intent, signals: MergedSignals, at: float) -> State:
    counters, cuts = signals.counters, signals.budget.cut_by_load
    return replace(
        state,
        arrivals=arrivals.rebased(state.arrivals, at, counters.arrivals),
        latency=(),
        lengths=life_table.rebased(state.lengths, signals),
        pace=(),
        calibration=replace(state.calibration, baselines=None),
        saturation=Saturation(),
        margin=margin.based(state.margin, at, signals, intent),
        allowance=allowance.rebased(state.allowance, at, counters.arrivals, cuts),
        slos={
            name: attainment.rebased(history, signals.slos.get(name, SloCounts()))
            for name, history in state.slos.items()
        },
    )
