"""The process that makes sure nothing of a cluster is left behind, however the harness ends.

The harness starts it with a pipe as standard input. It opens a PID namespace whose first process
(the *holder*) does nothing but reap; every component and every pod of the cluster runs in there,
with a private view of the mounts. When the pipe closes, because the harness stopped or because it
was killed, the keeper kills the holder, and the kernel kills the whole namespace with it: no
process survives, not even a container shim that detached itself. Mounts end with the namespace;
what remains, control groups and files, the keeper then removes.

While it lives the keeper holds a lock on `RUN/lock`. A run whose lock is free lost its keeper as
well (power cut, SIGKILL of both) and is removed by the next cluster that starts.

Standard library only, and nothing of this package: it is started as a plain script.
"""

import ctypes
import fcntl
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
MS_PRIVATE_RECURSIVE = (1 << 18) | (1 << 14)
PR_SET_PDEATHSIG = 1
CGROUP_ROOT = Path("/sys/fs/cgroup")
LOCK = "lock"
CGROUP_REMOVAL_SECONDS = 5


def cgroup_name(run: Path) -> str:
    """The control group, in every hierarchy, that holds all pods of a run."""
    return f"thinkscale-{run.name}"


def clean(run: Path) -> None:
    """Remove the control groups and files of a run whose processes are gone."""
    deadline = time.monotonic() + CGROUP_REMOVAL_SECONDS
    while not _remove_cgroups(cgroup_name(run)) and time.monotonic() < deadline:
        time.sleep(0.02)
    shutil.rmtree(run, ignore_errors=True)


def clean_abandoned(runs: Path) -> list[Path]:
    """Clean all runs whose keeper is gone; returns them."""
    abandoned = []
    for run in sorted(runs.iterdir()) if runs.is_dir() else []:
        try:
            lock = os.open(run / LOCK, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            clean(run)
            abandoned.append(run)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
    return abandoned


def _remove_cgroups(name: str) -> bool:
    gone = True
    for top in [CGROUP_ROOT / name, *CGROUP_ROOT.glob(f"*/{name}")]:
        for directory, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                gone = False
    return gone


def _system(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _hold(libc: ctypes.CDLL) -> None:
    """First process of the PID namespace: reaps orphans until it is killed."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _system(libc.unshare(CLONE_NEWNS), "unshare the mounts")
    _system(libc.mount(b"none", b"/", None, MS_PRIVATE_RECURSIVE, None), "make mounts private")
    _system(libc.mount(b"proc", b"/proc", b"proc", 0, None), "mount proc")
    os.write(1, b"ready\n")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        signal.sigwait({signal.SIGCHLD})
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


def main(run: Path) -> int:
    """Hold the run until standard input closes, then remove all of it."""
    # A terminal's Ctrl-C is the harness's affair; whatever it does ends in a closed pipe.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # It gets its name when it is held already: a free lock means an abandoned run.
    lock = os.open(run / f"{LOCK}.new", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (run / f"{LOCK}.new").rename(run / LOCK)
    libc = ctypes.CDLL(None, use_errno=True)
    _system(libc.unshare(CLONE_NEWPID), "unshare process ids")
    terminated, terminate = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(terminate, b"x"))
    holder = os.fork()
    if holder == 0:
        os.close(lock)
        try:
            _hold(libc)
        finally:
            os._exit(1)
    os.write(1, f"{holder}\n".encode())
    holder_ended = os.pidfd_open(holder)
    select.select([0, holder_ended, terminated], [], [])
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    clean(run)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
