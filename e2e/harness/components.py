"""The processes of a cluster: started inside the keeper's namespaces, watched, and read when they
fail.

A component is a plain child of the harness (through `nsenter`), so its exit is seen at once and its
output goes to `RUN/logs/NAME.log`. Whatever waits for a component fails as soon as the component
does, with the end of its log in the message.
"""

import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.harness import keeper
from e2e.harness.eventually import POLL_SECONDS

KEEPER_STOP_SECONDS = 30
TAIL_LINES = 30


class ComponentError(RuntimeError):
    """A component of the cluster ended or did not become ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One running process of the cluster."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The end of its output."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def require_running(self) -> None:
        """Raises `ComponentError` when the process has ended."""
        if (code := self.process.poll()) is not None:
            raise ComponentError(f"{self.name} ended with code {code}:\n{self.tail()}")


class Run:
    """One cluster's directory, keeper and components; `close` ends and removes all of it."""

    def __init__(self, runs: Path) -> None:
        runs.mkdir(parents=True, exist_ok=True)
        keeper.clean_abandoned(runs)
        self.directory = runs / secrets.token_hex(3)
        self.logs = self.directory / "logs"
        self.logs.mkdir(parents=True)
        self.components: dict[str, Component] = {}
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", keeper.__file__, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._keeper.stdout is not None
        lines = [self._keeper.stdout.readline().strip() for _ in range(2)]
        if b"ready" not in lines:
            self.close()
            raise ComponentError("the keeper's PID namespace did not come up (see above)")
        self.holder_pid = int(next(line for line in lines if line != b"ready"))

    @property
    def cgroup(self) -> str:
        """The control group of this run, in every hierarchy."""
        return keeper.cgroup_name(self.directory)

    def inside(self, argv: Sequence[str], mounts: Path | None = None) -> list[str]:
        """The command line that runs `argv` in the run's namespaces.

        `mounts`: a mount namespace (a path within) to enter instead of the run's common one.
        """
        enter = ["nsenter", "--target", str(self.holder_pid), "--pid", "--mount", "--"]
        if mounts is not None:
            enter += ["nsenter", f"--mount={mounts}", "--"]
        return [*enter, *argv]

    def start(self, name: str, argv: Sequence[str], mounts: Path | None = None) -> Component:
        """Start a component and return at once."""
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.inside(argv, mounts),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        component = Component(name=name, process=process, log=log)
        self.components[name] = component
        return component

    def wait(
        self, what: str, check: Callable[[], object], within_seconds: float, needs: Component
    ) -> None:
        """Poll `check` until it is truthy; fails at once when `needs` ends."""
        deadline = time.monotonic() + within_seconds
        last: object = None
        while True:
            needs.require_running()
            try:
                if last := check():
                    return
            except (OSError, subprocess.SubprocessError) as error:
                last = error
            if time.monotonic() >= deadline:
                raise ComponentError(
                    f"{what}: not within {within_seconds:g} s; last: {last}\n{needs.tail()}"
                )
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Kill everything in the run and remove its files; safe to call again."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        if not self._keeper.stdin.closed:
            self._keeper.stdin.close()
        self._keeper.wait(KEEPER_STOP_SECONDS)
        self._keeper.stdout.close()
        for component in self.components.values():
            component.process.wait(KEEPER_STOP_SECONDS)
