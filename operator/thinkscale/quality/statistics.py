"""Intervals and tests for shares of right answers. Standard library alone.

The unit is the row, not the answer: several samples of one row resemble each other, so what they
are worth together is measured (the design effect), never assumed. With one sample each and equal
weights everything reduces to the textbook forms.

- `interval`: Wilson's score interval (Wilson 1927) at the effective number of answers.
- `mcnemar`: the exact test of paired answers; with several samples, of the signs of the rows'
  differences.
- `noninferior`: Tango's score test for a difference of paired shares (Tango 1998, Statistics in
  Medicine 17:891), which stays honest where nothing differs: 0 of 500 pairs that differ do not
  prove that none ever will.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

CONFIDENCE: Final = 0.95
POWER: Final = 0.8
MOST_NEEDED: Final = 1_000_000
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share with its interval."""

    value: float
    low: float
    high: float
    effective: float
    """Independent answers that would tell as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Two levels compared on the same rows: shares of all (weighted) pairs."""

    gained: float
    """The second is right and the first is not."""
    lost: float
    effective: float
    """Independent pairs that would tell as much."""
    rows: int
    rows_gained: int
    """Rows with more right answers at the second."""
    rows_lost: int
    pairs_gained: int
    pairs_lost: int

    @property
    def difference(self) -> float:
        """Second less first."""
        return self.gained - self.lost


def z_of(alpha: float) -> float:
    """The normal quantile of one tail."""
    return _NORMAL.inv_cdf(1 - alpha)


def share(scores: Sequence[float], weights: Sequence[float], answers: Sequence[int]) -> Share:
    """Of right answers: rows' mean scores, weights and numbers of answers. ValueError: no row."""
    total = sum(weights)
    if not scores:
        raise ValueError("no row, no share")
    mean = sum(w * x for w, x in zip(weights, scores, strict=True)) / total
    squares = sum((w * (x - mean)) ** 2 for w, x in zip(weights, scores, strict=True))
    effective = _effective(mean * (1 - mean), squares / total**2, weights, sum(answers))
    low, high = interval(mean, effective)
    return Share(value=mean, low=low, high=high, effective=effective)


def _effective(spread: float, variance: float, weights: Sequence[float], answers: float) -> float:
    """Answers that independent and equal ones would be: `spread / variance`, where both are there;
    never more than there are. Where nothing varies, as many as the weights leave of the rows.
    """
    rows = sum(weights) ** 2 / sum(w * w for w in weights)
    return min(spread / variance, answers) if variance > 0 and spread > 0 else rows


def interval(value: float, count: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's. 8 of 10 right: 0.490 to 0.943."""
    z2 = z_of((1 - confidence) / 2) ** 2
    middle = (value + z2 / (2 * count)) / (1 + z2 / count)
    spread = value * (1 - value) / count + z2 / (4 * count * count)
    half = math.sqrt(z2 * spread) / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def pairs(
    first: Sequence[Sequence[bool]], second: Sequence[Sequence[bool]], weights: Sequence[float]
) -> Pairs:
    """Compare two levels: by row, the verdicts of the same samples. ValueError: no row."""
    total = sum(weights)
    if not first:
        raise ValueError("no row, no pair")
    gained, lost = [], []
    pairs_gained = pairs_lost = count = 0
    for one, other in zip(first, second, strict=True):
        up = sum(b and not a for a, b in zip(one, other, strict=True))
        down = sum(a and not b for a, b in zip(one, other, strict=True))
        pairs_gained, pairs_lost, count = pairs_gained + up, pairs_lost + down, count + len(one)
        gained.append(up / len(one))
        lost.append(down / len(one))
    up_share = sum(w * x for w, x in zip(weights, gained, strict=True)) / total
    down_share = sum(w * x for w, x in zip(weights, lost, strict=True)) / total
    differences = [a - b for a, b in zip(gained, lost, strict=True)]
    mean = up_share - down_share
    squares = sum((w * (d - mean)) ** 2 for w, d in zip(weights, differences, strict=True))
    spread = up_share + down_share - mean * mean
    return Pairs(
        gained=up_share,
        lost=down_share,
        effective=_effective(spread, squares / total**2, weights, count),
        rows=len(first),
        rows_gained=sum(d > 0 for d in differences),
        rows_lost=sum(d < 0 for d in differences),
        pairs_gained=pairs_gained,
        pairs_lost=pairs_lost,
    )


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p-value. 7 fixed, 1 broken: 0.0703."""
    count, fewer = gained + lost, min(gained, lost)
    if count == 0:
        return 1.0
    tail = sum(math.comb(count, k) for k in range(fewer + 1))
    return min(1.0, float(tail * 2 / (1 << count)))  # whole numbers: no count overflows


def noninferior(compared: Pairs, margin: float) -> float:
    """One-sided p-value of "the first level is better than the second by `margin` or more".

    Tango's statistic at that bound; small: the second is worse by less than the margin.
    """
    return 1 - _NORMAL.cdf(_tango(compared, margin))


def inferior(compared: Pairs, margin: float) -> float:
    """One-sided p-value of "the second level is worse by `margin` or less"; small: by more."""
    return _NORMAL.cdf(_tango(compared, margin))


def _tango(compared: Pairs, margin: float) -> float:
    """(difference + margin) over its standard error if the difference were just -margin."""
    n = compared.effective
    gained, lost = compared.gained * n, compared.lost * n
    # Under "lost - gained = margin" the likelihood is greatest at the root g of
    # 2n g^2 - (gained + lost - (gained - lost) margin - 2n margin) g - gained margin (1 - margin).
    linear = gained + lost - (gained - lost) * margin - 2 * n * margin
    constant = gained * margin * (1 - margin)
    likeliest = (linear + math.sqrt(linear * linear + 8 * n * constant)) / (4 * n)
    variance = n * (2 * likeliest + margin * (1 - margin))
    return (gained - lost + n * margin) / math.sqrt(variance)


def needed_rows(compared: Pairs, margin: float, alpha: float) -> int | None:
    """Rows that would settle it with a power of 80 %, if what was seen is how it is.

    None: more than a million; the difference seen lies too near the margin.
    """
    distance = abs(compared.difference + margin)
    differing = max(compared.gained + compared.lost, margin)
    spread = differing - compared.difference**2
    if distance == 0 or spread <= 0:
        return None
    independent = ((z_of(alpha) + z_of(1 - POWER)) / distance) ** 2 * spread
    # Nothing that differs would still need as many as rule out a share of `margin`.
    independent = max(independent, z_of(alpha) ** 2 * (1 - margin) / margin)
    rows = math.ceil(independent * compared.rows / compared.effective)
    return rows if rows <= MOST_NEEDED else None
