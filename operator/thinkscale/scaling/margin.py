"""The margin on the fleet: a slow integrator that spends most of what the objectives allow.

Misses and cut thoughts are a price; each objective says how many may miss, and the margin moves
until six tenths of that are spent: never missing at all means paying for replicas that nobody
needs. A wrong model, odd traffic, other engines: whatever makes the spend too high raises the
margin.

It must not answer for what it could not prevent: after the rate has jumped up it stands still until
replicas ordered then have come, and it stands still while the fleet is at its maximum (anti-windup)
or the signals are not complete.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from thinkscale.model.intent import Indicator, Intent, Objective
from thinkscale.model.observation import MergedSignals
from thinkscale.scaling.capacity import PACES

LOWEST: Final = 0.85
HIGHEST: Final = 1.6
START: Final = 0.95
"""The queue at the gateway carries small errors."""
GAIN: Final = 2e-4
"""For a spend of one allowance more, in each fifteen seconds."""
SETPOINT: Final = 0.6
MOST_COST: Final = 40.0
USUAL_SECONDS: Final = 15.0
SAMPLE_SECONDS: Final = 12.0
LONGEST_STEP_SECONDS: Final = 60.0
FROZEN_AFTER_SECONDS: Final = 60.0
"""Beyond the horizon."""
FULL_LEVEL: Final = 0.5
LOW_ALLOWANCE: Final = 0.2
"""More margin with an empty allowance; none with half of it left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """The integrator, and the totals up to which it has counted."""

    value: float | None = None
    """None: nothing was counted yet."""
    at: float | None = None
    arrivals: int = 0
    cuts: int = 0
    bad: Mapping[str, int] | None = None


def value(margin: Margin, *, cutting: bool, level: float) -> float:
    """What the wishes are multiplied by. `level`: of the truncation allowance, 0 to 1.

    .95 with a quarter of the allowance left: .95 + .2·(.5 - .25)/.5 = 1.05.
    """
    base = START if margin.value is None else margin.value
    if not cutting:
        return base
    return base + LOW_ALLOWANCE * max(0.0, FULL_LEVEL - level) / FULL_LEVEL


def observe(
    margin: Margin,
    at: float,
    signals: MergedSignals,
    intent: Intent,
    *,
    frozen: bool,
) -> Margin:
    """Count the misses since the last sample, twelve seconds ago or more, and move by them."""
    if margin.at is not None and 0 <= at - margin.at < SAMPLE_SECONDS:
        return margin
    now = based(margin, at, signals, intent)
    base = START if margin.value is None else margin.value
    now = replace(now, value=base)
    if margin.at is None or margin.bad is None or frozen or not intent.objectives:
        return now
    elapsed = min(LONGEST_STEP_SECONDS, max(0.0, at - margin.at))
    arrivals = signals.counters.arrivals - margin.arrivals
    if arrivals < 0 or elapsed <= 0:
        return now
    cuts = max(0, signals.budget.cut_by_load - margin.cuts)
    missed = {
        o.name: max(0, _bad(signals, o) - margin.bad.get(o.name, _bad(signals, o)))
        for o in intent.objectives
    }
    spent = cost(intent.objectives, missed, cuts, arrivals)
    moved = base + GAIN * (spent - SETPOINT) * elapsed / USUAL_SECONDS
    return replace(now, value=round(min(HIGHEST, max(LOWEST, moved)), 7))


def based(margin: Margin, at: float, signals: MergedSignals, intent: Intent) -> Margin:
    """The same margin, counting from these totals on."""
    return Margin(
        value=margin.value,
        at=at,
        arrivals=signals.counters.arrivals,
        cuts=signals.budget.cut_by_load,
        bad={o.name: _bad(signals, o) for o in intent.objectives},
    )


def cost(
    objectives: Iterable[Objective], missed: Mapping[str, int], cuts: int, arrivals: int
) -> float:
    """What was spent of what the objectives allow; 1: all of it, at most 40.

    120 arrivals at 99 %: 1.2 may miss. One late, one slow and none cut: 2/1.2 = 1.7. End-to-end
    misses are those late or slow again, so the larger of the two counts.
    """
    objectives = tuple(objectives)
    wait = pace = whole = 0.0
    for objective in objectives:
        spent = missed.get(objective.name, 0) / (1.0 - objective.objective)
        if objective.indicator in PACES:
            pace = max(pace, spent)
        elif objective.indicator is Indicator.END_TO_END:
            whole = max(whole, spent)
        else:
            wait = max(wait, spent)
    strictest = max((o.objective for o in objectives), default=0.99)
    misses = max(wait + pace, whole) + cuts / (1.0 - strictest)
    return min(MOST_COST, misses / max(1, arrivals))


def frozen(
    now: float, jumped_at: float | None, horizon_seconds: float, *, trusted: bool, at_limit: bool
) -> bool:
    """Whether misses say nothing about the margin now."""
    recovering = jumped_at is not None and now - jumped_at <= horizon_seconds + FROZEN_AFTER_SECONDS
    return recovering or at_limit or not trusted


def _bad(signals: MergedSignals, objective: Objective) -> int:
    counts = signals.slos.get(objective.name)
    return counts.bad if counts else 0
