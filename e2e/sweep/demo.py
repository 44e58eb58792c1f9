"""The two sweeps of the demo, and what they prove together.

The first one asks the engine itself and reuses prefixes. The second one asks the gateway, one
forced request for each budget, on fewer rows. At temperature 0 both must come to the same verdict
for the same row at the same budget: then cutting a trace is as good as forcing a budget, and the
gateway loses and invents nothing on the way.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.engines.install import VLLM_VERSION, Engine
from e2e.harness.cache import REPOSITORY
from e2e.provision.progress import StepError, step
from e2e.sweep import served

DATASET = REPOSITORY / "examples" / "datasets" / "chains.jsonl"
BUDGETS = ("0", "32", "64", "128", "256", "512", "none")
MINIMUMS = ("32", "64", "128")
RATE = "100"
FORCED_ROWS = 300
CONCURRENCY = "48"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Verdicts of both ways, one by one."""

    compared: int
    same: int
    by_budget: dict[str, float]

    @property
    def share(self) -> float:
        """Of equal verdicts."""
        return self.same / max(1, self.compared)


def run(engine: Engine, out: Path, logs: Path) -> dict[str, Any]:
    """Both sweeps; returns the figures. `StepError`: something did not run."""
    out.mkdir(parents=True, exist_ok=True)
    few = out / "forced.jsonl"
    lines = DATASET.read_text().splitlines(keepends=True)
    few.write_text("".join(lines[:FORCED_ROWS]))
    with served.engine_with_reasoner(engine, logs / "sweep-engine.log") as server:
        reused = out / "reuse"
        minimums = ["--minimums", ",".join(MINIMUMS)]
        begun = time.monotonic()
        _sweep("by prefix reuse, at the engine", server.url, DATASET, reused, minimums)
        reuse_seconds = time.monotonic() - begun
        load = [*minimums, "--rate", RATE]  # the same answers, asked no second time
        _sweep("again, for what it costs to serve", server.url, DATASET, reused, load)
        with served.gateway_before(server, out) as url:
            forced = out / "forced"
            begun = time.monotonic()
            independent = ["--method", "independent"]
            _sweep("by forced runs, through the gateway", url, few, forced, independent)
            forced_seconds = time.monotonic() - begun
    return figures(reused, forced, reuse_seconds, forced_seconds)


def _sweep(name: str, url: str, dataset: Path, out: Path, more: Sequence[str]) -> None:
    command = [sys.executable, "-m", "thinkscale", "sweep", "--endpoint", url]
    command += ["--dataset", str(dataset), "--budgets", ",".join(BUDGETS), "--temperature", "0"]
    command += ["--concurrency", CONCURRENCY, "--answer-tokens", "32", "--out", str(out), *more]
    with step(f"Sweeping {name}"):
        if code := subprocess.run(command, check=False).returncode:
            raise StepError(f"the sweep {name} ended with {code}")


def figures(
    reused: Path, forced: Path, reuse_seconds: float, forced_seconds: float
) -> dict[str, Any]:
    """What a reader asks first; the whole of it is in the reports beside."""
    report = json.loads((reused / "report.json").read_text())
    other = json.loads((forced / "report.json").read_text())
    agreement = agreement_of(_verdicts(reused), _verdicts(forced))
    answers = report["rows"] * len(report["levels"])
    return {
        "engine": f"vLLM {VLLM_VERSION} on CPU",
        "rows": report["rows"],
        "points": report["points"],
        "recommended_max_tokens": report["recommended_max_tokens"],
        "recommended_min_tokens": report["recommended_min_tokens"],
        "tokens_saved_share": report["tokens_saved_share"],
        "use_cases": {
            case["use_case"]: {
                name: case[name]
                for name in (
                    "rows",
                    "recommended_max_tokens",
                    "recommended_min_tokens",
                    "tokens_saved_share",
                )
            }
            for case in report["cases"][1:]
        },
        "minimums": report["minimums"],
        "reuse_speedup": report["spent"]["reuse_speedup"],
        "reuse_answers_per_second": round(answers / reuse_seconds, 2),
        "forced_answers_per_second": round(
            other["rows"] * len(other["levels"]) / forced_seconds, 2
        ),
        "reuse_agreement": round(agreement.share, 5),
        "agreement_compared": agreement.compared,
        "agreement_by_budget": agreement.by_budget,
        "gateway_points": other["points"],
        "trade": report["trade"],
        "seconds": {"reuse": round(reuse_seconds, 1), "forced": round(forced_seconds, 1)},
    }


Verdicts = dict[tuple[str, str], bool]
"""By row and budget."""


def _verdicts(directory: Path) -> Verdicts:
    lines = (directory / "answers.jsonl").read_text().splitlines()
    answers = [json.loads(line) for line in lines]
    return {(one["id"], one["budget"]): one["right"] for one in answers}


def agreement_of(one: Verdicts, other: Verdicts) -> Agreement:
    """Of the rows and budgets that both have."""
    both = sorted(one.keys() & other.keys())
    same = {key: one[key] == other[key] for key in both}
    budgets = dict.fromkeys(budget for _, budget in both)
    by_budget = {
        budget: round(_mean([same[key] for key in both if key[1] == budget]), 5)
        for budget in sorted(budgets, key=BUDGETS.index)
    }
    return Agreement(compared=len(both), same=sum(same.values()), by_budget=by_budget)


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values)
