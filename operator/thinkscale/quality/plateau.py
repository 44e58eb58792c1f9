"""Where more thinking stops paying: the fewest tokens that are not worse than the best. Pure.

A level is *within* if it is shown to be less than the margin below every other level, hence below
the best one, whichever that is: all comparisons must hold, so none needs a correction, and the luck
that makes one level look best cannot flatter its neighbours. *Below*: shown to be worse than some
level by more than the margin. Else the data cannot tell, and how many rows would is reckoned.

Several levels are several chances to be wrong. The error of the whole walk is held by the fallback
procedure (Wiens 2003, Pharmaceutical Statistics 2:211): from much thinking to little, the first
level has half of alpha, the others share the rest, and what a level had passes on to the next one
if it is within. Each further look at a sweep that was extended has half the alpha of the one
before, so all looks together err with less than twice alpha.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from thinkscale.quality import statistics
from thinkscale.quality.levels import Level
from thinkscale.quality.statistics import Pairs

FIRST_SHARE: Final = 0.5


class Standing(StrEnum):
    """Of a level against the best."""

    WITHIN = "within"
    BELOW = "below"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is known of one level."""

    standing: Standing
    p_value: float
    """Of "it is worse than some level by the margin or more"."""
    alpha: float
    """What the p-value had to be under."""
    more_rows: int | None = None
    """That would tell, where it is unknown; None: more than a million, or it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau:
    """One walk."""

    verdicts: Mapping[Level, Verdict]
    recommended: Level | None
    """The least thinking that is within; None: the data cannot tell."""


def alpha_of_look(looks_before: int) -> float:
    """5 % for the first conclusion, half of that for each further one."""
    return (1 - statistics.CONFIDENCE) / 2.0**looks_before


def find(
    compared: Mapping[tuple[Level, Level], Pairs],
    levels: Sequence[Level],
    margin: float,
    alpha: float,
) -> Plateau:
    """Walk along the levels. `compared[a, b]`: b against a, for all pairs."""
    ordered = sorted(levels, key=lambda level: level.rank, reverse=True)
    if len(ordered) == 1:
        only = Verdict(standing=Standing.WITHIN, p_value=0.0, alpha=alpha)
        return Plateau(verdicts={ordered[0]: only}, recommended=ordered[0])
    verdicts: dict[Level, Verdict] = {}
    carried = 0.0
    for place, level in enumerate(ordered):
        own = alpha * (FIRST_SHARE if place == 0 else (1 - FIRST_SHARE) / (len(ordered) - 1))
        others = [compared[other, level] for other in ordered if other != level]
        verdict = _verdict(others, margin, own + carried, alpha)
        carried = verdict.alpha if verdict.standing is Standing.WITHIN else 0.0
        verdicts[level] = verdict
    within = [level for level in ordered if verdicts[level].standing is Standing.WITHIN]
    return Plateau(verdicts=verdicts, recommended=within[-1] if within else None)


def _verdict(others: Sequence[Pairs], margin: float, own: float, alpha: float) -> Verdict:
    p_values = [statistics.noninferior(pairs, margin) for pairs in others]
    worst = max(p_values)
    if worst < own:
        return Verdict(standing=Standing.WITHIN, p_value=worst, alpha=own)
    if min(statistics.inferior(pairs, margin) for pairs in others) * len(others) < alpha:
        return Verdict(standing=Standing.BELOW, p_value=worst, alpha=own)
    hardest = others[p_values.index(worst)]
    needed = statistics.needed_rows(hardest, margin, own)
    more = None if needed is None else max(1, needed - hardest.rows)
    return Verdict(standing=Standing.UNKNOWN, p_value=worst, alpha=own, more_rows=more)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = highest
    return adjusted
