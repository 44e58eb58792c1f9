"""The fleet over time, noted at each tick of the policy."""

import math

import numpy as np

from thinkscale.simulation.front import Front
from thinkscale.simulation.members import Members
from thinkscale.simulation.outcome import Timeline
from thinkscale.simulation.policy import Order

Row = tuple[float, int, int, int, int, int, float]


class Chronicle:
    """Rows, and the sizes that were wanted."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def note(
        self, now: float, order: Order, members: Members, depth: int, fronts: list[Front]
    ) -> None:
        """One tick."""
        budgets = [f.effective_tokens for f in fronts if f.effective_tokens is not None]
        serving = members.serving
        self._rows.append(
            (
                now,
                order.replicas if order.wanted is None else order.wanted,
                len(serving),
                len(members.present),
                depth,
                sum(front.held for front in fronts),
                float(min(budgets)) if budgets else math.nan,
            )
        )

    def wanted(self, begin: float, end: float) -> list[int]:
        """The sizes wanted between two times."""
        return [row[1] for row in self._rows if begin <= row[0] <= end]

    def timeline(self) -> Timeline:
        """All rows, column by column."""
        columns = list(zip(*self._rows, strict=True)) or [()] * 7
        at, desired, ready, billed, depth, held, effective = columns
        return Timeline(
            at_seconds=np.array(at, dtype=np.float64),
            desired=np.array(desired, dtype=np.int64),
            ready=np.array(ready, dtype=np.int64),
            billed=np.array(billed, dtype=np.int64),
            thinking_depth=np.array(depth, dtype=np.int64),
            held=np.array(held, dtype=np.int64),
            effective_tokens=np.array(effective, dtype=np.float64),
        )
