"""A comparison: which runs it takes, one run, and the folder that remembers those that are done.

Every policy meets the same scenarios with the same seeds, so that runs pair up. Each finished run
is one JSON file; a comparison that was stopped goes on where it was, and one with more seeds or
policies adds only those. A run made by other code than the present is made again: the files carry a
fingerprint of all code that a result depends on.
"""

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import thinkscale
from thinkscale.simulation import bounds, contestants, record
from thinkscale.simulation.choose import is_trace, scenario_of
from thinkscale.simulation.contestants import Contestant
from thinkscale.simulation.record import Record

COUNTED: Final = ("api", "fleet", "model", "scaling", "signals", "simulation")
"""Packages that a result depends on."""
UNCOUNTED: Final = (
    "compare", "fluid", "live", "plots", "profile_fit", "report", "results", "staffing", "whatif",
)  # fmt: skip
"""Modules of the simulation that only talk about results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was asked for."""

    policies: tuple[Contestant, ...]
    scenarios: tuple[str, ...]
    """Names of scenarios, or paths of traces."""
    seeds: tuple[int, ...]
    brownout: bool = True
    traces: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run; picklable, so that a worker process can take it."""

    contestant: Contestant
    scenario: str
    seed: int
    brownout: bool = True
    traces: Path | None = None
    fingerprint: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """The file's name."""
        words = (self.scenario_label, self.contestant.label, f"seed{self.seed}")
        plain = "--".join(re.sub(r"[^A-Za-z0-9.+=-]+", "_", word) for word in words)
        return plain if self.brownout else f"{plain}--no-brownout"

    @property
    def scenario_label(self) -> str:
        """A scenario's name; a trace's file name and a few digits of its content."""
        if not is_trace(self.scenario):
            return self.scenario
        path = Path(self.scenario)
        return f"{path.name}-{_digest_of(path)}"


def jobs(plan: Plan) -> list[Job]:
    """All runs of a plan, seed by seed, so that a stopped comparison has whole pairs."""
    return [
        Job(
            contestant=contestant,
            scenario=name,
            seed=seed,
            brownout=plan.brownout,
            traces=plan.traces,
            fingerprint=fingerprint(),
        )
        for seed in plan.seeds
        for name in plan.scenarios
        for contestant in plan.policies
    ]


def execute(job: Job) -> Record:
    """Make one run. This is what a worker process does."""
    scenario = scenario_of(job.scenario, job.seed, brownout=job.brownout, traces=job.traces)
    outcome = contestants.simulate(job.contestant, scenario)
    made = record.record_of(
        outcome, scenario, lower_bound_gpu_hours=bounds.lower_bound_gpu_hours(scenario)
    )
    return {
        **made,
        "scenario": job.scenario_label,
        "policy": job.contestant.label,
        "family": job.contestant.family,
        "setting": job.contestant.setting,
        "searched": job.contestant.searched,
        "target": min((o.objective for o in scenario.intent.objectives), default=1.0),
        "fingerprint": job.fingerprint,
    }


@functools.cache
def fingerprint() -> str:
    """A digest of all code that a result depends on."""
    root = Path(thinkscale.__file__).parent
    digest = hashlib.sha256()
    for package in COUNTED:
        for path in sorted((root / package).rglob("*")):
            talks = path.parent.name == "simulation" and path.stem in UNCOUNTED
            if path.suffix in (".py", ".json", ".csv", ".gz") and not talks:
                digest.update(str(path.relative_to(root)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def _digest_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    except OSError:
        return "absent"


class Runs:
    """The finished runs of a comparison, one JSON file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def finished(self, wanted: Iterable[Job]) -> dict[str, Record]:
        """By key: those of the wanted that were made by the present code."""
        found = {}
        for job in wanted:
            try:
                known = json.loads((self.folder / f"{job.key}.json").read_text())
            except (OSError, ValueError):
                continue
            if isinstance(known, dict) and known.get("fingerprint") == job.fingerprint:
                found[job.key] = known
        return found

    def keep(self, job: Job, made: Record) -> None:
        """Write a finished run, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{job.key}.json"
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(made, separators=(",", ":")) + "\n")
        unfinished.replace(path)


def beside_oracle(records: Sequence[Record]) -> list[Record]:
    """All records, each with the oracle of its own scenario and seed, where that was run."""
    known = {(r["scenario"], r["seed"]): r["gpu_hours"] for r in records if r["family"] == "oracle"}
    return [record.with_oracle(r, known.get((r["scenario"], r["seed"]))) for r in records]
