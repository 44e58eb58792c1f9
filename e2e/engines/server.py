"""A server on loopback for as long as a `with` block lasts: the real engine, or the emulator.

The real one gets the first core for its worker, which so plays the GPU, and everything else (HTTP
server, scheduler, and whoever measures) the last one; with a single core they share it. Between its
start and readiness nothing listens: connections are refused, then `/health` answers 200.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.engines import keeper
from e2e.engines.install import Engine
from e2e.provision import progress
from thinkscale.fleet.profile import Profile

SERVED_NAME = "tiny"
HOST = "127.0.0.1"
READY_SECONDS = 600.0
POLL_SECONDS = 0.25
WORKER = "VLLM::Worker"
TAIL_LINES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What an engine may hold."""

    seats: int
    step_tokens: int
    context_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One that runs."""

    url: str
    """Without a path."""
    keeper_pid: int

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return keeper.descendants(self.keeper_pid)

    @property
    def main_pid(self) -> int:
        """The one that listens: it was started first."""
        return self.pids[0]


@contextmanager
def serving(
    name: str, command: Sequence[str], port: int, environment: Mapping[str, str], log: Path
) -> Iterator[Server]:
    """Start a server, wait until it is healthy, and end it; `StepError`: it did not start."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, keeper.__file__, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    assert process.stdin is not None
    url = f"http://{HOST}:{port}"
    try:
        with progress.step(f"Starting {name}"):
            _wait(name, process, url, log)
        yield Server(url=url, keeper_pid=process.pid)
    finally:
        process.stdin.close()
        process.wait()


def _wait(name: str, process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    begun = spoken = time.monotonic()
    while time.monotonic() < begun + READY_SECONDS:
        if process.poll() is not None:
            break
        if _healthy(url):
            return
        if time.monotonic() - spoken >= progress.EVERY_SECONDS:
            spoken = time.monotonic()
            progress.say(f"  {name}: {spoken - begun:.0f} s so far")
        time.sleep(POLL_SECONDS)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
    raise progress.StepError(f"{name} did not start (log: {log}):\n{tail}")


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port: int = taken.getsockname()[1]
        return port


MEASURED = ("--reasoning-parser", "qwen3", "--no-enable-prefix-caching")
"""What is measured is the work, which a prefix cache would save."""


@contextmanager
def real_engine(
    engine: Engine, sizes: Sizes, log: Path, flags: Sequence[str] = MEASURED
) -> Iterator[Server]:
    """vLLM with the tiny model; `flags`: further ones of its own."""
    port = free_port()
    cores = sorted(os.sched_getaffinity(0))
    environment = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": str(cores[0]),
        "PYTHONPATH": "",
        "LD_PRELOAD": str(engine.preload),
    }
    command = [str(engine.vllm), "serve", str(engine.model), "--served-model-name", SERVED_NAME]
    command += ["--host", HOST, "--port", str(port), "--enforce-eager"]
    command += flags
    command += ["--max-model-len", str(sizes.context_tokens)]
    command += ["--max-num-seqs", str(sizes.seats)]
    command += ["--max-num-batched-tokens", str(sizes.step_tokens)]
    with serving("vLLM", command, port, environment, log) as server:
        _separate(server, cores)
        yield server


@contextmanager
def emulator(profile: Profile, plan_field: str, log: Path) -> Iterator[Server]:
    """The emulator with a profile's timing, on the first core; this process goes to the last."""
    port = free_port()
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "thinkscale", "emulator", SERVED_NAME]
    command += ["--host", HOST, "--port", str(port), "--reasoning-parser", "qwen3"]
    command += ["--plan-field", plan_field, "--startup-seconds", str(profile.startup_seconds)]
    command += ["--a0-milliseconds", str(profile.base_seconds * 1e3)]
    command += ["--a1-milliseconds", str(profile.sequence_seconds * 1e3)]
    command += ["--a2-microseconds", str(profile.context_token_seconds * 1e6)]
    command += ["--a3-microseconds", str(profile.prompt_token_seconds * 1e6)]
    command += ["--kv-tokens", str(profile.kv_tokens), "--max-num-seqs", str(profile.seats)]
    command += ["--max-num-batched-tokens", str(profile.step_tokens)]
    with serving("the emulator", command, port, {}, log) as server:
        for pid in server.pids:
            os.sched_setaffinity(pid, {cores[0]})
        os.sched_setaffinity(0, {cores[-1]})
        yield server


def _separate(server: Server, cores: Sequence[int]) -> None:
    """All but the worker, and this process, to the last core."""
    others = [pid for pid in server.pids if WORKER not in _title(pid)]
    for pid in [*others, os.getpid()]:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(task.name), {cores[-1]})


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
