"""Control groups of the nodes: one per node under the run's own, in every hierarchy there is.

Both layouts exist in the wild: version 1 (one hierarchy per controller, each with a directory to
make, and cpusets that start empty) and version 2 (one tree, controllers to be switched on from the
top). Removal is the keeper's job.
"""

from pathlib import Path

from e2e.harness.keeper import CGROUP_ROOT

_CONTROLLERS_V2 = ("cpuset", "cpu", "io", "memory", "pids", "hugetlb")


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


def _create_unified(run_group: str, node: str) -> None:
    parent = CGROUP_ROOT
    for name in (run_group, node):
        available = (parent / "cgroup.controllers").read_text().split()
        wanted = " ".join(f"+{name}" for name in _CONTROLLERS_V2 if name in available)
        (parent / "cgroup.subtree_control").write_text(wanted)
        parent = parent / name
        parent.mkdir(exist_ok=True)
