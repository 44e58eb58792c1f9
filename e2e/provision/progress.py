"""Says what is being done, and that it is still being done.

A build of minutes with a silent terminal looks like a hang. Every step prints what it makes before
it begins and how long it took; a long command prints a line about every ten seconds in between. The
command's own output goes to a log, shown only when it fails.
"""

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from e2e.harness.cache import cache_root

EVERY_SECONDS = 10
POLL_SECONDS = 0.1
FAILURE_LINES = 40
_begun = time.monotonic()


class StepError(RuntimeError):
    """A step of the set-up failed; the text ends with what its command printed."""


def say(text: str) -> None:
    """One line, with the seconds since the set-up began."""
    print(f"[{time.monotonic() - _begun:6.1f} s] {text}", flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say that something begins and, after it, how long it took."""
    say(f"{text} ...")
    begun = time.monotonic()
    yield
    say(f"{text}: done in {time.monotonic() - begun:.1f} s")


def run(
    what: str,
    command: Sequence[str],
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end with a sign of life every ten seconds; `StepError` if it fails."""
    logs = cache_root() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{what.replace(' ', '-').replace('/', '-')}.log"
    begun = spoken = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                if time.monotonic() - spoken >= EVERY_SECONDS:
                    spoken = time.monotonic()
                    say(f"  {what}: {spoken - begun:.0f} s so far")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-FAILURE_LINES:])
        raise StepError(f"{what} failed (code {process.returncode}; log: {log}):\n{tail}")
