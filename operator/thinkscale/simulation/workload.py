"""A workload: who arrives when, with how many tokens of each kind.

Arrivals are open loop: they come at their time whatever the fleet does. Lengths are what the
requests would use if nothing cut them. Arrays of one row per request, ordered by arrival.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]
Tokens = npt.NDArray[np.int64]
Rows = slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]
"""A range, flags, or places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """All arrays have the same length. ValueError: they have not, or an entry makes no sense."""

    name: str
    at_seconds: Seconds
    """Ascending, from 0."""
    prompt_tokens: Tokens
    """At least 1."""
    thinking_tokens: Tokens
    """At least 0."""
    answer_tokens: Tokens
    """At least 0; thinking and answer together at least 1."""
    tiers: tuple[str, ...] = ()
    tier: Tokens | None = None
    """Of which of `tiers` each request is; None: there are none."""

    def __post_init__(self) -> None:
        columns = (self.prompt_tokens, self.thinking_tokens, self.answer_tokens)
        tier = self.tier if self.tier is not None else self.prompt_tokens
        if any(len(column) != len(self.at_seconds) for column in (*columns, tier)):
            raise ValueError("the columns of a workload have different lengths")
        if np.any(np.diff(self.at_seconds) < 0) or (len(self) and self.at_seconds[0] < 0):
            raise ValueError("arrivals are not in order, or before 0")
        if np.any(self.prompt_tokens < 1) or np.any(self.thinking_tokens < 0):
            raise ValueError("a prompt has at least one token, a thought no fewer than none")
        if np.any(self.answer_tokens < 0) or np.any(self.output_tokens < 1):
            raise ValueError("a request generates at least one token")

    def __len__(self) -> int:
        return len(self.at_seconds)

    @property
    def output_tokens(self) -> Tokens:
        """Thinking and answer together."""
        total: Tokens = self.thinking_tokens + self.answer_tokens
        return total

    def rows(self, kept: Rows, at_seconds: Seconds | None = None) -> "Workload":
        """Some of the requests, or some again and again; `at_seconds`: they come at other times."""
        return replace(
            self,
            at_seconds=self.at_seconds[kept] if at_seconds is None else at_seconds,
            prompt_tokens=self.prompt_tokens[kept],
            thinking_tokens=self.thinking_tokens[kept],
            answer_tokens=self.answer_tokens[kept],
            tier=None if self.tier is None else self.tier[kept],
        )

    def with_thinking(self, thinking_tokens: Tokens) -> "Workload":
        """The same requests, with other thoughts."""
        return replace(self, thinking_tokens=thinking_tokens)

    def of_tiers(self, tiers: tuple[str, ...], tier: Tokens) -> "Workload":
        """The same requests, each of one of these tiers."""
        return replace(self, tiers=tiers, tier=tier)

    def within(self, budget_tokens: int) -> "Workload":
        """The same requests under a thinking budget. What answers nothing keeps one token."""
        least = 1 - np.minimum(1, self.answer_tokens)
        return self.with_thinking(
            np.maximum(least, np.minimum(self.thinking_tokens, budget_tokens))
        )
