"""How long thoughts are, learnt from the gateways' occurrence/exposure counts.

The hazard of age bin j is (ends in it) / (tokens thought in it). Thoughts that still go on count by
their exposure, so that long ones are not forgotten merely because they have not ended: statistics
of completed requests miss exactly those. Sparse bins lean on the overall hazard by one
pseudo-event.

Old counts are forgotten by half for every 1,400 ends, and by half per hour in which there was
traffic; an idle night forgets nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from thinkscale.model.ages import AGE_EDGES_TOKENS, BINS, EDGES_VERSION, bin_of
from thinkscale.model.observation import MergedSignals

HALF_LIFE_ENDS: Final = 1400.0
HALF_LIFE_SECONDS: Final = 3600.0
PSEUDO_EVENTS: Final = 1.0
ENOUGH_ENDS: Final = 8
"""With fewer ends, the mean is too uncertain to extrapolate with."""
LONGEST_TOKENS: Final = AGE_EDGES_TOKENS[-1]
"""Nothing is expected beyond it when no budget bounds thinking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Discounted counts, and the totals up to which they have been counted."""

    exposure_tokens: tuple[float, ...] = (0.0,) * BINS
    ends: tuple[float, ...] = (0.0,) * BINS
    answer_tokens: float = 0.0
    answers_begun: float = 0.0
    counted_exposure: tuple[int, ...] | None = None
    """None: take the next totals as the new baseline."""
    counted_ends: tuple[int, ...] = ()
    counted_answer_tokens: int = 0
    counted_answers_begun: int = 0
    at: float = 0.0

    @property
    def answer_mean_tokens(self) -> float:
        """Mean tokens of an answer; 0 while nothing is known."""
        return self.answer_tokens / self.answers_begun if self.answers_begun > 0 else 0.0


def observe(lengths: Lengths, at: float, signals: MergedSignals) -> Lengths:
    """Add what happened since the last reading. A first reading counts whole: its gateway's boot is
    the beginning.
    """
    table, counters = signals.life_table, signals.counters
    if table.edges_version != EDGES_VERSION or len(table.exposure_tokens) != BINS:
        return lengths
    known = lengths.counted_exposure is not None
    before_exposure = lengths.counted_exposure or (0,) * BINS
    before_ends = lengths.counted_ends if known else (0,) * BINS
    exposure = [max(0, a - b) for a, b in zip(table.exposure_tokens, before_exposure, strict=True)]
    ends = [max(0, a - b) for a, b in zip(table.ends, before_ends, strict=True)]
    keep = 0.5 ** (sum(ends) / HALF_LIFE_ENDS)
    if known and any(exposure):
        keep *= 0.5 ** (min(60.0, max(0.0, at - lengths.at)) / HALF_LIFE_SECONDS)
    answer_tokens = counters.answer_tokens - lengths.counted_answer_tokens
    answers_begun = counters.answers_begun - lengths.counted_answers_begun
    return Lengths(
        exposure_tokens=_discounted(lengths.exposure_tokens, keep, exposure),
        ends=_discounted(lengths.ends, keep, ends),
        answer_tokens=round(lengths.answer_tokens * keep + max(0, answer_tokens), 3),
        answers_begun=round(lengths.answers_begun * keep + max(0, answers_begun), 3),
        counted_exposure=table.exposure_tokens,
        counted_ends=table.ends,
        counted_answer_tokens=counters.answer_tokens,
        counted_answers_begun=counters.answers_begun,
        at=at,
    )


def rebased(lengths: Lengths, signals: MergedSignals) -> Lengths:
    """Keep what was learnt, and count from these totals on (they began anew)."""
    table, counters = signals.life_table, signals.counters
    return Lengths(
        exposure_tokens=lengths.exposure_tokens,
        ends=lengths.ends,
        answer_tokens=lengths.answer_tokens,
        answers_begun=lengths.answers_begun,
        counted_exposure=table.exposure_tokens,
        counted_ends=table.ends,
        counted_answer_tokens=counters.answer_tokens,
        counted_answers_begun=counters.answers_begun,
        at=lengths.at,
    )


def _discounted(old: Sequence[float], keep: float, new: Sequence[int]) -> tuple[float, ...]:
    return tuple(round(a * keep + b, 3) for a, b in zip(old, new, strict=True))


class Survival:
    """The law of thought lengths that the counts imply, bounded by the budget.

    With one hazard of 1/300 per token everywhere and no budget, the mean of a new thought and the
    remainder of any old one are both 300 tokens; with a budget of 300 tokens a new thought has
    300·(1 - 1/e) = 190 to go.
    """

    def __init__(self, lengths: Lengths, max_tokens: int | None) -> None:
        """Build it; `known`: some thinking was seen; `certain`: enough of it ended."""
        exposure, ends = sum(lengths.exposure_tokens), sum(lengths.ends)
        self.known = exposure > 0
        self.certain = ends >= ENOUGH_ENDS
        self.bound = min(LONGEST_TOKENS, max_tokens if max_tokens is not None else LONGEST_TOKENS)
        overall = max(ends, PSEUDO_EVENTS) / max(exposure, 1.0)
        self._edges = [e for e in AGE_EDGES_TOKENS if e < self.bound] + [self.bound]
        self._hazards = [
            (lengths.ends[j] + PSEUDO_EVENTS)
            / (lengths.exposure_tokens[j] + PSEUDO_EVENTS / overall)
            for j in range(len(self._edges) - 1)
        ]
        self._remaining = [0.0]
        for j in reversed(range(len(self._hazards))):
            width = self._edges[j + 1] - self._edges[j]
            self._remaining.append(_ahead(self._hazards[j], width, self._remaining[-1]))
        self._remaining.reverse()

    def remaining(self, age_tokens: float, within: float | None = None) -> float:
        """Expected tokens still to come of a thought of this age; with `within`, among the next so
        many tokens only.
        """
        if age_tokens >= self.bound:
            return 0.0
        j = bin_of(int(age_tokens))
        if within is None:
            left = self._edges[j + 1] - age_tokens
            return _ahead(self._hazards[j], left, self._remaining[j + 1])
        tokens, alive, end = 0.0, 1.0, min(age_tokens + within, self.bound)
        while age_tokens < end:
            width = min(end, self._edges[j + 1]) - age_tokens
            tokens += alive * _ahead(self._hazards[j], width, 0.0)
            alive *= math.exp(-self._hazards[j] * width)
            age_tokens, j = self._edges[j + 1], j + 1
        return tokens

    @property
    def mean(self) -> float:
        """Expected tokens of a new thought."""
        return self.remaining(0)

    def longer_than(self, tokens: float) -> float:
        """Share of thoughts of more than this many tokens."""
        if tokens >= self.bound:
            return 0.0
        risk = 0.0
        for j, (left, right) in enumerate(pairwise(self._edges)):
            risk += self._hazards[j] * max(0.0, min(tokens, right) - left)
        return math.exp(-risk)

    def backlog_tokens(
        self, thinking_ages: Sequence[int], queued: int, within: float | None = None
    ) -> float:
        """Expected thinking tokens still to be produced by these thinkers and queued requests; with
        `within`, of the next so many tokens of each only.
        """
        tokens = queued * self.remaining(0, within)
        for j, count in enumerate(thinking_ages[: len(self._hazards)]):
            if count:
                middle = (self._edges[j] + self._edges[j + 1]) / 2
                tokens += count * self.remaining(middle, within)
        return tokens


def _ahead(hazard: float, width: float, after: float) -> float:
    """Mean tokens to come when `width` more run at this hazard and `after` follow the survivors."""
    if hazard * width < 1e-9:
        return width + after
    alive = math.exp(-hazard * width)
    return (1.0 - alive) / hazard + alive * after
