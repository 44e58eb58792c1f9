"""Runs a server and makes sure that nothing of it is left, however its user ends.

`keeper.py COMMAND...`, started with a pipe as standard input. When the pipe closes, because the
user is done or was killed, the server gets SIGTERM, some seconds, and then SIGKILL, and in the end
so does every process that came from it: as their subreaper the keeper inherits those that lost
their parents, so none can hide. If the keeper itself is killed, the server dies with it.

Standard library only, and nothing of this package: it is started as a plain script. No root.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
TERM_SECONDS = 15.0
LEAVE_SECONDS = 5.0
POLL_SECONDS = 0.05
_libc = ctypes.CDLL(None, use_errno=True)


def descendants(pid: int) -> list[int]:
    """All processes below one, from the kernel's lists of children."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            below = [int(word) for word in children.read_text().split()]
        except OSError:
            continue
        for child in below:
            found += [child, *descendants(child)]
    return found


def _end(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is None:
        server.terminate()
        deadline = time.monotonic() + TERM_SECONDS
        while server.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    # Its children end by themselves when they see it gone, and the last of them removes what they
    # shared in memory.
    deadline = time.monotonic() + LEAVE_SECONDS
    while descendants(os.getpid()) and time.monotonic() < deadline:
        _reap()
        time.sleep(POLL_SECONDS)
    while below := descendants(os.getpid()):
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap()
        time.sleep(POLL_SECONDS)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _die_with_keeper() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Run the command until it ends or standard input closes."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_keeper,
    )
    # A terminal's Ctrl-C is the user's affair; whatever it does ends in a closed pipe. Set after
    # the start: the server must not inherit it.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    ended = os.pidfd_open(server.pid)
    select.select([0, ended], [], [])
    _end(server)
    return server.returncode or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
