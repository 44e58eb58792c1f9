"""Control groups of the nodes: one per node under the run's own, in every hierarchy there is.

Both layouts exist in the wild: version 1 (one hierarchy per controller, each with a directory to
make, and cpusets that start empty) and version 2 (one tree, controllers to be switched on from the
top). Removal is the keeper's job.
"""

from pathlib import Path

from e2e.harness.keeper import CGROUP_ROOT

_CONTROLLERS_V2 = ("cpuset", "cpu", "io", "memory", "pids", "hugetlb")

CPU_SHARES = 16_384
"""Weight of all nodes together. A process outside has 1,024 by itself, so at the default of 1,024
all pods of a run would share what a single busy process outside gets, and an emulated engine would
miss its steps whenever anything else runs.
"""


def create(run_group: str, node: str) -> str:
    """Make the groups of a node; returns the path that the kubelet takes as its root."""
    if (CGROUP_ROOT / "cgroup.controllers").exists():
        _create_unified(run_group, node)
    else:
        for hierarchy in _hierarchies():
            _create_in(hierarchy, run_group, node)
    return f"/{run_group}/{node}"


def _hierarchies() -> list[Path]:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(fields[1]) for fields in mounts if fields[2] == "cgroup"]


def _create_in(hierarchy: Path, run_group: str, node: str) -> None:
    for group in (hierarchy / run_group, hierarchy / run_group / node):
        group.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (group / name).exists():
                (group / name).write_text((group.parent / name).read_text())
    if (shares := hierarchy / run_group / "cpu.shares").exists():
        shares.write_text(str(CPU_SHARES))


def _create_unified(run_group: str, node: str) -> None:
    parent = CGROUP_ROOT
    for name in (run_group, node):
        available = (parent / "cgroup.controllers").read_text().split()
        wanted = " ".join(f"+{name}" for name in _CONTROLLERS_V2 if name in available)
        (parent / "cgroup.subtree_control").write_text(wanted)
        parent = parent / name
        parent.mkdir(exist_ok=True)
    if (weight := CGROUP_ROOT / run_group / "cpu.weight").exists():
        weight.write_text(str(CPU_SHARES // 1024 * 100))
