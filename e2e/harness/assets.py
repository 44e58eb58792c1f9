"""Which binaries a cluster is made of, and where they are: the environment contract of envtest.

For each binary, first found wins: `TEST_ASSET_<NAME>` (a file), `KUBEBUILDER_ASSETS` (a directory),
`/usr/local/kubebuilder/bin`, the project's cache (what `make install` builds). What envtest
downloads has only etcd, kube-apiserver and kubectl, so a missing kubelet is not an error by itself:
it leaves API-level tests possible. Whoever needs more asks with `require`, and gets told.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from e2e.harness.golang import MODULES, binary_directory

API_BINARIES = ("etcd", "kube-apiserver", "kubectl")
CONTROLLER_BINARIES = ("kube-controller-manager", "kube-scheduler")
NODE_BINARIES = ("kubelet", "kube-proxy", "coredns", "helm")
NODE_PROGRAMS = ("containerd", "ctr", "runc", "iptables", "conntrack", "nsenter", "unshare", "ip")
CNI_DIRECTORY = Path("/usr/lib/cni")


class MissingAssetsError(RuntimeError):
    """Something a cluster is made of is not on this machine; says what and how to get it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """The binaries found, by name."""

    binaries: dict[str, Path]

    def path(self, name: str) -> str:
        """The file of one binary; `MissingAssetsError` if there is none."""
        if name not in self.binaries:
            raise MissingAssetsError(f"{name} is missing: run `make install`")
        return str(self.binaries[name])

    def optional(self, name: str) -> str | None:
        """The file of one binary, or None."""
        return str(self.binaries[name]) if name in self.binaries else None

    def missing_for_control_plane(self) -> list[str]:
        """What keeps etcd, the API server and the controllers from starting."""
        return [name for name in API_BINARIES + CONTROLLER_BINARIES if name not in self.binaries]

    def missing_for_nodes(self) -> list[str]:
        """What, beyond the control plane, keeps real nodes from starting."""
        missing = [name for name in NODE_BINARIES if name not in self.binaries]
        missing += [name for name in NODE_PROGRAMS if shutil.which(name) is None]
        if not (CNI_DIRECTORY / "bridge").exists():
            missing.append("containernetworking-plugins")
        if os.geteuid() != 0:
            missing.append("root")
        return missing

    def require(self, *, nodes: bool) -> None:
        """Raises `MissingAssetsError` when a cluster with or without nodes cannot start."""
        missing = self.missing_for_control_plane()
        if nodes:
            missing += self.missing_for_nodes()
        if missing:
            kind = "a cluster with nodes" if nodes else "a control plane"
            raise MissingAssetsError(
                f"{kind} needs what is missing here: {', '.join(missing)}; run `make install`"
            )


def use_existing_cluster() -> bool:
    """Whether the environment asks for the cluster of the current kubeconfig."""
    return os.environ.get("USE_EXISTING_CLUSTER", "").lower() in ("1", "true", "yes")


def must_not_skip() -> bool:
    """In CI a missing part fails the run instead of skipping tests."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def find() -> Assets:
    """Look for every binary; never fails."""
    found = {}
    for module in MODULES:
        for binary in module.binaries:
            for candidate in _candidates(binary, module.name):
                if candidate.is_file() and os.access(candidate, os.X_OK):
                    found[binary] = candidate
                    break
    return Assets(binaries=found)


def _candidates(binary: str, module: str) -> list[Path]:
    candidates = []
    if file := os.environ.get(f"TEST_ASSET_{binary.upper().replace('-', '_')}"):
        candidates.append(Path(file))
    if directory := os.environ.get("KUBEBUILDER_ASSETS"):
        candidates.append(Path(directory) / binary)
    candidates.append(Path("/usr/local/kubebuilder/bin") / binary)
    candidates.append(binary_directory(module) / binary)
    return candidates
