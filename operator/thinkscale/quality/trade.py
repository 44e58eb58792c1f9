"""The other side of a level: what it costs in latency and GPUs. Values alone; the fleet's model is
asked by the command line, since a sweep itself knows no fleet.
"""

from dataclasses import dataclass

RECOMMENDED = "recommended"
"""The line of every use case at its own recommended budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPoint:
    """One level under the load that was asked for. Seconds."""

    name: str
    """The level's, or `recommended`."""
    ttfa_seconds: tuple[float, float, float]
    """To the first answer token: p50, p95, p99."""
    e2e_seconds: tuple[float, float, float]
    replicas: int
    """Needed at the peak."""
    replicas_mean: float
    """Needed, as a fraction, over all the time."""
    gpus: int
    """At the peak."""
    gpu_hours: float
    accuracy: float
    """Of this level or mix, all rows together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """All levels under one load."""

    load: str
    """In words."""
    points: tuple[LoadPoint, ...]
    max_replicas: int | None
    """What the resource allows; None: no resource was given."""
