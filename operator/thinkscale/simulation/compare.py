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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from thinkscale.simulation import bounds, contestants, oracle_cache, record
from thinkscale.simulation.choose import is_trace, scenario_of
from thinkscale.simulation.contestants import Contestant
from thinkscale.simulation.record import Record


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
        words = [self.scenario_label, self.contestant.label, f"seed{self.seed}"]
        if self.traces is not None:
            words.append(f"traces-{_short(str(self.traces.absolute()).encode())}")
        if not self.brownout:
            words.append("no-brownout")
        return "--".join(re.sub(r"[^A-Za-z0-9.+=-]+", "_", word) for word in words)

    @property
    def scenario_label(self) -> str:
        """A scenario's name; a trace's file name and a few digits of its content."""
        if not is_trace(self.scenario):
            return self.scenario
        path = Path(self.scenario)
        return f"{path.name}-{_digest_of(path)}"


def jobs(plan: Plan) -> list[Job]:
    """All runs of a plan, scenario by scenario and within one seed by seed, so that a stopped
    comparison has whole scenarios, and whole pairs in the one that it stopped in.
    """
    return [
        Job(
            contestant=contestant,
            scenario=name,
            seed=seed,
            brownout=plan.brownout,
            traces=plan.traces,
            fingerprint=fingerprint(),
        )
        for name in plan.scenarios
        for seed in plan.seeds
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
        "target": scenario.target,
        "fingerprint": job.fingerprint,
    }


def fingerprint() -> str:
    """A digest of all code that a result depends on: this module and what it imports."""
    return oracle_cache.sources(__name__)[:12]


@functools.cache
def _digest_of(path: Path) -> str:
    try:
        return _short(path.read_bytes())
    except OSError:
        return "absent"


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


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


def asked(wanted: Iterable[Job], found: Mapping[str, Record]) -> list[Record]:
    """The finished runs of a plan, in its order. Whether a setting was one of many is the plan's
    affair, not the run's: the same run may be asked for by itself another time.
    """
    return [
        {**found[job.key], "searched": job.contestant.searched}
        for job in wanted
        if job.key in found
    ]


def beside_oracle(records: Sequence[Record]) -> list[Record]:
    """All records, each with the oracle of its own scenario and seed, where that was run."""
    known = {(r["scenario"], r["seed"]): r["gpu_hours"] for r in records if r["family"] == "oracle"}
    return [record.with_oracle(r, known.get((r["scenario"], r["seed"]))) for r in records]
