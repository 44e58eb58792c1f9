"""The law of lengths that a life table implies, bounded by a budget: survival, moments, remainders.

A hazard that is constant within each bin makes every integral a closed form:
S(x) = exp(-Λ(x)), I0(x) = ∫S from 0 to x, I1(x) = ∫y·S(y) dy. With them E[min(L, x)] = I0(x) and
E[min(L, x)²] = 2·I1(x), which is all that the length-biased context and the brown-out need.

Sparse bins: three pseudo-events pull the recent hazard to the slow table's, rescaled by the overall
ratio of recent to slow; one pseudo-event pulls the slow one to its own overall hazard.
"""

import bisect
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from thinkscale.model.ages import AGE_EDGES_TOKENS
from thinkscale.scaling.life_table import Table

PSEUDO_EVENTS: Final = 3.0
SLOW_PSEUDO_EVENTS: Final = 1.0
ENOUGH_ENDS: Final = 8
"""With fewer ends, the mean is too uncertain to extrapolate with."""
ENOUGH_SEEN: Final = 0.6
"""Share of the mean that must lie within ages that were reached. When the first 140 requests have
run for 20 s and eight have ended, nearly all of the mean is a guess about ages nobody has reached.
"""
LONGEST_TOKENS: Final = AGE_EDGES_TOKENS[-1]
"""Nothing is expected beyond it when no budget bounds the length."""
RATIOS: Final = (0.2, 5.0)


class Survival:
    """Lengths as they are now.

    With one hazard of 1/300 per token everywhere and no budget, the mean of a new thought and the
    remainder of any old one are both 300 tokens; with a budget of 300 tokens a new thought has
    300·(1 - 1/e) = 190 to go.
    """

    __slots__ = (
        "_edges", "_hazards", "_i0", "_i1", "_remaining", "_risk", "bound", "certain", "known",
        "relative_variance", "stretch",
    )  # fmt: skip

    def __init__(self, table: Table, max_tokens: float | None, stretch: float = 1.0) -> None:
        """Build it; `known`: some exposure was seen; `certain`: enough of it ended, at ages that
        say something of the mean. `stretch`: all lengths are taken to be so many times as long (a
        trend).
        """
        self.known = sum(table.exposure_tokens) > 0
        self.stretch = stretch
        self.bound = min(
            float(LONGEST_TOKENS), LONGEST_TOKENS if max_tokens is None else max_tokens
        )
        edges = [e * stretch for e in AGE_EDGES_TOKENS if e * stretch < self.bound]
        self._edges = [*edges, self.bound]
        hazards = _hazards(table)
        self._hazards = [hazards[j] / stretch for j in range(len(edges))]
        self._integrate()
        self.relative_variance = 1.0 / max(1.0, sum(table.slow_ends))
        reached = self.mean_within(_oldest(table) * stretch)
        self.certain = sum(table.ends) >= ENOUGH_ENDS and reached >= ENOUGH_SEEN * self.mean

    def _integrate(self) -> None:
        risk, alive, i0, i1 = 0.0, 1.0, 0.0, 0.0
        self._risk, self._i0, self._i1 = [0.0], [0.0], [0.0]
        for left, right, hazard in zip(self._edges, self._edges[1:], self._hazards, strict=False):
            width = right - left
            area, moment = _areas(hazard, width)
            i1 += alive * (left * area + moment)
            i0 += alive * area
            risk += hazard * width
            alive = math.exp(-risk)
            self._risk.append(risk)
            self._i0.append(i0)
            self._i1.append(i1)
        self._remaining = [0.0]
        for (left, right), hazard in zip(
            reversed(list(pairwise(self._edges))), reversed(self._hazards), strict=True
        ):
            area, _ = _areas(hazard, right - left)
            self._remaining.append(area + math.exp(-hazard * (right - left)) * self._remaining[-1])
        self._remaining.reverse()

    def _bin(self, tokens: float) -> int:
        return min(len(self._hazards), bisect.bisect_right(self._edges, tokens)) - 1

    def risk(self, tokens: float) -> float:
        """Λ, the integrated hazard; infinite from the bound on."""
        if tokens >= self.bound:
            return math.inf
        j = self._bin(tokens)
        return self._risk[j] + self._hazards[j] * (tokens - self._edges[j])

    def longer_than(self, tokens: float) -> float:
        """Share of lengths of more than this many tokens."""
        return math.exp(-self.risk(tokens))

    def survives(self, age_tokens: float, ahead_tokens: float) -> float:
        """Share of those of this age that go on for so many tokens more."""
        ahead = self.risk(age_tokens + ahead_tokens)
        return 0.0 if ahead == math.inf else math.exp(self.risk(age_tokens) - ahead)

    def mean_within(self, tokens: float) -> float:
        """E[min(L, tokens)]."""
        if tokens >= self.bound:
            return self._i0[-1]
        j = self._bin(tokens)
        area, _ = _areas(self._hazards[j], tokens - self._edges[j])
        return self._i0[j] + math.exp(-self._risk[j]) * area

    def square_within(self, tokens: float) -> float:
        """E[min(L, tokens)²]."""
        if tokens >= self.bound:
            return 2 * self._i1[-1]
        j = self._bin(tokens)
        area, moment = _areas(self._hazards[j], tokens - self._edges[j])
        alive = math.exp(-self._risk[j])
        return 2 * (self._i1[j] + alive * (self._edges[j] * area + moment))

    @property
    def mean(self) -> float:
        """Expected tokens of a new one."""
        return self._i0[-1]

    def quantile(self, share: float) -> float:
        """Tokens that this share does not exceed; at most the bound.

        A hazard of 1/300: half of them are below 300·ln 2 = 208.
        """
        wanted = -math.log(max(1e-12, 1.0 - share))
        j = bisect.bisect_left(self._risk, wanted) - 1
        if j < 0 or j >= len(self._hazards):
            return 0.0 if j < 0 else self.bound
        return self._edges[j] + (wanted - self._risk[j]) / self._hazards[j]

    def remaining(self, age_tokens: float) -> float:
        """Expected tokens still to come of one of this age."""
        if age_tokens >= self.bound:
            return 0.0
        j = self._bin(age_tokens)
        width = self._edges[j + 1] - age_tokens
        area, _ = _areas(self._hazards[j], width)
        return area + math.exp(-self._hazards[j] * width) * self._remaining[j + 1]

    def backlog_tokens(self, ages: Sequence[int], queued: int) -> float:
        """Expected tokens still to be produced by those of these ages and those who wait."""
        tokens = queued * self.mean
        for j, count in enumerate(ages):
            if count:
                tokens += count * self.remaining(middle(j))
        return tokens


def middle(age_bin: int) -> float:
    """An age in the middle of a bin, tokens."""
    left = AGE_EDGES_TOKENS[age_bin]
    right = AGE_EDGES_TOKENS[age_bin + 1] if age_bin + 1 < len(AGE_EDGES_TOKENS) else left
    return (left + right) / 2


def _oldest(table: Table) -> int:
    """The end of the last age bin that somebody was in."""
    seen = [j for j, tokens in enumerate(table.slow_exposure_tokens) if tokens > 0]
    return AGE_EDGES_TOKENS[min(seen[-1] + 1, len(AGE_EDGES_TOKENS) - 1)] if seen else 0


def _hazards(table: Table) -> list[float]:
    slow_ends, slow_exposure = sum(table.slow_ends), sum(table.slow_exposure_tokens)
    overall = max(slow_ends, SLOW_PSEUDO_EVENTS) / max(slow_exposure, 1.0)
    slow = [
        (ends + SLOW_PSEUDO_EVENTS) / (exposure + SLOW_PSEUDO_EVENTS / overall)
        for ends, exposure in zip(table.slow_ends, table.slow_exposure_tokens, strict=True)
    ]
    expected = sum(h * e for h, e in zip(slow, table.exposure_tokens, strict=True))
    least, most = RATIOS
    ends = sum(table.ends)
    ratio = min(most, max(least, (ends + ENOUGH_ENDS) / (expected + ENOUGH_ENDS)))
    return [
        (count + PSEUDO_EVENTS) / (exposure + PSEUDO_EVENTS / (h * ratio))
        for count, exposure, h in zip(table.ends, table.exposure_tokens, slow, strict=True)
    ]


def _areas(hazard: float, width: float) -> tuple[float, float]:
    """∫exp(-h·y) dy and ∫y·exp(-h·y) dy from 0 to the width."""
    spent = hazard * width
    if spent < 1e-6:
        return width, width * width / 2
    alive = math.exp(-spent)
    area = (1.0 - alive) / hazard
    return area, (area - width * alive) / hazard
