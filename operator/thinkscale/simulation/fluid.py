"""A fleet without events: what latencies and how many replicas follow from the requests alone.

All running sequences of a fleet advance one token per step, so one curve says everything: V(t), the
steps done by t. A request whose first token comes at s has its answer's first token when V has
grown by its thinking tokens, and its last when it has grown by its output. The curve, the number in
flight with their context, and the replicas that these need, determine each other; a few rounds from
the design pace settle them.

What it leaves out: surprise (replicas are there when the load is), the spread between replicas,
preemption. Beyond `max_replicas` requests wait first come, first served. How far it agrees with
full simulations: `docs/simulate.md`.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from thinkscale.simulation.design_point import DesignPoint, design_point, pace_limit_seconds
from thinkscale.simulation.outcome import Flags, Numbers
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.score import Measured
from thinkscale.simulation.staffing import (
    GRID_SECONDS,
    limit_of,
    needed_replicas,
    smooth,
    staffed,
    wanted,
    whole,
)

DESIGN_ROUNDS: Final = 3
ROUNDS: Final = 5
DRAIN_QUANTILE: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Per scored request, in seconds since its arrival; then the fleet."""

    queue_seconds: Numbers
    first_token_seconds: Numbers
    first_answer_seconds: Numbers
    end_seconds: Numbers
    pace_seconds: Numbers
    met: dict[str, Flags]
    mean_replicas: float
    peak_replicas: int
    wanted_mean_replicas: float
    """Without the limit and without rounding to whole ones."""
    wanted_peak_replicas: int
    """Without the limit."""
    gpu_hours: float
    overloaded_hours: float
    """How long more was needed than `max_replicas`."""

    @property
    def attainment(self) -> float:
        """Share that meets all objectives."""
        return float(np.logical_and.reduce(list(self.met.values())).mean())


@dataclass(slots=True, kw_only=True)
class _Fleet:
    """Curves over the grid."""

    at: Numbers
    pace: Numbers
    """Seconds per token."""
    replicas: Numbers
    waits: Numbers
    """By request."""


def predict(scenario: Scenario) -> Prediction:
    """What becomes of a scenario's requests. ValueError: it has none."""
    load = scenario.workload
    if len(load) == 0:
        raise ValueError("a workload without requests has no latencies")
    point = design_point(load, scenario.profile, pace_limit_seconds(scenario.intent))
    span = scenario.duration_seconds + 20 * point.tokens_per_request * point.token_seconds
    at = np.arange(0.0, span + GRID_SECONDS, GRID_SECONDS)
    flat = np.full(len(at), point.token_seconds)
    fleet = _Fleet(at=at, pace=flat, replicas=np.ones(len(at)), waits=np.zeros(len(load)))
    for _ in range(DESIGN_ROUNDS):
        needed, running = _designed(scenario, fleet)
    growing = wanted(needed, running)
    limit = limit_of(scenario.intent)
    if whole(growing).max() > limit:
        fleet.waits = _waits(scenario, point, at, limit)
    fleet.replicas = staffed(scenario, at, needed, running)
    for _ in range(ROUNDS):
        fleet.pace = _pace(scenario, *_load_on(scenario, fleet), fleet.replicas)
    return _prediction(scenario, fleet, growing, point)


def _designed(scenario: Scenario, fleet: _Fleet) -> tuple[Numbers, Numbers]:
    """Replicas needed as a fraction, and requests running, if all were as full as they should be:
    that is what the law reckons with, however fast a half-empty fleet happens to be.
    """
    running, context, prefill = (smooth(curve) for curve in _load_on(scenario, fleet))
    needed = needed_replicas(scenario, running, context, prefill)
    fleet.pace = _pace(scenario, running, context, prefill, np.maximum(needed, 1e-6))
    return needed, running


def _pace(
    scenario: Scenario, running: Numbers, context: Numbers, prefill: Numbers, replicas: Numbers
) -> Numbers:
    """Seconds per token of so many replicas under this load."""
    profile = scenario.profile
    busy = profile.sequence_seconds * running + profile.context_token_seconds * context
    stalled = np.minimum(0.6, prefill / replicas)
    pace: Numbers = (profile.base_seconds + busy / replicas) / (1 - stalled)
    return pace


def _load_on(scenario: Scenario, fleet: _Fleet) -> tuple[Numbers, Numbers, Numbers]:
    """Requests running, their KV tokens, and replicas' worth of prefill, over the grid."""
    first, _answer, end = _times(scenario, fleet)
    prompts = scenario.workload.prompt_tokens.astype(np.float64)
    came = np.histogram(first, _bins(fleet.at), weights=prompts)[0] / GRID_SECONDS
    prefill = smooth(scenario.profile.prompt_token_seconds * came)
    return (*_in_flight(scenario, fleet, first, end), prefill)


def _times(scenario: Scenario, fleet: _Fleet) -> tuple[Numbers, Numbers, Numbers]:
    """When each request gets its first token, its first answer token, its last."""
    load, profile = scenario.workload, scenario.profile
    begun = load.at_seconds + fleet.waits
    pace = np.interp(begun, fleet.at, fleet.pace)
    chunks = np.ceil(load.prompt_tokens / profile.step_tokens)
    prefill = profile.prompt_token_seconds * load.prompt_tokens
    first = begun + (0.5 + chunks) * pace + prefill
    steps = np.concatenate(([0.0], np.cumsum(GRID_SECONDS / fleet.pace)))
    edges = _bins(fleet.at)
    done = np.interp(first, edges, steps)
    answer = _at_steps(done + np.minimum(load.thinking_tokens, load.output_tokens - 1),
                       edges, steps, fleet)  # fmt: skip
    return first, answer, _at_steps(done + load.output_tokens - 1, edges, steps, fleet)


def _at_steps(wanted: Numbers, edges: Numbers, steps: Numbers, fleet: _Fleet) -> Numbers:
    """When so many steps are done; beyond the grid at its last pace."""
    inside = np.interp(wanted, steps, edges)
    beyond = np.maximum(0.0, wanted - steps[-1]) * fleet.pace[-1]
    late: Numbers = inside + beyond
    return late


def _bins(at: Numbers) -> Numbers:
    edges: Numbers = np.append(at, at[-1] + GRID_SECONDS)
    return edges


def _in_flight(
    scenario: Scenario, fleet: _Fleet, first: Numbers, end: Numbers
) -> tuple[Numbers, Numbers]:
    """Requests that run, and their KV tokens, at each point of the grid.

    A running one holds its prompt and what it has generated: V(now) - V(first) + 1. So the sum is
    (prompts - V(first) + 1 over those in flight) + V(now) times their number.
    """
    edges = _bins(fleet.at)
    steps = np.concatenate(([0.0], np.cumsum(GRID_SECONDS / fleet.pace)))
    fixed = scenario.workload.prompt_tokens + 1 - np.interp(first, edges, steps)

    def standing(weights: Numbers | None) -> Numbers:
        came = np.histogram(first, edges, weights=weights)[0].astype(float)
        went = np.histogram(end, edges, weights=weights)[0].astype(float)
        level: Numbers = np.cumsum(came - went) - (came - went) / 2
        return level

    running = np.maximum(0.0, standing(None))
    middle = (steps[:-1] + steps[1:]) / 2
    return running, np.maximum(0.0, standing(fixed) + running * middle)


def _waits(scenario: Scenario, point: DesignPoint, at: Numbers, limit: int) -> Numbers:
    """Seconds that each request waits because of `max_replicas`: what came, in seconds of the whole
    fleet's work, less what could be done since (Lindley's recursion, first come first served).
    """
    load = scenario.workload
    each = load.output_tokens * point.token_seconds / point.batch / limit
    came = np.histogram(load.at_seconds, _bins(at), weights=each)[0]
    net = np.cumsum(came - GRID_SECONDS)
    backlog = net - np.minimum(0.0, np.minimum.accumulate(net))
    waits: Numbers = np.interp(load.at_seconds, at + GRID_SECONDS, backlog)
    return waits


def _prediction(
    scenario: Scenario, fleet: _Fleet, growing: Numbers, point: DesignPoint
) -> Prediction:
    load = scenario.workload
    first, answer, end = _times(scenario, fleet)
    scored = (load.at_seconds >= scenario.warm_up_seconds) & (
        load.at_seconds < scenario.duration_seconds
    )
    if not scored.any():  # a handful of requests, all within the warm-up
        scored = np.ones(len(load), dtype=bool)
    came = load.at_seconds[scored]
    first, answer, end = first[scored] - came, answer[scored] - came, end[scored] - came
    outputs, thinking = load.output_tokens[scored], load.thinking_tokens[scored]
    pace = (end - first) / np.maximum(1, outputs - 1)
    begin = int(scenario.warm_up_seconds // GRID_SECONDS)
    inside = slice(begin, max(begin + 1, math.ceil(scenario.duration_seconds / GRID_SECONDS)))
    replicas, asked = fleet.replicas[inside], growing[inside]
    hours = float(replicas.sum()) * GRID_SECONDS / 3600 + _moving_hours(scenario, replicas, point)
    answers = load.answer_tokens[scored]
    measured = Measured(
        first=first,
        answered=answer,
        ended=end,
        thinking=thinking,
        tokens=outputs,
        pace=pace,
        answer_pace=(end - answer) / np.maximum(1, answers - 1),
    )
    return Prediction(
        queue_seconds=fleet.waits[scored],
        first_token_seconds=first,
        first_answer_seconds=np.where(answers > 0, answer, np.nan),
        end_seconds=end,
        pace_seconds=pace,
        met={o.name: measured.met(o) for o in scenario.intent.objectives}
        or {"all": np.ones(len(first), dtype=bool)},
        mean_replicas=float(replicas.mean()),
        peak_replicas=int(replicas.max()),
        wanted_mean_replicas=float(asked.mean()),
        wanted_peak_replicas=int(max(1.0, whole(asked).max())),
        gpu_hours=hours * scenario.intent.gpus_per_replica,
        overloaded_hours=float((whole(asked) > limit_of(scenario.intent)).sum())
        * GRID_SECONDS
        / 3600,
    )


def _moving_hours(scenario: Scenario, replicas: Numbers, point: DesignPoint) -> float:
    """Replica-hours of those that boot before they serve, and that drain after."""
    moves = np.diff(replicas)
    longest = float(np.quantile(scenario.workload.output_tokens, DRAIN_QUANTILE))
    boots = float(moves[moves > 0].sum()) * scenario.boot.mean_seconds
    drains = float(-moves[moves < 0].sum()) * longest * point.token_seconds
    return (boots + drains) / 3600
