"""How many replicas the law would keep for a load that it can follow: its staffing without events.

Over a grid of `GRID_SECONDS`. Seats, KV cache and pace say what is needed; the law's own safety and
dead zones make whole replicas of it, that it would neither add nor take away.
"""

from typing import Final

import numpy as np

from thinkscale.model.intent import Intent
from thinkscale.scaling.capacity import KV_FILL, PACE_FILL
from thinkscale.scaling.occupancy import (
    GROW_SIGMAS,
    HYSTERESIS_SHARE,
    MOST_HYSTERESIS,
    SHRINK_SIGMAS,
)
from thinkscale.simulation.design_point import pace_limit_seconds
from thinkscale.simulation.outcome import Numbers
from thinkscale.simulation.scenario import Scenario

GRID_SECONDS: Final = 5.0
TICK_SECONDS: Final = 15.0
SMOOTH_SECONDS: Final = 300.0
"""Forecasts do not know the noise of single requests."""
ESTIMATED: Final = 0.98
"""The law's own margin, and what estimating rate and lengths costs it: the mean of full simulations
of smooth, drift and heavy-tail.
"""


def needed_replicas(
    scenario: Scenario, running: Numbers, context: Numbers, prefill: Numbers
) -> Numbers:
    """Replicas, as a fraction, that seats, KV cache and pace ask for (the scarcest)."""
    profile, limit = scenario.profile, pace_limit_seconds(scenario.intent)
    replicas = np.maximum(
        running / scenario.intent.seats_per_replica, context / (KV_FILL * profile.kv_tokens)
    )
    if limit is not None and PACE_FILL * limit > profile.base_seconds:
        pace = PACE_FILL * limit
        busy = profile.sequence_seconds * running + profile.context_token_seconds * context
        replicas = np.maximum(replicas, (busy + prefill * pace) / (pace - profile.base_seconds))
    return replicas


def wanted(needed: Numbers, running: Numbers) -> Numbers:
    """What the law grows for: the forecast and one deviation, with its margin."""
    return needed * ESTIMATED * (1 + GROW_SIGMAS / np.sqrt(np.maximum(1.0, running)))


def staffed(scenario: Scenario, at: Numbers, needed: Numbers, running: Numbers) -> Numbers:
    """Whole replicas as the law orders them: up when the forecast and one deviation ask for it,
    down to what carries the forecast and 1.4 for the whole scale-down window; in both ways only
    what is clearly more or less than a whole number counts. Between the two a size is kept: a law
    that has just begun comes from above.
    """
    safer = needed * ESTIMATED * (1 + SHRINK_SIGMAS / np.sqrt(np.maximum(1.0, running)))
    up = whole(wanted(needed, running))
    least = np.maximum(up, np.ceil(safer + _dead_zone(safer)))
    window = scenario.intent.scale_down.stabilization_window_seconds / GRID_SECONDS
    down = _running_max(least, round(window) + 1)
    low, high = max(1, scenario.intent.min_replicas), limit_of(scenario.intent)
    replicas, level = np.empty(len(at)), float(down[0])
    every = round(TICK_SECONDS / GRID_SECONDS)
    for place in range(len(at)):
        if place % every == 0:
            settling = at[place] < scenario.warm_up_seconds
            level = down[place] if settling else max(up[place], min(level, down[place]))
            level = min(max(level, low), high)
        replicas[place] = level
    return replicas


def whole(wanted: Numbers) -> Numbers:
    """The law grows to so many."""
    replicas: Numbers = np.ceil(wanted - _dead_zone(wanted))
    return replicas


def _dead_zone(replicas: Numbers) -> Numbers:
    zone: Numbers = np.minimum(MOST_HYSTERESIS, HYSTERESIS_SHARE * replicas)
    return zone


def limit_of(intent: Intent) -> int:
    """Replicas at most."""
    granted = intent.granted_replicas
    return max(1, intent.max_replicas if granted is None else min(granted, intent.max_replicas))


def smooth(values: Numbers) -> Numbers:
    """The mean of the last and the next minutes."""
    half = round(SMOOTH_SECONDS / GRID_SECONDS / 2)
    padded = np.concatenate((np.full(half, values[0]), values, np.full(half, values[-1])))
    total = np.concatenate(([0.0], np.cumsum(padded)))
    width = 2 * half + 1
    mean: Numbers = (total[width:] - total[:-width]) / width
    return mean


def _running_max(values: Numbers, window: int) -> Numbers:
    padded = np.concatenate((np.full(window - 1, values[0]), values))
    highest: Numbers = np.lib.stride_tricks.sliding_window_view(padded, window).max(axis=1)
    return highest
