"""The least expected score that had to be given up for the tokens that a run has withheld.

Of a recorded run: in every ten seconds (the longest that anybody may wait) at least as many tokens
must be withheld as its cuts have withheld there, by closing thoughts that were open then and at
their floor, each of them once. Whoever chooses knows all lengths, which nobody does. That is a
linear programme over (thought, window); its Lagrange dual, a price of a token in each window, is a
lower bound whatever the prices are (weak duality), so subgradient steps on them only make it
better, and rounding cannot make it wrong.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thinkscale.simulation import two_tiers
from thinkscale.simulation.outcome import Requests
from thinkscale.simulation.scenario import Scenario

WINDOW_SECONDS: Final = 10.0
STEPS: Final = 400
FIRST_PRICE: Final = 0.01
"""Percent points for a token."""
STEP: Final = 0.02
LEAST_NEED_TOKENS: Final = 1000.0
Numbers = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What could be closed: an entry for each thought and window that it was open in, in order."""

    window: Whole
    tokens: Numbers
    """Withheld by closing it then."""
    points: Numbers
    """Expected score lost by it."""
    begins: Whole
    """Where each thought's entries begin."""
    needed: Numbers
    """Tokens to be withheld, by window."""


def least_points(scenario: Scenario, requests: Requests) -> float:
    """The bound, percent points; 0 if nobody was cut."""
    options = _options(scenario, requests)
    if not len(options.window):
        return 0.0
    thought = np.zeros(len(options.window), dtype=np.int64)
    thought[options.begins[1:]] = 1
    thought = np.cumsum(thought)
    wanted = options.needed > 0
    prices, best = np.where(wanted, FIRST_PRICE, 0.0), 0.0
    for step in range(STEPS):
        worth = prices[options.window] * options.tokens - options.points
        most = np.maximum.reduceat(worth, options.begins)
        best = max(best, float(prices @ options.needed - np.maximum(most, 0).sum()))
        chosen = (worth > 0) & (worth >= most[thought])
        left = options.needed.copy()
        np.subtract.at(left, options.window[chosen], options.tokens[chosen])
        moved = STEP / np.sqrt(1 + step) * left / np.maximum(options.needed, LEAST_NEED_TOKENS)
        prices = np.where(wanted, np.maximum(0.0, prices + moved), 0.0)
    return best


def _options(scenario: Scenario, requests: Requests) -> Options:
    load = scenario.workload
    begin = int(np.searchsorted(load.at_seconds, scenario.warm_up_seconds))
    scored = slice(begin, begin + len(requests.cut))
    lengths = load.thinking_tokens[scored].astype(np.float64)
    ended = np.where(requests.cut, lengths - requests.withheld_tokens, lengths)
    floor = float(scenario.intent.budget.floor_tokens or 0)
    first = requests.arrived_seconds + requests.first_token_seconds
    pace = requests.output_pace_seconds
    known = np.isfinite(first) & np.isfinite(pace) & (pace > 0) & (ended >= floor)
    windows = int(scenario.duration_seconds / WINDOW_SECONDS) + 1
    last = np.clip(np.nan_to_num((first + ended * pace) / WINDOW_SECONDS), 0, windows - 1)
    needed = np.zeros(windows)
    cut = requests.cut & known
    np.add.at(needed, last[cut].astype(np.int64), requests.withheld_tokens[cut])
    rows, window, ages = [], [], []
    for row in np.flatnonzero(known):
        since = int((first[row] + floor * pace[row]) // WINDOW_SECONDS)
        for at in range(max(0, since), int(last[row]) + 1):
            if needed[at] > 0:
                age = (at * WINDOW_SECONDS - first[row]) / pace[row]
                rows.append(row)
                window.append(at)
                ages.append(min(ended[row], max(floor, age)))
    row, age = np.array(rows, dtype=np.int64), np.array(ages, dtype=np.float64)
    changes = np.r_[True, row[1:] != row[:-1]] if len(row) else np.zeros(0, dtype=np.bool_)
    return Options(
        window=np.array(window, dtype=np.int64),
        tokens=lengths[row] - age if len(row) else age,
        points=two_tiers.lost_points(scenario, scored.start + row, age),
        begins=np.flatnonzero(changes),
        needed=needed,
    )
