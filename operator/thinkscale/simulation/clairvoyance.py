"""What a fleet would have to be at each moment, for one who knows all arrivals and lengths.

The ideal occupancy is what the requests would take if each began when it came and ran at the
design pace. A plan follows it: `ceil(c * occupancy - theta)`, looking ahead so that a replica is
there when the crest comes, and bridging valleys that are shorter than a boot.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from thinkscale.fleet.profile import Profile
from thinkscale.simulation.workload import Workload

Levels = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]

CELL_SECONDS: Final = 10.0


def occupancy(
    workload: Workload, profile: Profile, token_seconds: float, duration_seconds: float
) -> Values:
    """Replicas that would be full, per cell of ten seconds: the scarcer of seats and KV cache.

    Four requests of 10,000 prompt and 1,000 output tokens that come at 0 hold 40,000 tokens at
    once and 42,000 half-way; of 290,000 tokens and 128 seats that is .138 and .145 of a replica.
    """
    cells = int(np.ceil(duration_seconds / CELL_SECONDS)) + 1
    begins = workload.at_seconds
    ends = begins + workload.output_tokens * token_seconds
    first = np.minimum(np.ceil(begins / CELL_SECONDS), cells).astype(np.int64)
    last = np.minimum(np.ceil(ends / CELL_SECONDS), cells).astype(np.int64)

    def present(weights: Values) -> Values:
        come = np.bincount(first, weights, cells + 1)
        gone = np.bincount(last, weights, cells + 1)
        summed: Values = np.cumsum(come - gone)[:cells]
        return summed

    running = present(np.ones(len(begins)))
    prompts = present(workload.prompt_tokens.astype(float))
    generated = (running * np.arange(cells) * CELL_SECONDS - present(begins)) / token_seconds
    kv: Values = (prompts + generated) / profile.kv_tokens
    larger: Values = np.maximum(kv, running / profile.seats)
    return larger


def plan(
    wanted: Values,
    spare: float,
    *,
    boot_seconds: float,
    look_seconds: float,
    limits: tuple[int, int],
) -> Levels:
    """Replicas that should be ready, per cell, within these limits.

    `wanted`: the occupancy times a factor; `spare`: how much of a replica it may exceed whole ones
    by. 1.32, 1.32, 2.31 with 0.2 to spare: 1.12, 1.12, 2.11, so 2, 2, 3; looking one cell ahead 2,
    3, 3.
    """
    ahead = max(0, round(look_seconds / CELL_SECONDS))
    padded = np.concatenate((wanted, np.full(ahead, wanted[-1])))
    crest = np.lib.stride_tricks.sliding_window_view(padded, ahead + 1).max(axis=1)
    levels = np.clip(np.ceil(crest - spare - 1e-9), *limits).astype(np.int64)
    return bridged(levels, round(boot_seconds / CELL_SECONDS))


def bridged(levels: Levels, cells: int) -> Levels:
    """Without the valleys of fewer cells than this: at each height, a gap that is shorter than a
    boot costs less than the boot after it.

    3, 1, 2, 3 with gaps under three cells: height 2 is missing for one cell, height 3 for two; both
    are filled. With gaps under two cells 3, 2, 2, 3 remains.
    """
    filled = levels.copy()
    for height in range(int(levels.min()) + 1, int(levels.max()) + 1):
        there = np.flatnonzero(levels >= height)
        gaps = np.diff(there) - 1
        for place in np.flatnonzero((gaps > 0) & (gaps < cells)):
            inside = slice(there[place] + 1, there[place + 1])
            filled[inside] = np.maximum(filled[inside], height)
    return filled


def steps(levels: Levels) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """The plan as instants and the replicas from each on.

    Two cells of 3 and then 2: at 0 s 3, at 20 s 2.
    """
    changes = np.concatenate(([0], np.flatnonzero(np.diff(levels)) + 1))
    return (
        tuple(float(cell * CELL_SECONDS) for cell in changes),
        tuple(int(levels[cell]) for cell in changes),
    )
