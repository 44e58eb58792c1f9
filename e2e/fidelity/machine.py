"""Whether the machine was quiet: what everybody else took of its processors while something ran."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BUSY_FIELDS = (1, 2, 3, 6, 7, 8)
"""user, nice, system, irq, softirq, steal in /proc/stat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Seconds of processor time so far."""

    all_seconds: float
    own_seconds: float
    wall_seconds: float


def busy(pids: Callable[[], list[int]], wall_seconds: float) -> Busy:
    """Now; `pids`: the processes that belong to the measurement, beside this one."""
    ticks = os.sysconf("SC_CLK_TCK")
    words = Path("/proc/stat").read_text().splitlines()[0].split()
    everybody = sum(int(words[field]) for field in BUSY_FIELDS) / ticks
    own = sum(_process_ticks(pid) for pid in [*pids(), os.getpid()]) / ticks
    return Busy(all_seconds=everybody, own_seconds=own, wall_seconds=wall_seconds)


def others_cores(before: Busy, after: Busy) -> float:
    """Processors that others kept busy on average; own processes must have lived all the time."""
    everybody = after.all_seconds - before.all_seconds
    own = after.own_seconds - before.own_seconds
    return max(0.0, everybody - own) / (after.wall_seconds - before.wall_seconds)


def _process_ticks(pid: int) -> int:
    try:
        # The name may hold spaces and parentheses; what follows the last one does not.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])
