"""The running life table of thinking: how long thoughts last, and what is left of one of this age.

Occurrence/exposure by age bin (`model.ages`): requests still thinking and thoughts cut by a budget
count as exposure without an end, so long thoughts are not under-counted (censoring). A weak prior
of `PRIOR_ENDS` ends at the prior mean steadies bins with no data. Pure.

Worked example: with 100 ends over 100,000 tokens of exposure in every bin, the hazard is one end
per 1,000 tokens in each, and a thinker of any age has 1,000 tokens left on average.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from thinkscale.model.ages import AGE_EDGES_TOKENS, BINS, bin_of
from thinkscale.model.signals import LifeTableCounts

PRIOR_ENDS: Final = 0.5


class LifeTable:
    """Counts, and the mean residual computed from them."""

    __slots__ = ("_residual", "_stale", "ends", "exposure_tokens", "prior_mean_tokens")

    def __init__(self, prior_mean_tokens: float = 500.0) -> None:
        self.exposure_tokens = [0] * BINS
        self.ends = [0] * BINS
        self.prior_mean_tokens = prior_mean_tokens
        self._residual: list[float] = []
        self._stale = True

    def expose(self, from_tokens: int, to_tokens: int) -> None:
        """A thought grew from one age to another."""
        position = from_tokens
        bin_index = bin_of(from_tokens)
        while position < to_tokens:
            edge = AGE_EDGES_TOKENS[bin_index + 1] if bin_index + 1 < BINS else to_tokens
            upto = min(edge, to_tokens)
            self.exposure_tokens[bin_index] += upto - position
            position = upto
            bin_index += 1
        self._stale = True

    def end(self, at_tokens: int) -> None:
        """A thought ended by itself."""
        self.ends[bin_of(at_tokens)] += 1
        self._stale = True

    def counts(self) -> LifeTableCounts:
        """For the wire."""
        return LifeTableCounts(exposure_tokens=tuple(self.exposure_tokens), ends=tuple(self.ends))

    def remaining(self, age_tokens: int, limit: int | None) -> float:
        """Expected thinking tokens still to come from a thought of this age, bounded by its
        budget.
        """
        if self._stale:
            self._residual = _residuals(self.exposure_tokens, self.ends, self.prior_mean_tokens)
            self._stale = False
        left = self._residual[bin_of(age_tokens)]
        return left if limit is None else min(left, max(0.0, limit - age_tokens))


def _residuals(
    exposure: Sequence[int], ends: Sequence[int], prior_mean_tokens: float
) -> list[float]:
    """Mean residual thinking tokens at the start of each bin, from the last bin backwards:
    hazard h = ends / exposure; within a bin of width w a constant hazard lets 1 - exp(-h w) of them
    end, approximated by h w / (1 + h w) without a power; residual = tokens lived in the bin + what
    survives it.
    """
    hazards = [
        (ends[i] + PRIOR_ENDS) / (exposure[i] + PRIOR_ENDS * prior_mean_tokens) for i in range(BINS)
    ]
    residuals = [0.0] * BINS
    residuals[-1] = 1 / hazards[-1]
    widths = [high - low for low, high in pairwise(AGE_EDGES_TOKENS)]
    for i in range(BINS - 2, -1, -1):
        ended = hazards[i] * widths[i] / (1 + hazards[i] * widths[i])
        lived = ended / hazards[i]
        residuals[i] = lived + (1 - ended) * residuals[i + 1]
    return residuals
