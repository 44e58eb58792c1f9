"""`thinkscale simulate`: one policy in one scenario, in virtual time."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from thinkscale.cli import inputs, simulate_shared, terminal
from thinkscale.cli.arguments import guarded, parser, writable
from thinkscale.simulation import bounds, contestants, record, shared_limit
from thinkscale.simulation.record import Record


def _options(argv: Sequence[str]) -> argparse.Namespace:
    arguments = parser(
        "simulate",
        "Run one policy in one scenario, in virtual time; with --scenario two-services, the law in "
        "two services under one GPU limit.",
    )
    inputs.add_scenario(arguments)
    arguments.add_argument(
        "--policy",
        default="thinkscale",
        metavar="NAME",
        help=f"one of {', '.join(contestants.names())}; kpa:0.8 for another setting",
    )
    arguments.add_argument(
        "--oracle", action="store_true", help="run the clairvoyant oracle too (about ten runs)"
    )
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    arguments.add_argument("--plot", type=Path, metavar="FILE", help="write a PNG of the run")
    return arguments.parse_args(argv)


def _run(argv: Sequence[str]) -> int:
    options = _options(argv)
    chosen = contestants.parse(options.policy)
    if len(chosen) != 1:
        raise contestants.UnknownPolicy(
            f"{options.policy!r} means {len(chosen)} settings; choose one, or use compare"
        )
    writable(options.json)
    writable(options.plot)
    if options.scenario is not None and shared_limit.is_shared(options.scenario):
        return simulate_shared.run(options)
    if options.plot is not None:
        from thinkscale.simulation import plots
    scenario = inputs.scenario(options)
    with terminal.fraction(f"{chosen[0].label} on {scenario.name}") as progress:
        outcome = contestants.simulate(chosen[0], scenario, progress)
    oracle = None
    if options.oracle:
        with terminal.fraction("oracle") as progress:
            known = contestants.parse(contestants.ORACLE)[0]
            oracle = contestants.simulate(known, scenario, progress).gpu_hours
    made = record.record_of(
        outcome,
        scenario,
        lower_bound_gpu_hours=bounds.lower_bound_gpu_hours(scenario),
        oracle_gpu_hours=oracle,
    )
    terminal.pairs(f"{made['policy']} on {made['scenario']}, seed {made['seed']}", lines(made))
    if options.json is not None:
        options.json.write_text(json.dumps(made, indent=1) + "\n")
    if options.plot is not None:
        plots.timeline(options.plot, outcome, scenario.warm_up_seconds)
        print(f"drawn: {options.plot}", file=sys.stderr)
    return 0


def lines(made: Record) -> list[tuple[str, str]]:
    """A record for people."""

    def percent(key: str) -> str:
        return "none" if made[key] is None else f"{made[key] * 100:.2f} %"

    def seconds(key: str, factor: float = 1.0) -> str:
        marks = made[key]
        return " / ".join("never" if v is None else f"{v * factor:.3g}" for v in marks.values())

    result = [
        ("requests", f"{made['requests']:,}"),
        ("attainment", f"{percent('attainment')} (95 % sure: {percent('attainment_lower_95')})"),
        *(
            (f"  {name}", f"{(v or 0) * 100:.2f} %")
            for name, v in made["attainment_by_slo"].items()
        ),
        ("attainment, clean", percent("attainment_clean")),
        ("worst hour", percent("attainment_worst_hour")),
        ("GPU-hours", f"{made['gpu_hours']:.1f}"),
        ("  by the lower bound's", _times(made["gpu_hours_to_lower_bound"])),
    ]
    if made["oracle_gpu_hours"] is not None:
        result.append(("  by the oracle's", _times(made["gpu_hours_to_oracle"])))
    return [
        *result,
        ("replicas, mean and peak", f"{made['mean_replicas']:.2f}, {made['peak_replicas']}"),
        ("thoughts cut by load", percent("truncated_share")),
        ("tokens withheld", f"{made['withheld_tokens']:,}"),
        *_points(made),
        ("reversals a day", f"{made['reversals_per_day']:.0f}"),
        ("preemptions", f"{made['preemptions']:,}"),
        ("queue, p50/p95/p99 s", seconds("queue_seconds")),
        ("time to first answer, s", seconds("ttfa_seconds")),
        ("time per token, ms", seconds("tpot_seconds", 1000)),
        ("end to end, s", seconds("e2e_seconds")),
    ]


def _points(made: Record) -> list[tuple[str, str]]:
    """Where tiers are known: what cuts have cost."""
    points = made.get("withheld_points")
    return [] if points is None else [("expected score lost", f"{points:,.0f} percent points")]


def _times(ratio: float | None) -> str:
    return "unknown" if ratio is None else f"{ratio:.3f} x"


main = guarded("simulate", _run)
