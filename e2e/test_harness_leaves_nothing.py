"""However the harness ends, nothing of its cluster stays on the machine.

A cluster runs in a process of its own, which is then ended in every way a process can end; looked
at are the processes, mounts, control groups, kernel parameters, namespaces and files of the machine
itself.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.harness import eventually, fixtures, keeper
from e2e.harness.cache import REPOSITORY, cache_root
from e2e.harness.node import KERNEL_WISHES

GONE_SECONDS = 20
START_SECONDS = 120
COMPILED_IN = ("/var/lib/kubelet", "/var/lib/cni", "/var/log/containers", "/run/containerd/s")
SCRIPT = """
import json, os, signal, sys
from e2e.harness import LocalCluster
# As at a terminal: a job in the background inherits that SIGINT is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
nodes = int(sys.argv[1])
with LocalCluster(nodes=nodes) as cluster:
    if nodes:
        cluster.kubectl("run", "pod", "--image=localhost/thinkscale:dev",
                        "--image-pull-policy=Never", "--command", "--",
                        "python3", "-c", "import time; time.sleep(1000)")
        cluster.kubectl("wait", "pod/pod", "--for=condition=Ready", "--timeout=60s")
    run = cluster._run
    print(json.dumps({"directory": str(run.directory), "holder": run.holder_pid,
                      "keeper": run._keeper.pid}), flush=True)
    if sys.stdin.readline().strip() == "raise":
        raise RuntimeError("on purpose")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a cluster could have changed on the machine."""

    kernel: dict[str, str]
    paths: dict[str, list[str] | None]
    mounts: list[str]

    @classmethod
    def now(cls) -> "Machine":
        return cls(
            kernel={name: Path("/proc/sys", name).read_text() for name in KERNEL_WISHES},
            paths={path: _listing(Path(path)) for path in COMPILED_IN},
            mounts=[
                line
                for line in Path("/proc/self/mounts").read_text().splitlines()
                if any(word in line for word in ("/runs/", "kubelet", "containerd", "netns"))
            ],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A cluster in a process of its own."""

    process: subprocess.Popen[str]
    directory: Path
    keeper: int
    namespaces: set[str]

    def processes(self) -> list[int]:
        """Every process that is in one of its namespaces or has its directory on its command."""
        entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [int(entry.name) for entry in entries if self._is_ours(entry)]

    def cgroups(self) -> list[Path]:
        name = keeper.cgroup_name(self.directory)
        return [*keeper.CGROUP_ROOT.glob(name), *keeper.CGROUP_ROOT.glob(f"*/{name}")]

    def traces(self) -> dict[str, Any]:
        """What is left of it; empty values when nothing is."""
        return {
            "processes": self.processes(),
            "cgroups": self.cgroups(),
            "files": [self.directory] if self.directory.exists() else [],
        }

    def _is_ours(self, entry: Path) -> bool:
        try:
            if str(self.directory).encode() in (entry / "cmdline").read_bytes():
                return True
            names = ("net", "pid")
            return any(os.readlink(entry / "ns" / name) in self.namespaces for name in names)
        except OSError:
            return False


def _listing(path: Path) -> list[str] | None:
    return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else None


def start(nodes: int) -> Running:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(nodes)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            break
    else:
        pytest.fail("the cluster did not start")
    told = json.loads(line)
    return Running(
        process=process,
        directory=Path(told["directory"]),
        keeper=told["keeper"],
        namespaces={
            os.readlink(f"/proc/{process.pid}/ns/net"),
            os.readlink(f"/proc/{told['holder']}/ns/pid"),
        },
    )


@pytest.fixture
def machine() -> Iterator[Machine]:
    """The machine before; after the test it must be the same."""
    fixtures.require(nodes=True)
    before = Machine.now()
    yield before
    assert Machine.now() == before


def require_no_trace(running: Running) -> None:
    assert running.process.stdin is not None
    assert running.process.stdout is not None
    running.process.wait(START_SECONDS)
    running.process.stdin.close()
    running.process.stdout.close()
    eventually(
        lambda: not any(running.traces().values()),
        GONE_SECONDS,
        f"no trace of the cluster: {running.traces()}",
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_harness_leaves_nothing_of_nodes_and_pods(
    machine: Machine, number: signal.Signals
) -> None:
    running = start(nodes=1)
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in running.processes()}
    assert {"etcd", "kube-apiserver", "kubelet", "containerd"} <= names
    assert running.cgroups()
    running.process.send_signal(number)
    require_no_trace(running)


@pytest.mark.parametrize("how", ["", "raise"])
def test_an_ended_or_failed_harness_leaves_nothing(machine: Machine, how: str) -> None:
    running = start(nodes=1)
    assert running.process.stdin is not None
    running.process.stdin.write(f"{how}\n")
    running.process.stdin.flush()
    require_no_trace(running)
    assert (running.process.returncode != 0) == bool(how)


def test_the_next_run_removes_what_a_killed_keeper_left(machine: Machine) -> None:
    running = start(nodes=1)
    os.kill(running.keeper, signal.SIGKILL)
    running.process.kill()
    eventually(lambda: not running.processes(), GONE_SECONDS, "no process of it")
    assert running.directory.exists()
    keeper.clean_abandoned(cache_root() / "runs")
    require_no_trace(running)
