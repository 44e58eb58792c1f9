"""Loads from recorded days and hours, at the rate of the record or another, drawn anew per seed.

`servegen` replays a day of a provider's deepseek-r1 clients at 0.45 of its rate. From the shipped
day (a tenth of the rate, generated client by client) each ten-minute window is made anew: eight
streams of gamma renewals that come in clumps as the clients do, each of which takes the window's
rows one after another from a random place, so that rate, lengths and their (negative) correlation
move as they did, and rows that came together stay together. From the full day, if its file is in
the directory given, each request is kept with probability 0.45.

The hours of Azure and Mooncake are what was recorded, the same for every seed.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from thinkscale.simulation import trace
from thinkscale.simulation.generate import Values, renewals, stream
from thinkscale.simulation.loads import DAY, WARM_UP_SECONDS, Load
from thinkscale.simulation.workload import Workload

SHIPPED: Final = Path(__file__).resolve().parents[3] / "examples" / "traces"
"""In a clone of the repository; an installed package has no traces."""
SERVEGEN_FULL: Final = "servegen_r1_24h_documented.csv.gz"
SERVEGEN_TENTH: Final = "servegen_r1_24h_x0.1.csv.gz"
SERVEGEN_SHARE: Final = 0.45
WINDOW_SECONDS: Final = 600.0
STREAMS: Final = 8
DISPERSION: Final = 4.0
"""Variance over mean of the counts per minute within a window of the recorded day."""


def servegen(seed: int, traces: Path | None) -> Load:
    """24 h, after the last half hour of the same day as warm-up. TraceError: no file to read."""
    directory = traces or SHIPPED
    rng = stream(seed, "servegen")
    if (directory / SERVEGEN_FULL).exists():
        day = _thinned(rng, trace.read(directory / SERVEGEN_FULL), SERVEGEN_SHARE)
    else:
        tenth = _file(directory, SERVEGEN_TENTH)
        day = _resampled(rng, trace.read(tenth), SERVEGEN_SHARE * 10)
    return Load(workload=_wrapped(day), duration_seconds=WARM_UP_SECONDS + DAY)


def recorded(workload: Workload) -> Load:
    """A trace as it is: up to half an hour of it, and a sixth at most, is warm-up."""
    duration = float(workload.at_seconds[-1]) + 1.0
    return Load(
        workload=workload,
        duration_seconds=duration,
        warm_up_seconds=min(WARM_UP_SECONDS, duration / 6),
    )


def hour(name: str, traces: Path | None) -> Load:
    """A recorded hour by the name of its file. TraceError: there is none."""
    directory = traces or SHIPPED
    plain = directory / f"{name}.csv"
    return recorded(trace.read(plain if plain.exists() else _file(directory, f"{name}.csv.gz")))


def _file(directory: Path, name: str) -> Path:
    path = directory / name
    if not path.exists():
        message = "is missing; give the directory of the traces, examples/traces in a clone"
        raise trace.TraceError(path, None, message)
    return path


def _thinned(rng: np.random.Generator, whole: Workload, share: float) -> Workload:
    return _chosen(whole, np.flatnonzero(rng.uniform(size=len(whole)) < share), None)


def _resampled(rng: np.random.Generator, small: Workload, factor: float) -> Workload:
    places, times = [], []
    edges = np.arange(0.0, DAY + 1.0, WINDOW_SECONDS)
    bounds = np.searchsorted(small.at_seconds, edges)
    for begin, first, last in zip(edges, bounds, bounds[1:], strict=False):
        rate = factor * (last - first) / WINDOW_SECONDS
        for _ in range(STREAMS):
            at = renewals(rng, rate / STREAMS, DISPERSION, WINDOW_SECONDS)
            if len(at):
                start = int(rng.integers(last - first))
                places.append(first + (start + np.arange(len(at))) % (last - first))
                times.append(begin + at)
    at_seconds = np.concatenate(times)
    order = np.argsort(at_seconds, kind="stable")
    return _chosen(small, np.concatenate(places)[order], at_seconds[order])


def _wrapped(day: Workload) -> Workload:
    """The day, after its own last half hour."""
    begin = DAY - WARM_UP_SECONDS
    late = np.flatnonzero(day.at_seconds >= begin)
    at: Values = np.concatenate((day.at_seconds[late] - begin, day.at_seconds + WARM_UP_SECONDS))
    return _chosen(day, np.concatenate((late, np.arange(len(day)))), at)


def _chosen(source: Workload, rows: np.ndarray, at_seconds: Values | None) -> Workload:
    return replace(source.rows(rows, at_seconds), name="servegen")
