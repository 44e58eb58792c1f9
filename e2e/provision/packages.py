"""Debian packages that nodes and image builds need, installed only when missing and said aloud."""

import os
import shutil
from pathlib import Path

from e2e.provision import progress

# Package to something that is there once it is installed.
NEEDED = {
    "containerd": "ctr",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "iproute2": "ip",
    "util-linux": "nsenter",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
}


def missing() -> list[str]:
    """The packages that are not there, whoever would have installed them."""
    return [package for package, proof in NEEDED.items() if not _present(proof)]


def install() -> None:
    """Install what is missing with apt-get; `StepError` when that fails."""
    packages = missing()
    if not packages:
        return
    progress.say(f"Debian packages are missing and will be installed now: {', '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    progress.run("apt-get update", ["apt-get", "update"], environment=environment)
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    progress.run("apt-get install", command, environment=environment)
    if still := missing():
        raise progress.StepError(f"after apt-get install still missing: {', '.join(still)}")


def _present(proof: str) -> bool:
    return Path(proof).exists() if proof.startswith("/") else shutil.which(proof) is not None
