"""One plan out of several that were tried: at each time the one that costs least for its misses.

Every plan that was simulated has shown, block by block, what it costs and whom it fails. Blocks
that are some minutes apart do not touch each other, so one simulation tries all of them at once,
where pruning them one by one would take hundreds. A path through blocks and plans is chosen by
dynamic programming; changing to a plan of more replicas at the border of a block costs their boots.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from thinkscale.simulation.clairvoyance import CELL_SECONDS, Levels, Values

HALVINGS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A plan, and what its simulation showed. Blocks are equally long."""

    levels: Levels
    """Per cell of the whole time."""
    missed: Values
    """Requests that missed an objective, by the block in which they came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stitched:
    """A path through the tried, and what it should come to if no block touched another."""

    levels: Levels
    missed: float


def stitch(
    tried: Sequence[Tried],
    allowed: float,
    *,
    first_cell: int,
    block_cells: int,
    boot_seconds: float,
) -> Stitched | None:
    """The cheapest path with at most `allowed` misses; None: even the most careful one has more.

    Blocks begin at `first_cell`; what is before belongs to the first, what is after to the last.
    """
    blocks = len(tried[0].missed)
    edges = first_cell + block_cells * np.arange(blocks + 1)
    missed = np.array([trial.missed for trial in tried]).T
    costs = np.array([_costs(trial.levels, edges, boot_seconds) for trial in tried]).T
    borders = np.array(
        [[(trial.levels[edge - 1], trial.levels[edge]) for edge in edges[1:-1]] for trial in tried]
    ).reshape(len(tried), blocks - 1, 2)
    low, high = 0.0, 1e9
    best: list[int] | None = None
    for _ in range(HALVINGS):
        price = np.sqrt(max(low, 1e-3) * high)
        path = _path(costs + price * missed, borders, boot_seconds)
        if sum(missed[block, choice] for block, choice in enumerate(path)) <= allowed:
            best, high = path, price
        else:
            low = price
    if best is None:
        return None
    return Stitched(
        levels=_joined(tried, best, edges),
        missed=float(sum(missed[block, choice] for block, choice in enumerate(best))),
    )


def _costs(levels: Levels, edges: Levels, boot_seconds: float) -> Values:
    """Replica-seconds per block, boots within it included."""
    ups = np.maximum(0, np.diff(levels, prepend=levels[0])).astype(float)
    ups[edges[:-1][edges[:-1] < len(ups)]] = 0.0
    spent = np.concatenate(([0.0], np.cumsum(levels * CELL_SECONDS + ups * boot_seconds)))
    ends = np.minimum(edges, len(levels))
    per_block: Values = spent[ends[1:]] - spent[ends[:-1]]
    return per_block


def _path(costs: Values, borders: Levels, boot_seconds: float) -> list[int]:
    """The choice per block with the least sum of costs and boots at the borders."""
    reached = costs[0]
    before: list[Levels] = []
    for block in range(1, len(costs)):
        left = borders[:, block - 1, 0]
        right = borders[:, block - 1, 1]
        boots = boot_seconds * np.maximum(0, right[None, :] - left[:, None])
        through = reached[:, None] + boots
        before.append(through.argmin(axis=0))
        reached = through.min(axis=0) + costs[block]
    path = [int(reached.argmin())]
    for choices in reversed(before):
        path.append(int(choices[path[-1]]))
    return path[::-1]


def _joined(tried: Sequence[Tried], path: Sequence[int], edges: Levels) -> Levels:
    levels = tried[path[0]].levels.copy()
    for block, choice in enumerate(path):
        begin = 0 if block == 0 else edges[block]
        end = len(levels) if block == len(path) - 1 else edges[block + 1]
        levels[begin:end] = tried[choice].levels[begin:end]
    return levels
