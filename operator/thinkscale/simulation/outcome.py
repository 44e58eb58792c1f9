"""What one run came to: a row per request, the fleet over time, and the bill.

A request is scored by its arrival. Each objective holds or not: `indicator <= threshold +
per_token * tokens`, with the tokens that it used. Unfinished or failed is a miss.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """One entry per scored request (after the warm-up), by arrival. NaN: never happened."""

    arrived_seconds: Numbers
    queue_seconds: Numbers
    """Arrival to the first admission by an engine."""
    first_token_seconds: Numbers
    """Since arrival, as the next two."""
    first_answer_seconds: Numbers
    end_seconds: Numbers
    output_tokens: npt.NDArray[np.int64]
    """Produced, thinking and answer."""
    output_pace_seconds: Numbers
    """Mean seconds per token from the first token to the last."""
    answer_pace_seconds: Numbers
    """The same from the first answer token."""
    cut: Flags
    """Its thought was closed by load."""
    withheld_tokens: npt.NDArray[np.int64]
    """Thinking tokens that it would have used beyond the cut."""
    met: Mapping[str, Flags]
    """By objective."""

    @property
    def good(self) -> Flags:
        """All objectives met."""
        flags: Flags = np.logical_and.reduce(list(self.met.values()))
        return flags


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The fleet, one entry per tick of the policy."""

    at_seconds: Numbers
    desired: npt.NDArray[np.int64]
    ready: npt.NDArray[np.int64]
    """Ready and un-cordoned."""
    billed: npt.NDArray[np.int64]
    """All that exist: warming, ready, cordoned, draining."""
    thinking_depth: npt.NDArray[np.int64]
    held: npt.NDArray[np.int64]
    effective_tokens: Numbers
    """The brown-out's budget; NaN: off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run of one policy."""

    policy: str
    scenario: str
    seed: int
    requests: Requests
    timeline: Timeline
    replica_seconds: float
    """Billed from order to removal, within the scored time."""
    gpus_per_replica: int
    preemptions: int
    reversals: int
    """Changes of direction of the wanted size within the scored time."""
    scored_seconds: float

    @property
    def attainment(self) -> float:
        """Share of scored requests that met all objectives; NaN without any."""
        good = self.requests.good
        return float(good.mean()) if len(good) else float("nan")

    @property
    def gpu_hours(self) -> float:
        """The bill."""
        return self.replica_seconds * self.gpus_per_replica / 3600
