"""What the measurements come to: medians over rounds, ratios, and what makes a run void. Pure."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.gateway.generator import Measured

MANY = 1_000
COALESCED_SHARE = 0.001
"""A client that reads late finds two events; more than this is a proxy that puts them together."""


@dataclass(slots=True, kw_only=True)
class Results:
    """All that was measured, by what and by whom."""

    load_before: float
    load_after: float = 0.0
    real_time: bool = False
    runs: dict[tuple[str, str], list[Measured]] = field(default_factory=lambda: defaultdict(list))
    idle_kilobytes: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, what: str, name: str, measured: Measured) -> None:
        """One measurement."""
        self.runs[what, name].append(measured)
        told = measured.told
        wrong = {key: told[key] for key in ("disordered", "broken") if told[key]}
        if told["coalesced"] > COALESCED_SHARE * told["events"] and name != "litellm":
            wrong["coalesced"] = told["coalesced"]
        if wrong:
            self.faults.append(f"{what} through {name}: {wrong}")

    def of(self, what: str, name: str, key: str) -> float:
        """The median of one of the generator's figures."""
        return median(float(run.told[key]) for run in self.runs[what, name])

    def cpu(self, name: str) -> float:
        """Median CPU time of an event, in microseconds."""
        return median(run.cpu_microseconds_per_event for run in self.runs["paced", name])

    def kilobytes_per_stream(self, name: str) -> float:
        """Resident memory that each of many streams takes."""
        run = self.runs["many", name][0]
        return (run.memory_kilobytes - self.idle_kilobytes[name]) / MANY

    def summary(self) -> dict[str, Any]:
        """The ratios that are asked for, and what they are made of."""
        runs = [*self.runs["paced", "gateway"], *self.runs["many", "gateway"]]
        summary: dict[str, Any] = {
            "cpu_vs_nginx": self.cpu("gateway") / self.cpu("nginx"),
            "p50_vs_nginx": self._ratio("paced", "p50_microseconds"),
            "p99_vs_nginx": self._ratio("paced", "p99_microseconds"),
            "ttfb_vs_nginx": self._ratio("single", "first_byte_p50_microseconds"),
            "kilobytes_per_stream": self.kilobytes_per_stream("gateway"),
            "max_stall_milliseconds": max(run.told["max_microseconds"] for run in runs) / 1e3,
            "p999_milliseconds": self.of("many", "gateway", "p999_microseconds") / 1e3,
        }
        if ("paced", "litellm") in self.runs:
            summary["cpu_vs_litellm"] = self.cpu("gateway") / self.cpu("litellm")
        summary = {key: round(value, 3) for key, value in summary.items()}
        names = [name for what, name in self.runs if what == "paced"]
        summary["medians"] = {name: self._medians(name) for name in names}
        summary["real_time"] = self.real_time
        summary["load_average"] = [round(self.load_before, 2), round(self.load_after, 2)]
        summary["faults"], summary["notes"] = self.faults, self.notes
        return summary

    def _ratio(self, what: str, key: str) -> float:
        return self.of(what, "gateway", key) / self.of(what, "nginx", key)

    def _medians(self, name: str) -> dict[str, float]:
        medians = {
            key: round(self.of("paced", name, key), 1)
            for key in ("events", "p50_microseconds", "p99_microseconds", "p999_microseconds")
        }
        medians["first_byte_microseconds"] = self.of("single", name, "first_byte_p50_microseconds")
        at_load = self.of("paced", name, "first_byte_p50_microseconds")
        medians["first_byte_at_load_microseconds"] = round(at_load, 1)
        if name != "direct":
            medians["cpu_microseconds_per_event"] = round(self.cpu(name), 1)
        if name in self.idle_kilobytes:
            medians["kilobytes_per_stream"] = round(self.kilobytes_per_stream(name), 1)
            medians["of_many_p999_microseconds"] = self.of("many", name, "p999_microseconds")
        return medians


def lines(results: Results) -> Iterator[str]:
    """For people."""
    summary = results.summary()
    for name, medians in summary.pop("medians").items():
        told = ", ".join(f"{key} {value:g}" for key, value in medians.items())
        yield f"{name:<8} {told}"
    for key, value in summary.items():
        yield f"{key:<24} {value}"
