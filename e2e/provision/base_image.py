"""The Debian base that stands in for `python:3.11-slim`: debootstrap's minimum plus Python.

Only Debian's own archive is needed, no registry. What a container never reads (documentation,
translations, package lists) is left out: 275 MB become 130.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from e2e.harness import images
from e2e.provision import progress

SUITE = "bookworm"
PACKAGES = "python3,python3-venv"
_UNREAD = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bash-completion",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)


def build() -> None:
    """Make the base's file system archive unless the cache has it."""
    archive = images.base_archive()
    if archive.exists():
        return
    archive.parent.mkdir(parents=True, exist_ok=True)
    with (
        progress.step(f"Making the base of the image from Debian {SUITE}"),
        tempfile.TemporaryDirectory(dir=archive.parent) as scratch,
    ):
        root = Path(scratch) / "root"
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)]
        progress.run("debootstrap", command, environment=_environment())
        for path in _UNREAD:
            shutil.rmtree(root / path, ignore_errors=True)
            (root / path).mkdir(parents=True)
        unfinished = Path(scratch) / "base.tar"
        subprocess.run(
            ["tar", "--numeric-owner", "--one-file-system", "-C", root, "-cf", unfinished, "."],
            check=True,
        )
        unfinished.rename(archive)


def _environment() -> dict[str, str]:
    """debootstrap's helpers live where a user's PATH does not always look."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"}
