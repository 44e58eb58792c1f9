"""A scenario by what a user types: a name with its variants, or the path of a trace."""

from pathlib import Path

from thinkscale.simulation import scenarios, trace
from thinkscale.simulation.scenario import Scenario


def is_trace(name: str) -> bool:
    """Whether a word among the scenarios is a file."""
    return "/" in name or name.endswith((".csv", ".csv.gz"))


def scenario_of(name: str, seed: int, *, brownout: bool, traces: Path | None) -> Scenario:
    """A scenario by name, or a trace on the reference fleet. UnknownScenario, TraceError."""
    if is_trace(name):
        return scenarios.replay(trace.read(Path(name)), seed, brownout=brownout)
    return scenarios.make(name, seed, brownout=brownout, traces=traces)
