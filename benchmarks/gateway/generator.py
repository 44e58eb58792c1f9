"""Drives the load generator (C, in this directory) and takes a process's CPU time around it.

CPU time is the scheduler's own, in nanoseconds, of all threads of the process.
"""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCES = ("load.c", "engine.c", "clients.c")
LOAD_CORE = 0
_HERE = Path(__file__).parent


class NoCompiler(RuntimeError):
    """There is no gcc."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of the generator."""

    streams: int = 0
    """At once; 0: one request after the other on one connection."""
    repeat: int = 0
    rate: float = 1000.0
    """Tokens a second of each stream."""
    ramp_seconds: float = 0.0
    window_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of it."""

    told: dict[str, Any]
    """The generator's own figures."""
    cpu_seconds: float
    """Of the process that was measured, within the window."""
    wall_seconds: float
    memory_kilobytes: int
    """Resident at the beginning of the window, with all streams open."""

    @property
    def cpu_microseconds_per_event(self) -> float:
        """Of the process that was measured."""
        return 1e6 * self.cpu_seconds / max(1, int(self.told["events"]))


class Generator:
    """The running generator, and the engine in it."""

    def __init__(self, place: Path, engine_port: int) -> None:
        """Compile and start it."""
        if shutil.which("gcc") is None:
            raise NoCompiler("the load generator needs gcc; install Debian's build-essential")
        binary = place / "load"
        sources = [str(_HERE / name) for name in SOURCES]
        subprocess.run(["gcc", "-O2", "-o", str(binary), *sources], check=True)
        self._process = subprocess.Popen(
            ["taskset", "--cpu-list", str(LOAD_CORE), str(binary), str(engine_port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    @property
    def pid(self) -> int:
        """Of the generator."""
        return self._process.pid

    def run(self, port: int, load: Load, pid: int) -> Measured:
        """Put a load on this port; the CPU time is that of `pid`."""
        process = self._process
        assert process.stdin is not None
        process.stdin.write(
            f"{port} {load.streams} {load.repeat} {load.rate} {load.ramp_seconds} "
            f"{load.window_seconds}\n"
        )
        process.stdin.flush()
        cpu, begun, used, lasted, memory = 0.0, 0.0, 0.0, 0.0, 0
        while (line := self._line()).isalpha():
            if line == "window":
                cpu, begun = cpu_seconds(pid), time.monotonic()
                memory = memory_kilobytes(pid)
            else:
                used, lasted = cpu_seconds(pid) - cpu, time.monotonic() - begun
        told = json.loads(line)
        return Measured(told=told, cpu_seconds=used, wall_seconds=lasted, memory_kilobytes=memory)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError("the load generator is gone")
        return line


def cpu_seconds(pid: int) -> float:
    """Time on a core of all of a process's threads."""
    threads = Path(f"/proc/{pid}/task")
    return sum(int(thread.read_text().split()[0]) for thread in threads.glob("*/schedstat")) / 1e9


def memory_kilobytes(pid: int) -> int:
    """Resident memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def in_real_time(pid: int) -> bool:
    """Keep other work of the machine from a process; False: that is not allowed."""
    try:
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))
    except (PermissionError, OSError):
        return False
    return True
