"""What each part of the law buys: the simulator without it, and with all of it.

    python -m benchmarks.ablation [--seeds 1,2] [--jobs 2] [--only "PART;PART"]

A part is taken out by replacing what makes it work (a constant of its module, or a function); the
law itself has no switches. No brown-out. Prints the table of docs/control-law.md.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from statistics import mean
from typing import Any, Final
from unittest.mock import patch

from thinkscale.model.admission import Ceiling
from thinkscale.model.directive import Directive
from thinkscale.model.queueing import QueueRule
from thinkscale.scaling import (
    arrivals,
    backlog,
    lead_time,
    length_trend,
    life_table,
    margin,
    occupancy,
    order,
)
from thinkscale.scaling.survival import Survival
from thinkscale.simulation import ours, scenarios
from thinkscale.simulation.run import run

SCENARIOS: Final = ("step", "drift", "heavy-tail")
Replacement = tuple[object, str, Any]
Cell = tuple[float, float, float]
"""Attainment, GPU-hours, reversals in the run."""


def _told(**changes: Callable[[Directive], object]) -> Replacement:
    """The directive with some of it said otherwise."""
    say = order.directive

    def directive(*arguments: Any) -> Directive:
        told = say(*arguments)
        return told.model_copy(update={name: make(told) for name, make in changes.items()})

    return order, "directive", directive


def _first_come(_: Directive) -> QueueRule:
    return QueueRule()


def _without_pace(told: Directive) -> Ceiling | None:
    ceiling = told.ceiling
    return ceiling and Ceiling(seats=ceiling.seats, kv_tokens=ceiling.kv_tokens)


def _mean_context(self: Survival, tokens: float) -> float:
    """As if all lengths were the mean: twice half of it, squared."""
    return self.mean_within(tokens) ** 2


PARTS: Final[dict[str, tuple[Replacement, ...]]] = {
    "all of it": (),
    "first come, first served": (_told(queue=_first_come),),
    "no ceiling on the pace": (_told(ceiling=_without_pace),),
    "neither": (_told(queue=_first_come, ceiling=_without_pace),),
    "context `Pm + E[L]/2`": ((Survival, "square_within", _mean_context),),
    "life table ten times as slow": (
        (life_table, "REMEMBERED_ENDS", 10 * life_table.REMEMBERED_ENDS),
        (life_table, "LONGEST_HALF_LIFE_SECONDS", 10 * life_table.LONGEST_HALF_LIFE_SECONDS),
    ),
    "no length trend": ((length_trend, "TRUST", 0.0),),
    "no change-point": ((arrivals, "THRESHOLD", float("inf")),),
    "no backlog term": ((backlog, "DEAD_ZONE", float("inf")),),
    "margin fixed at .95": ((margin, "GAIN", 0.0),),
    "horizon of 15 s": ((lead_time, "horizon_seconds", lambda *_: 15.0),),
    "no hysteresis": ((occupancy, "hysteresis", lambda _: 0.0),),
    "no trend of arrivals": ((arrivals, "TREND_TRUST", 0.0),),
}


@contextmanager
def without(name: str) -> Iterator[None]:
    """The law without this part."""
    with ExitStack() as stack:
        for owner, attribute, replacement in PARTS[name]:
            stack.enter_context(patch.object(owner, attribute, replacement))
        yield


def measure(name: str, scenario: str, seed: int) -> Cell:
    """One run without a part."""
    with without(name):
        made = scenarios.make(scenario, seed, brownout=False)
        outcome = run(made, ours.thinkscale, policy=name)
    return outcome.attainment, outcome.gpu_hours, outcome.reversals


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.ablation", description=__doc__)
    parser.add_argument("--seeds", default=[1, 2], type=lambda t: [int(s) for s in t.split(",")])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default=list(PARTS), type=lambda text: text.split(";"))
    asked = parser.parse_args()
    wanted = [(n, s, seed) for n in asked.only for s in SCENARIOS for seed in asked.seeds]
    begun, cells = time.monotonic(), dict[tuple[str, str], list[Cell]]()
    with ProcessPoolExecutor(asked.jobs) as pool:
        for done, (what, cell) in enumerate(
            zip(wanted, pool.map(measure, *zip(*wanted, strict=True)), strict=True), 1
        ):
            cells.setdefault(what[:2], []).append(cell)
            seconds = time.monotonic() - begun
            print(f"{done}/{len(wanted)} {seconds:.0f} s {what}", file=sys.stderr, flush=True)
    print(f"| | {' | '.join(SCENARIOS)} |\n|{'---|' * (1 + len(SCENARIOS))}")
    for name in asked.only:
        print(f"| {name} | {' | '.join(_cell(cells[name, s]) for s in SCENARIOS)} |")
    return 0


def _cell(runs: list[Cell]) -> str:
    attainment, hours, reversals = (mean(column) for column in zip(*runs, strict=True))
    return f"{attainment:.3f} @ {hours:.1f}, {reversals:.0f}"


if __name__ == "__main__":
    sys.exit(main())
