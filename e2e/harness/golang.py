"""The parts of the cluster that are built from Go modules, pinned under `e2e/go/`.

Three modules and not one, because their dependencies disagree about k8s.io versions. The key of a
build is all that went in: go.mod, go.sum, the compiler and the flags. Must not know where binaries
are used.

NB: `go install PACKAGE@VERSION` is no way to get Kubernetes or etcd (their go.mod has replace
directives, which it refuses); as `tool` dependencies of a module of ours they build.
"""

import functools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from e2e.harness.cache import REPOSITORY, cache_root, key_of

BUILD_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOTOOLCHAIN": "local",
    "GOFLAGS": "-mod=readonly",
    "GOGC": "off",
}
"""GOGC=off spares a seventh of the compiler's time for 0.7 GB a compile."""
_BUILD_DATE = "2026-01-01T00:00:00Z"
_NO_COMMIT = "0" * 40


@dataclass(frozen=True, slots=True, kw_only=True)
class GoModule:
    """One module under `e2e/go/` and the binaries that are built from it, in this order."""

    name: str
    binaries: dict[str, str]
    """Name of the binary to its main package."""

    @property
    def directory(self) -> Path:
        """Where its go.mod lies."""
        return REPOSITORY / "e2e" / "go" / self.name

    def linker_flags(self) -> str:
        """Flags for `-ldflags`; a server that does not know its version fails version checks."""
        flags = "-s -w"
        if self.name == "helm":
            return flags + self._helm_flags()
        if self.name != "kubernetes":
            return flags
        version = pinned_version(self.directory / "go.mod", "k8s.io/kubernetes")
        major, minor = version.lstrip("v").split(".")[:2]
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            values = {
                "gitVersion": version,
                "gitMajor": major,
                "gitMinor": minor,
                "gitTreeState": "clean",
                "gitCommit": _NO_COMMIT,
                "buildDate": _BUILD_DATE,
            }
            flags += "".join(f" -X {package}.{name}={value}" for name, value in values.items())
        return flags

    def _helm_flags(self) -> str:
        """As Helm's own Makefile: without them `helm template` takes the cluster for v1.20."""
        go_mod = self.directory / "go.mod"
        version = pinned_version(go_mod, "helm.sh/helm/v3")
        minor = pinned_version(go_mod, "k8s.io/client-go").split(".")[1]
        flags = f" -X helm.sh/helm/v3/internal/version.version={version}"
        for package in ("lint/rules", "chartutil"):
            flags += f" -X helm.sh/helm/v3/pkg/{package}.k8sVersionMajor=1"
            flags += f" -X helm.sh/helm/v3/pkg/{package}.k8sVersionMinor={minor}"
        return flags


MODULES = (
    GoModule(
        name="kubernetes",
        binaries={
            "etcd": "go.etcd.io/etcd/server/v3",
            "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
            "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
            "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
            "kubectl": "k8s.io/kubernetes/cmd/kubectl",
            "kubelet": "k8s.io/kubernetes/cmd/kubelet",
            "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
        },
    ),
    GoModule(name="helm", binaries={"helm": "helm.sh/helm/v3/cmd/helm"}),
    GoModule(name="coredns", binaries={"coredns": "github.com/coredns/coredns"}),
)


def pinned_version(go_mod: Path, module: str) -> str:
    """The version of `module` that a go.mod requires."""
    found = re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", go_mod.read_text(), re.M)
    if found is None:
        raise ValueError(f"{go_mod} does not require {module}")
    return found[1]


@functools.cache
def compiler() -> str:
    """What `go version` says, or nothing when there is no Go (then a build is impossible)."""
    try:
        done = subprocess.run(["go", "version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def binary_directory(name: str) -> Path:
    """Where the binaries of a module are, or would be once built."""
    module = next(module for module in MODULES if module.name == name)
    environment = [f"{key}={value}" for key, value in sorted(BUILD_ENVIRONMENT.items())]
    packages = [f"{binary}={package}" for binary, package in module.binaries.items()]
    key = key_of(
        texts=[compiler(), module.linker_flags(), *environment, *packages],
        files=[module.directory / "go.mod", module.directory / "go.sum"],
    )
    return cache_root() / "go" / f"{name}-{key}"
