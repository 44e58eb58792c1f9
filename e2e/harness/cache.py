"""Where everything built for the tests lives, and how its keys are made.

`${XDG_CACHE_HOME:-~/.cache}/thinkscale/` holds one directory per kind, and in it one directory or
file per key. A key is the hash of all that went in, so a stale entry is never used and nothing
needs to be invalidated. Running clusters keep their files under `runs/` in the same place: node
images are hard links into the cache, and hard links do not cross file systems.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
KEY_LENGTH = 16
_IGNORED_PARTS = {"__pycache__"}


def cache_root() -> Path:
    """The project's cache directory (it may not exist yet)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "thinkscale"


def key_of(
    texts: Iterable[str] = (), files: Iterable[Path] = (), *, root: Path = REPOSITORY
) -> str:
    """A key for these texts and for the files' contents and their paths under `root`."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(b"text\0" + text.encode() + b"\0")
    for file in files:
        digest.update(b"file\0" + str(file.relative_to(root)).encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:KEY_LENGTH]


def tree(directory: Path) -> list[Path]:
    """All files under `directory` in a stable order, without what Python compiles."""
    return sorted(
        path
        for path in directory.rglob("*")
        if path.is_file() and not _IGNORED_PARTS.intersection(path.parts)
    )


@contextmanager
def exclusively(name: str) -> Iterator[None]:
    """One process at a time makes the things called `name`; the others wait."""
    cache_root().mkdir(parents=True, exist_ok=True)
    with (cache_root() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def keep_newest(entries: Path, *, keep: int) -> None:
    """Delete all but the `keep` most recently used entries of one kind."""
    if not entries.is_dir():
        return
    found = sorted(entries.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for stale in found[keep:]:
        if stale.is_dir():
            shutil.rmtree(stale, ignore_errors=True)
        else:
            stale.unlink(missing_ok=True)
