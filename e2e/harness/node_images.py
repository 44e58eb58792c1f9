"""Images on nodes without the price of importing them: an unpacked store is made once and linked.

Importing an image of 250 MB costs a node seconds of both cores, each time. So the store (content,
snapshots, containerd's databases) is made once per set of images by a containerd of its own, kept
in the cache, and a node's root directory becomes a tree of hard links to it. That is safe because
neither content nor the lower layers of an overlay are ever written to; only the databases are, so
they are copied. A new store begins as a link to the newest one: after a change of the source only
the image's last layer is new.
"""

import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

from e2e.harness.cache import cache_root, keep_newest, key_of
from e2e.harness.eventually import eventually

PAUSE_IMAGE = "localhost/thinkscale-pause:1"
START_SECONDS = 30
STOP_SECONDS = 30
KEPT_STORES = 3
_ISOLATED = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=SIGTERM")
_UNUSED_PLUGINS = (
    "io.containerd.internal.v1.opt",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.native",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
)


def store(archives: Sequence[Path]) -> Path:
    """The unpacked store of these docker-archives, made if it is not in the cache yet."""
    final = _path(archives)
    stores = final.parent
    if not final.exists():
        unfinished = stores / f"{final.name}.{os.getpid()}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        if newest := _newest(stores):
            link(newest, unfinished / "root")
        try:
            _import(unfinished, archives)
            if not final.exists():  # else another process was faster
                (unfinished / "root").rename(final)
        except Exception as error:
            log = unfinished / "log"
            error.add_note(log.read_text()[-2000:] if log.exists() else "containerd has no log")
            raise
        finally:
            shutil.rmtree(unfinished)
        keep_newest(stores, keep=KEPT_STORES)
    final.touch()
    return final


def is_stored(archives: Sequence[Path]) -> bool:
    """Whether `store` would find what it needs in the cache."""
    return _path(archives).exists()


def link(source: Path, target: Path) -> None:
    """Make `target` a store of its own with the content of `source`, by hard links."""
    done = subprocess.run(
        ["cp", "--archive", "--link", str(source), str(target)], capture_output=True, check=False
    )
    if done.returncode != 0:  # another file system, or one without hard links
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "--archive", str(source), str(target)], check=True)
    for database in target.rglob("*.db"):
        if "snapshots" not in database.relative_to(target).parts:
            copy = database.with_suffix(".copy")
            shutil.copy2(database, copy)
            copy.replace(database)


def containerd_config(
    *,
    root: Path,
    state: Path,
    socket: Path,
    cni_configuration: Path,
    cni_binaries: Path,
    disabled: Sequence[str] = (),
) -> str:
    """containerd's configuration (TOML, version 2: understood by 1.x and 2.x alike).

    `restrict_oom_score_adj`: inside many virtual machines root lacks CAP_SYS_RESOURCE; without it
    every sandbox dies of "can't get final child's PID from pipe: EOF".
    """
    unused = ", ".join(f'"{plugin}"' for plugin in [*_UNUSED_PLUGINS, *disabled])
    return f"""version = 2
root = "{root}"
state = "{state}"
disabled_plugins = [{unused}]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  stream_server_address = "127.0.0.1"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_binaries}"
    conf_dir = "{cni_configuration}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def _path(archives: Sequence[Path]) -> Path:
    # The names carry the keys of what is inside; archives of other hands may keep their name.
    stamps = [f"{path.name} {path.stat().st_size}" for path in archives]
    version = subprocess.run(
        ["containerd", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return cache_root() / "nodes" / key_of(texts=[version, *stamps], files=[Path(__file__)])


def _newest(stores: Path) -> Path | None:
    # A name with a suffix belongs to a store that is being made.
    finished = [path for path in stores.iterdir() if not path.suffix]
    return max(finished, key=lambda path: path.stat().st_mtime, default=None)


def _import(directory: Path, archives: Sequence[Path]) -> None:
    socket = directory / "containerd.sock"
    config = directory / "containerd.toml"
    nowhere = directory / "cni"
    nowhere.mkdir()
    config.write_text(
        containerd_config(
            root=directory / "root",
            state=directory / "state",
            socket=socket,
            cni_configuration=nowhere,
            cni_binaries=nowhere,
            # It would give every image a second name, which would keep replaced ones alive.
            disabled=["io.containerd.grpc.v1.cri"],
        )
    )
    with (directory / "log").open("wb") as log:
        # Mounts of its own, and the end of `unshare` is the end of all within.
        process = subprocess.Popen(
            [*_ISOLATED, "containerd", "--config", str(config)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    control = ["ctr", "--address", str(socket), "--namespace", "k8s.io"]
    try:
        eventually(
            lambda: subprocess.run([*control, "version"], capture_output=True, check=True),
            START_SECONDS,
            "containerd answers",
        )
        _hold_present(control)
        for archive in archives:
            _control(control, "images", "import", str(archive))
        _remove_others(control, {tag for archive in archives for tag in _tags(archive)})
    finally:
        _stop(process)


def _hold_present(control: list[str]) -> None:
    """Give the images of the older store a second name until the new ones are unpacked.

    `ctr images import` moves the name to the new image and drops its lease before it unpacks. In
    that gap nothing refers to the layers that both share, and containerd's garbage collector may
    take them: "parent snapshot does not exist".
    """
    for number, name in enumerate(_image_names(control)):
        _control(control, "images", "tag", name, f"localhost/held:{number}")


def _remove_others(control: list[str], wanted: set[str]) -> None:
    """Remove what came with the older store and is not wanted in this one."""
    if others := sorted(set(_image_names(control)) - wanted):
        _control(control, "images", "remove", "--sync", *others)


def _image_names(control: list[str]) -> list[str]:
    return _control(control, "images", "list", "--quiet").split()


def _control(control: list[str], *arguments: str) -> str:
    done = subprocess.run([*control, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ctr {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _tags(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        return [tag for image in json.load(manifest) for tag in image["RepoTags"]]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End containerd in peace (its databases must be whole): the signal goes to it, the child."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), 15)
    deadline = time.monotonic() + STOP_SECONDS
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
        time.sleep(0.02)
