"""Quality debt: the expected score that a brown-out gives up, with and without knowing its price.

Two tiers with half of the arrivals each, one that hardly needs its late thoughts and one that does.
The same requests meet the law twice: once it is told the tiers' scores, once not, so that it closes
by age alone. Both are scored by the lengths that the requests truly had. Beside it stands the least
that had to be given up for the tokens that the second run has withheld (`score_bound`).

Fleets: `gpu-limit-8+tiers` around noon, when it is two replicas too small, and `small-fleet` at
several rates, where the limit binds in waves. Prints JSON and fails unless, for each fleet and all
seeds together, the informed rule gives up at most half of the other's score and its late requests
are no more than the other's by two standard errors of the difference: one seed has a dozen late
requests, and alone it says nothing about attainment.
Run: `python -m benchmarks.quality_debt [--scenario small-fleet] [--seeds 1,2,3]`.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks import score_bound, small_fleet
from thinkscale.simulation import scenarios, two_tiers
from thinkscale.simulation.loads import HOUR, WARM_UP_SECONDS
from thinkscale.simulation.ours import thinkscale
from thinkscale.simulation.run import Simulation
from thinkscale.simulation.scenario import Scenario

NOON_SECONDS = WARM_UP_SECONDS + 12 * HOUR
MOST_SHARE = 0.5
ERRORS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What one run came to."""

    attainment: float
    requests: int
    cut: int
    withheld_tokens: int
    points: dict[str, float]
    """Expected score given up, percent points by tier, by the true lengths."""
    least_points: float
    """That had to be given up at least for the tokens withheld."""
    counted_points: float
    """The same as the gateways counted it in the scored time, by the law's life table."""


def around_noon(scenario: Scenario, hours: float) -> Scenario:
    """So many hours around the peak, after a warm-up of the usual length."""
    load = scenario.workload
    begin = NOON_SECONDS - hours * HOUR / 2 - WARM_UP_SECONDS
    duration = WARM_UP_SECONDS + hours * HOUR
    kept = (load.at_seconds >= begin) & (load.at_seconds < begin + duration)
    workload = load.rows(kept, load.at_seconds[kept] - begin)
    return replace(
        scenario,
        workload=workload,
        duration_seconds=duration,
        warm_up_seconds=WARM_UP_SECONDS,
        initial_replicas=scenarios.initial_replicas(
            workload, scenario.profile, scenario.intent, WARM_UP_SECONDS
        ),
    )


def made(scenario: Scenario) -> Made:
    """One run of our law."""
    simulation = Simulation(scenario, thinkscale)
    simulation.advance(scenario.warm_up_seconds)
    before = _counted(simulation)
    simulation.advance(math.inf)
    outcome = simulation.outcome("thinkscale")
    requests = outcome.requests
    return Made(
        attainment=outcome.attainment,
        requests=len(requests.cut),
        cut=int(requests.cut.sum()),
        withheld_tokens=int(requests.withheld_tokens.sum()),
        points=two_tiers.points_given_up(scenario, requests),
        least_points=score_bound.least_points(scenario, requests),
        counted_points=_counted(simulation) - before,
    )


def _counted(simulation: Simulation) -> float:
    return sum(books.withheld_millipoints for books in simulation.books) / 1000


def blind(scenario: Scenario) -> Scenario:
    """The same, and the law is not told what the tiers score."""
    return replace(scenario, intent=replace(scenario.intent, tiers=()))


def compared(scenario: Scenario) -> dict[str, Any]:
    """Both on the same requests."""
    informed, other = made(scenario), made(blind(scenario))
    return {
        "scenario": scenario.name,
        "seed": scenario.seed,
        "requests": informed.requests,
        **_columns("informed", informed),
        **_columns("blind", other),
        "informed_counted_points": round(informed.counted_points, 1),
        "points_share": _share(_points(informed), _points(other)),
        "least_points": round(other.least_points, 1),
        "least_share": _share(other.least_points, _points(other)),
    }


def _columns(name: str, run: Made) -> dict[str, Any]:
    return {
        f"{name}_attainment": round(run.attainment, 5),
        f"{name}_late": round((1 - run.attainment) * run.requests),
        f"{name}_cut": run.cut,
        f"{name}_withheld_tokens": run.withheld_tokens,
        f"{name}_points": {tier: round(points, 1) for tier, points in run.points.items()},
    }


def _points(run: Made) -> float:
    return sum(run.points.values())


def _share(part: float, whole: float) -> float | None:
    """None: the other gave nothing up, so there is nothing to halve."""
    return round(part / whole, 4) if whole > 0 else None


def verdict(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of all seeds of one fleet. Late are counts of rare events: differences vary by the root of
    the sum.
    """
    informed = sum(sum(row["informed_points"].values()) for row in rows)
    other = sum(sum(row["blind_points"].values()) for row in rows)
    least = sum(row["least_points"] for row in rows)
    shares = [row["points_share"] for row in rows if row["points_share"] is not None]
    share = _share(informed, other)
    more = sum(row["informed_late"] - row["blind_late"] for row in rows)
    error = math.sqrt(sum(row["informed_late"] + row["blind_late"] for row in rows))
    return {
        "scenario": rows[0]["scenario"],
        "points_share": share,
        "points_share_worst": max(shares, default=None),
        "least_share": _share(least, other),
        "late_more": more,
        "late_more_standard_error": round(error, 1),
        "holds": share is not None and share <= MOST_SHARE and more <= ERRORS * error,
    }


def fleets(options: argparse.Namespace) -> list[list[Scenario]]:
    """By fleet, a scenario for each seed."""
    seeds = [int(seed) for seed in options.seeds.split(",")]
    if options.scenario == small_fleet.NAME:
        rates = [float(rate) for rate in options.rates.split(",")]
        return [[small_fleet.scenario(seed, rate) for seed in seeds] for rate in rates]
    name = f"{options.scenario}+tiers"
    return [[around_noon(scenarios.make(name, seed), options.hours) for seed in seeds]]


def main(argv: Sequence[str]) -> int:
    """Prints a row for each seed and the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--scenario", default="gpu-limit-8", help="whose peak is at noon; or small-fleet"
    )
    parser.add_argument("--hours", type=float, default=1.0, help="scored, around the peak")
    parser.add_argument("--rates", default="1.75,1.85,1.95,2.05,2.2", help="of small-fleet")
    parser.add_argument("--seeds", default="1,2,3", help="separated by commas")
    rows, found = [], []
    for fleet in fleets(parser.parse_args(argv)):
        of_fleet = []
        for scenario in fleet:
            of_fleet.append(compared(scenario))
            print(json.dumps(of_fleet[-1]), file=sys.stderr, flush=True)
        rows += of_fleet
        found.append(verdict(of_fleet))
    print(json.dumps({"rows": rows, "verdicts": found}, indent=1))
    return 0 if all(each["holds"] for each in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
