"""How long thoughts and whole outputs are, learnt from the gateways' occurrence/exposure counts.

The hazard of age bin j is (ends in it) / (tokens generated in it). Requests that still go on count
by their exposure, so that long ones are not forgotten merely because they have not ended:
statistics of completed requests miss exactly those.

Each table has a slow twin of eight times its half-life. Where recent ends are few, mostly in the
tail, the recent hazard leans on the slow one, rescaled by how much shorter or longer all lengths
have become (`survival`). An idle night forgets nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from thinkscale.model.ages import BINS, EDGES_VERSION
from thinkscale.model.observation import MergedSignals
from thinkscale.model.signals import LifeTableCounts

REMEMBERED_ENDS: Final = 2000.0
SHORTEST_HALF_LIFE_SECONDS: Final = 120.0
LONGEST_HALF_LIFE_SECONDS: Final = 3600.0
SLOWER: Final = 8.0
"""The slow twin's half-life, in half-lives."""
LONGEST_STEP_SECONDS: Final = 60.0
"""Time in which nobody looked is forgotten by at most so much."""
DIGITS: Final = 4
TOKEN_DIGITS: Final = 1
"""Kept in the memory; enough that a count of one is still forgotten when ticks are short."""

Bins = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Discounted counts by age bin, and the totals up to which they have been counted."""

    exposure_tokens: Bins = (0.0,) * BINS
    ends: Bins = (0.0,) * BINS
    slow_exposure_tokens: Bins = (0.0,) * BINS
    slow_ends: Bins = (0.0,) * BINS
    counted_exposure: tuple[int, ...] | None = None
    """None: take the next totals whole, their gateways' boot is the beginning."""
    counted_ends: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Thoughts, whole outputs, answers and prompts."""

    thinking: Table = field(default_factory=Table)
    outputs: Table = field(default_factory=Table)
    answer_tokens: float = 0.0
    answers_begun: float = 0.0
    prompt_tokens: float = 0.0
    arrivals: float = 0.0
    counted_answer_tokens: int = 0
    counted_answers_begun: int = 0
    counted_prompt_tokens: int = 0
    counted_arrivals: int = 0
    tier_arrivals: Mapping[str, float] = field(default_factory=dict)
    counted_tier_arrivals: Mapping[str, int] = field(default_factory=dict)
    at: float = 0.0

    @property
    def answer_mean_tokens(self) -> float:
        """Mean tokens of an answer; 0 while nothing is known."""
        return self.answer_tokens / self.answers_begun if self.answers_begun > 0 else 0.0

    @property
    def prompt_mean_tokens(self) -> float:
        """Mean tokens of a prompt; 0 while nothing is known."""
        return self.prompt_tokens / self.arrivals if self.arrivals > 0 else 0.0


def half_life_seconds(rate_per_second: float | None) -> float:
    """Half of what is known is forgotten in the time of 1,400 requests, so that about 2,000 are
    remembered; two minutes to an hour.

    8 requests a second: ln 2·2,000/8 = 173 s.
    """
    if not rate_per_second or rate_per_second <= 0:
        return LONGEST_HALF_LIFE_SECONDS
    wanted = math.log(2) * REMEMBERED_ENDS / rate_per_second
    return min(LONGEST_HALF_LIFE_SECONDS, max(SHORTEST_HALF_LIFE_SECONDS, wanted))


def observe(
    lengths: Lengths, at: float, signals: MergedSignals, rate_per_second: float | None
) -> Lengths:
    """Add what happened since the last reading. A first reading counts whole."""
    elapsed = 0.0
    if lengths.at and any(
        new > old
        for new, old in zip(
            signals.output_life_table.exposure_tokens,
            lengths.outputs.counted_exposure or (),
            strict=False,
        )
    ):
        elapsed = min(LONGEST_STEP_SECONDS, max(0.0, at - lengths.at))
    half_life = half_life_seconds(rate_per_second)
    keep = 0.5 ** (elapsed / half_life)
    counters = signals.counters
    return Lengths(
        thinking=_added(lengths.thinking, signals.life_table, keep),
        outputs=_added(lengths.outputs, signals.output_life_table, keep),
        answer_tokens=_more(
            lengths.answer_tokens, keep, counters.answer_tokens - lengths.counted_answer_tokens
        ),
        answers_begun=_more(
            lengths.answers_begun, keep, counters.answers_begun - lengths.counted_answers_begun
        ),
        prompt_tokens=_more(
            lengths.prompt_tokens,
            keep,
            counters.arrived_prompt_tokens - lengths.counted_prompt_tokens,
        ),
        arrivals=_more(lengths.arrivals, keep, counters.arrivals - lengths.counted_arrivals),
        counted_answer_tokens=counters.answer_tokens,
        counted_answers_begun=counters.answers_begun,
        counted_prompt_tokens=counters.arrived_prompt_tokens,
        counted_arrivals=counters.arrivals,
        tier_arrivals={
            name: _more(
                lengths.tier_arrivals.get(name, 0.0),
                keep,
                count - lengths.counted_tier_arrivals.get(name, 0),
            )
            for name, count in signals.tier_arrivals.items()
        },
        counted_tier_arrivals=signals.tier_arrivals,
        at=at,
    )


def rebased(lengths: Lengths, signals: MergedSignals) -> Lengths:
    """Keep what was learnt, and count from these totals on (they began anew)."""
    counters = signals.counters
    return replace(
        lengths,
        thinking=_counted(lengths.thinking, signals.life_table),
        outputs=_counted(lengths.outputs, signals.output_life_table),
        counted_answer_tokens=counters.answer_tokens,
        counted_answers_begun=counters.answers_begun,
        counted_prompt_tokens=counters.arrived_prompt_tokens,
        counted_arrivals=counters.arrivals,
        counted_tier_arrivals=signals.tier_arrivals,
    )


def _added(table: Table, counts: LifeTableCounts, keep: float) -> Table:
    """Counts of other edges are not mixed in."""
    if counts.edges_version != EDGES_VERSION or len(counts.exposure_tokens) != BINS:
        return table
    none = (0,) * BINS
    known = table.counted_exposure is not None
    exposure = _since(counts.exposure_tokens, table.counted_exposure or none)
    ends = _since(counts.ends, table.counted_ends if known else none)
    slow = keep ** (1 / SLOWER)
    return Table(
        exposure_tokens=_discounted(table.exposure_tokens, keep, exposure, TOKEN_DIGITS),
        ends=_discounted(table.ends, keep, ends, DIGITS),
        slow_exposure_tokens=_discounted(table.slow_exposure_tokens, slow, exposure, TOKEN_DIGITS),
        slow_ends=_discounted(table.slow_ends, slow, ends, DIGITS),
        counted_exposure=counts.exposure_tokens,
        counted_ends=counts.ends,
    )


def _counted(table: Table, counts: LifeTableCounts) -> Table:
    return replace(table, counted_exposure=counts.exposure_tokens, counted_ends=counts.ends)


def _since(totals: Sequence[int], before: Sequence[int]) -> list[int]:
    return [max(0, a - b) for a, b in zip(totals, before, strict=True)]


def _discounted(old: Bins, keep: float, new: Sequence[int], digits: int) -> Bins:
    return tuple(round(a * keep + b, digits) for a, b in zip(old, new, strict=True))


def _more(old: float, keep: float, new: int) -> float:
    return round(old * keep + max(0, new), DIGITS)
