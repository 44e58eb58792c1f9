"""What is left of a thought of this age, from a life table: gateways route by it, each by its own.

Occurrence over exposure gives a constant hazard in each age bin (`model.ages`); thoughts still open
and thoughts cut short are exposure without an end, so long ones are not under-counted. Half an end
of a weak prior steadies bins in which nothing happened. The simulator's gateways reckon by the same
function, so that a rule tried there is the rule in production.

Worked example: with 100 ends over 100,000 tokens of exposure in every bin, the hazard is one end
per 1,000 tokens in each, and a thinker of any age has 1,000 tokens left on average.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from thinkscale.model.ages import AGE_EDGES_TOKENS, BINS

PRIOR_ENDS: Final = 0.5
PRIOR_MEAN_TOKENS: Final = 500.0
"""Of thinking, while nothing is known."""
PRIOR_ANSWER_TOKENS: Final = 200.0
"""Of an answer, while none has ended."""
_WIDTHS: Final = tuple(high - low for low, high in pairwise(AGE_EDGES_TOKENS))


def mean_residuals(
    exposure_tokens: Sequence[int],
    ends: Sequence[int],
    prior_mean_tokens: float = PRIOR_MEAN_TOKENS,
) -> list[float]:
    """Mean thinking tokens still to come at the start of each bin, from the last bin backwards:
    hazard h = ends / exposure; within a bin of width w a constant hazard lets 1 - exp(-h w) of them
    end, approximated by h w / (1 + h w) without a power; residual = tokens lived in the bin + what
    survives it.
    """
    hazards = [
        (ended + PRIOR_ENDS) / (exposed + PRIOR_ENDS * prior_mean_tokens)
        for exposed, ended in zip(exposure_tokens, ends, strict=True)
    ]
    residuals = [0.0] * BINS
    residuals[-1] = 1 / hazards[-1]
    for at in range(BINS - 2, -1, -1):
        inside = hazards[at] * _WIDTHS[at]
        ending = inside / (1 + inside)
        residuals[at] = ending / hazards[at] + (1 - ending) * residuals[at + 1]
    return residuals
