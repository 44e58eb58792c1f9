"""The running life table of thinking: how long thoughts last, and what is left of one of this age.

Occurrence/exposure by age bin (`model.ages`): requests still thinking and thoughts cut by a budget
count as exposure without an end, so long thoughts are not under-counted (censoring). What is left
follows from the counts by `model.residuals`. Pure.
"""

from thinkscale.model.ages import AGE_EDGES_TOKENS, BINS, bin_of
from thinkscale.model.residuals import PRIOR_MEAN_TOKENS, mean_residuals
from thinkscale.model.signals import LifeTableCounts


class LifeTable:
    """Counts, and the mean residual computed from them."""

    __slots__ = (
        "_exposed",
        "_fresh_until",
        "_residual",
        "_seen",
        "ends",
        "exposure_tokens",
        "prior_mean_tokens",
    )

    def __init__(self, prior_mean_tokens: float = PRIOR_MEAN_TOKENS) -> None:
        self.exposure_tokens = [0] * BINS
        self.ends = [0] * BINS
        self.prior_mean_tokens = prior_mean_tokens
        self._residual: list[float] = []
        self._seen = self._exposed = 0
        """Ends and tokens, in all bins."""
        self._fresh_until = (-1, -1)
        """The residual is as good as new up to so many of them."""

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
        self._exposed += max(0, to_tokens - from_tokens)

    def end(self, at_tokens: int) -> None:
        """A thought ended by itself."""
        self.ends[bin_of(at_tokens)] += 1
        self._seen += 1

    def counts(self) -> LifeTableCounts:
        """For the wire."""
        return LifeTableCounts(exposure_tokens=tuple(self.exposure_tokens), ends=tuple(self.ends))

    def remaining(self, age_tokens: int, limit: int | None) -> float:
        """Expected thinking tokens still to come from a thought of this age, bounded by its
        budget. Reckoned anew when there is a fiftieth more to reckon from: every request asks.
        """
        ends, tokens = self._fresh_until
        if self._seen > ends or self._exposed > tokens:
            self._residual = mean_residuals(self.exposure_tokens, self.ends, self.prior_mean_tokens)
            self._fresh_until = self._seen * 51 // 50, self._exposed * 51 // 50
        left = self._residual[bin_of(age_tokens)]
        return left if limit is None else min(left, max(0.0, limit - age_tokens))
