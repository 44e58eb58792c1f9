"""The seam between the operator and a model server: how one is started, asked for its health, and
emptied.

An adapter answers in words of processes (arguments, environment, URL paths, commands), never in
words of Kubernetes: `resources` turns them into containers and probes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """What a model server must be told at start, whatever its dialect."""

    model: str
    """A hub's ORG/NAME, or a path inside the container."""
    revision: str | None
    served_name: str
    """What clients send as `model`."""
    port: int
    context_tokens: int
    seats: int
    """Requests that it may run at once."""
    gpus: int
    reasoning_parser: str | None
    drain_seconds: int
    extra_args: tuple[str, ...] = ()


class EngineAdapter(Protocol):
    """One engine's dialect of the command line and of the probes."""

    health_path: str
    """Answers 200 while the engine can serve; stays 200 while it drains."""
    command: tuple[str, ...]
    """What starts it where the image's own entrypoint does not; empty: that does."""

    def arguments(self, plan: LaunchPlan) -> tuple[str, ...]:
        """The container's arguments, the user's own last."""
        ...

    def cache_environment(self, directory: str) -> Mapping[str, str]:
        """Environment that makes weights and compiled code land in this directory."""
        ...

    def drain_command(self, port: int, within_seconds: int) -> tuple[str, ...]:
        """A command for inside the container that returns once no request is left, or when the
        time is up; it may use nothing that the engine's official image lacks.
        """
        ...
