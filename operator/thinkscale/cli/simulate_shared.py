"""`thinkscale simulate --scenario two-services`: two services under one GPU limit, divided by the
operator's rule, evenly, and not limited at all.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Final

from thinkscale.cli import terminal
from thinkscale.cli.arguments import Misuse
from thinkscale.simulation import shared_limit, shared_record, shared_run
from thinkscale.simulation.record import Record
from thinkscale.simulation.shared_run import Division, Together

TITLES: Final = {
    Division.SHARED: "shared",
    Division.EVEN: "even split",
    Division.UNLIMITED: "no limit",
}


def run(options: argparse.Namespace) -> int:
    """All three, side by side. Misuse, UnknownScenario."""
    _refuse_what_it_says_itself(options)
    if options.plot is not None:
        from thinkscale.simulation import shared_plot
    shared = shared_limit.make(options.scenario, options.seed, brownout=not options.no_brownout)
    runs: list[Together] = []
    for division, title in TITLES.items():
        with terminal.fraction(f"{shared.name}, {title}") as progress:
            runs.append(shared_run.run(shared, division, progress))
    made = shared_record.record_of(shared, runs)
    title = f"{shared.name}, {shared.gpus} GPUs, seed {shared.seed}"
    terminal.table([title, *TITLES.values()], lines(made))
    if options.json is not None:
        options.json.write_text(json.dumps(made, indent=1) + "\n")
    if options.plot is not None:
        shared_plot.divisions(options.plot, shared, runs, list(TITLES.values()))
        print(f"drawn: {options.plot}", file=sys.stderr)
    return 0


def _refuse_what_it_says_itself(options: argparse.Namespace) -> None:
    for flag in ("spec", "engine", "traces", "oracle"):
        if getattr(options, flag):
            raise Misuse(f"--{flag} does not go with {shared_limit.NAME}; leave it away")
    if options.policy != shared_run.POLICY:
        raise Misuse(f"{shared_limit.NAME} is of {shared_run.POLICY} alone; leave --policy away")


def lines(made: Record) -> list[list[str]]:
    """A record for people: the sum, then each service."""
    sides: list[Record] = list(made["divisions"].values())
    rows = _figures("", sides)
    rows.append(["most GPUs held", *(f"{side['peak_gpus']}" for side in sides)])
    for name in made["priorities"]:
        rows += _figures(f"{name}: ", [side["services"][name] for side in sides])
    return rows


def _figures(whose: str, sides: Sequence[Record]) -> list[list[str]]:
    def percents(title: str, key: str) -> list[str]:
        return [
            f"{whose}{title}",
            *("none" if side[key] is None else f"{side[key] * 100:.2f} %" for side in sides),
        ]

    return [
        percents("attainment", "attainment"),
        percents("worst hour", "attainment_worst_hour"),
        percents("thoughts cut by load", "truncated_share"),
        [f"{whose}GPU-hours", *(f"{side['gpu_hours']:.1f}" for side in sides)],
    ]
