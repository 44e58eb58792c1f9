"""A comparison as people read it: `report.md`, and the same as `report.json`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from thinkscale.simulation.bootstrap import Interval
from thinkscale.simulation.record import Record
from thinkscale.simulation.results import Row, at_equal_attainment


def as_json(
    records: Sequence[Record], table: Sequence[Row], command: str, fingerprint: str
) -> dict[str, Any]:
    """The whole comparison as plain data: tables (`results.rows`), then every run without its
    blocks.
    """
    return {
        "command": command,
        "code_fingerprint": fingerprint,
        "rows": [asdict(row) for row in table],
        "at_equal_attainment": [asdict(row) for row in at_equal_attainment(table)],
        "runs": [{k: v for k, v in made.items() if k != "blocks"} for made in records],
    }


def markdown(table: Sequence[Row], command: str, fingerprint: str, plots: Mapping[str, str]) -> str:
    """The report; `plots`: a picture's path by scenario, relative to the report."""
    parts = [_head(table, command, fingerprint), _overview(table), _equal_table(table)]
    for scenario in dict.fromkeys(row.scenario for row in table):
        mine = [row for row in table if row.scenario == scenario]
        parts.append(_scenario_section(scenario, mine, plots.get(scenario)))
    return "\n\n".join(parts) + "\n"


def _head(table: Sequence[Row], command: str, fingerprint: str) -> str:
    seeds = sorted({seed for row in table for seed in row.seeds})
    return (
        "# Comparison\n\n"
        f"Made by `{command}` with code {fingerprint}; seeds {', '.join(map(str, seeds))}. "
        "Attainment is the share of requests that met all objectives, by arrival; what never "
        "finished is a miss. *Clean*: a request whose thought was cut is a miss too. GPU-hours "
        "count replicas from order to removal, boot and drain included. The oracle knows the "
        "future, has engines' own queues and cuts nobody; the bound no scheduler can undercut. "
        "Intervals are 95 %, by bootstrap over blocks (hours of several seeds, ten minutes of a "
        "single one), paired on the same requests; *low* is a one-sided 95 % lower bound."
    )


def _overview(table: Sequence[Row]) -> str:
    """Attainment and GPU-hours of every policy's single setting, scenarios as columns."""
    scenarios = list(dict.fromkeys(row.scenario for row in table))
    chosen = {(row.policy, row.scenario): row for row in table if not row.searched}
    policies = list(dict.fromkeys(policy for policy, _ in chosen))
    lines = []
    for policy in policies:
        cells = []
        for scenario in scenarios:
            row = chosen.get((policy, scenario))
            cells.append("" if row is None else f"{_percent(row.attainment)} @ {_cost(row)}")
        lines.append([policy, *cells])
    title = "## One setting for all scenarios: attainment @ GPU-hours by the oracle's\n\n"
    return title + _table(["policy", *scenarios], lines)


def _cost(row: Row) -> str:
    if row.gpu_hours_to_oracle is None:
        return f"{row.gpu_hours:.1f} h"
    return f"{row.gpu_hours_to_oracle:.3f}"


def _equal_table(table: Sequence[Row]) -> str:
    found = at_equal_attainment(table)
    lines = [
        [
            e.scenario,
            e.family,
            _percent(e.target),
            "not reached" if e.gpu_hours is None else f"{e.gpu_hours:.1f}",
            _times(e.gpu_hours_to_oracle),
            _times(e.gpu_hours_to_thinkscale),
            str(e.settings),
            _percent(e.best_attainment),
        ]
        for e in found
    ]
    head = ["scenario", "policy", "target", "GPU-hours", "/ oracle", "/ thinkscale",
            "settings tried", "best attainment"]  # fmt: skip
    return "## At equal attainment\n\n" + _table(head, lines)


def _scenario_section(scenario: str, mine: Sequence[Row], plot: str | None) -> str:
    head = ["policy", "attainment", "low", "clean", "worst hour", "minus thinkscale, points",
            "GPU-hours", "/ oracle", "/ bound", "/ thinkscale", "cut", "withheld tokens",
            "reversals a day", "preemptions", "queue p50/p99 s", "TTFA p50/p99 s",
            "TPOT p50/p99 ms", "E2E p50/p99 s"]  # fmt: skip
    picture = f"![Attainment against GPU-hours in {scenario}]({plot})\n\n" if plot else ""
    return f"## {scenario}\n\n{picture}" + _table(head, [_cells(row) for row in mine])


def _cells(row: Row) -> list[str]:
    pace = row.latencies_seconds["tpot_seconds"]
    milliseconds = {k: None if v is None else v * 1000 for k, v in pace.items()}
    difference = row.attainment_minus_thinkscale
    return [
        _name(row),
        _percent(row.attainment),
        _percent(row.attainment_lower_95),
        _percent(row.attainment_clean),
        _percent(row.attainment_worst_hour),
        "" if difference is None else _bracketed(difference, scale=100, digits=2),
        f"{row.gpu_hours:.1f}",
        _times(row.gpu_hours_to_oracle),
        _times(row.gpu_hours_to_lower_bound),
        "" if row.gpu_hours_to_thinkscale is None else _bracketed(row.gpu_hours_to_thinkscale),
        _percent(row.truncated_share),
        f"{row.withheld_tokens:,.0f}",
        "" if row.reversals_per_day is None else f"{row.reversals_per_day:.0f}",
        f"{row.preemptions:,.0f}",
        _two(row.latencies_seconds["queue_seconds"]),
        _two(row.latencies_seconds["ttfa_seconds"]),
        _two(milliseconds),
        _two(row.latencies_seconds["e2e_seconds"]),
    ]


def _name(row: Row) -> str:
    """With its setting, where that is not typed but chosen for it."""
    typed = not row.setting or row.setting in row.policy
    return row.policy if typed else f"{row.policy} ({row.setting})"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *(["---:"] * (len(head) - 1))]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def _bracketed(interval: Interval, scale: float = 1.0, digits: int = 3) -> str:
    values = (interval.estimate, interval.low, interval.high)
    middle, low, high = (f"{value * scale:.{digits}f}" for value in values)
    return f"{middle} [{low}, {high}]"


def _percent(share: float | None) -> str:
    return "" if share is None or math.isnan(share) else f"{share * 100:.2f} %"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3f}"


def _two(values: Mapping[str, float | None]) -> str:
    return " / ".join("never" if (v := values[at]) is None else f"{v:.3g}" for at in ("p50", "p99"))
