"""Python programs to compare with, each in a virtual environment of its own in the cache.

They pin whole stacks that would clash with the project's. An environment's key covers what was
asked for and the Python; `complete` is written last, and without it the place is made anew.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from e2e.harness.cache import REPOSITORY, cache_root, exclusively, key_of
from e2e.provision import progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is installed, and how large it is."""

    name: str
    requirement: str
    download_megabytes: int
    disk_megabytes: int
    hint: str = ""
    """What to do about the size."""


def installed(program: Program) -> Path:
    """The environment's `bin`, installed if need be; says first how large it is.

    `StepError` says what failed.
    """
    place = cache_root() / program.name / key_of([program.requirement, sys.version])
    with exclusively(program.name):
        if not (place / "complete").exists():
            progress.say(
                f"{program.requirement} is not there: it downloads about "
                f"{program.download_megabytes} MB and takes {program.disk_megabytes} MB in "
                f"{place}{program.hint}"
            )
            shutil.rmtree(place, ignore_errors=True)
            pip = [str(place / "bin" / "pip"), "install", "--no-cache-dir", program.requirement]
            progress.run(f"{program.name} venv", [sys.executable, "-m", "venv", str(place)])
            progress.run(f"{program.name} install", pip, directory=REPOSITORY)
            (place / "complete").touch()
    return place / "bin"
