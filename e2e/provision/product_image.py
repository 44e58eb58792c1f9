"""Builds the product's image from the one Containerfile and exports it for the nodes.

The same Containerfile builds on `python:3.11-slim` for whoever has a registry; here it builds on
the Debian base. Wheels are downloaded outside by the machine's own pip, because a build sees
neither its configuration nor its certificates, and are given to the build as a directory. The build
reads a copy of the tree, so that whoever edits meanwhile never gets an image under a wrong key.

The build's store lies in the cache, on the overlay driver: unlike `vfs` it does not copy the whole
file system for each step.
"""

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from e2e.harness import images
from e2e.harness.cache import REPOSITORY, cache_root, keep_newest, key_of
from e2e.provision import progress

BUILD_TOOLS = ("hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers")
KEPT_ARCHIVES = 8
_REQUIREMENTS = REPOSITORY / "requirements"
_WHEELS_INSIDE = "/wheels"


def build() -> Path:
    """Build and export the image unless the cache has it; returns the archive for this tree."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for file in images.product_context():
            copy = root / file.relative_to(REPOSITORY)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        archive = images.product_archive(root)
        if not archive.exists():
            _build(root, archive)
    archive.touch()
    return archive


def _build(root: Path, archive: Path) -> None:
    wheels = _wheels()
    base = _base()
    arguments = {"BASE": base, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": _WHEELS_INSIDE}
    with progress.step(f"Building {images.PRODUCT_IMAGE}"):
        command = ["bud", "--layers", "--tag", images.PRODUCT_IMAGE]
        command += ["--volume", f"{wheels}:{_WHEELS_INSIDE}:ro"]
        for name, value in arguments.items():
            command += ["--build-arg", f"{name}={value}"]
        _buildah("image build", *command, str(root))
    archive.parent.mkdir(parents=True, exist_ok=True)
    with progress.step("Exporting it for the nodes"):
        unfinished = archive.with_suffix(f".{os.getpid()}")
        target = f"docker-archive:{unfinished}:{images.PRODUCT_IMAGE}"
        _buildah("image export", "push", images.PRODUCT_IMAGE, target)
        unfinished.rename(archive)
    megabytes = archive.stat().st_size / 1e6
    progress.say(f"{images.PRODUCT_IMAGE} has {megabytes:.0f} MB")
    keep_newest(archive.parent, keep=KEPT_ARCHIVES)


def _base() -> str:
    """The base as an image in the build's store; returns its name."""
    archive = images.base_archive()
    name = f"localhost/thinkscale-base:{archive.stem.removeprefix('base-')}"
    stamp = cache_root() / "buildah" / f"{archive.stem}.imported"
    if not stamp.exists():
        with tempfile.TemporaryDirectory() as scratch:
            containerfile = Path(scratch) / "Containerfile"
            containerfile.write_text(f'FROM scratch\nADD {archive.name} /\nCMD ["python3"]\n')
            command = ["bud", "--tag", name, "--file", str(containerfile)]
            _buildah("base image import", *command, str(archive.parent))
        stamp.touch()
    return name


def _wheels() -> Path:
    """A directory with every wheel that the build installs, by the hashes of the lock files."""
    runtime = (_REQUIREMENTS / "runtime.lock").read_text()
    tools = select((_REQUIREMENTS / "dev.lock").read_text(), BUILD_TOOLS)
    final = cache_root() / "wheels" / key_of(texts=[runtime, tools])
    if final.exists():
        return final
    unfinished = final.with_name(f"{final.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        with progress.step("Downloading the image's wheels"):
            for name, requirements in (("runtime", runtime), ("tools", tools)):
                file = unfinished / f"{name}.lock"
                file.write_text(requirements)
                command = [sys.executable, "-m", "pip", "download", "--require-hashes"]
                command += ["--only-binary=:all:", "--no-deps", "--dest", str(unfinished)]
                progress.run(f"pip download {name}", [*command, "--requirement", str(file)])
        unfinished.rename(final)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    keep_newest(final.parent, keep=2)
    return final


def select(lock: str, names: tuple[str, ...]) -> str:
    """The entries of a lock file for some packages."""
    entries = re.split(r"^(?=\S)", lock, flags=re.M)
    return "".join(entry for entry in entries if entry.split("==")[0] in names)


def _buildah(what: str, *arguments: str) -> None:
    store = cache_root() / "buildah"
    store.mkdir(parents=True, exist_ok=True)
    command = ["buildah", "--root", str(store), "--runroot", str(store / "run")]
    command += ["--storage-driver", os.environ.get("STORAGE_DRIVER", "overlay")]
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    progress.run(what, [*command, *arguments], environment=environment)
