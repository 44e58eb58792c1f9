"""From graded answers to what a reader wants to know, by use case. Pure.

Only rows that are answered at all levels count, in all their samples: every comparison is of the
same questions. Maxima (and efforts) are compared among each other, minima with no minimum; a
minimum is recommended only if it gains significantly (Holm over the minima).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thinkscale.quality import plateau, statistics
from thinkscale.quality.dataset import Row, use_cases
from thinkscale.quality.levels import UNLIMITED, Level
from thinkscale.quality.outcome import Answered, Graded
from thinkscale.quality.plateau import Plateau
from thinkscale.quality.statistics import Share

ALL: str = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One level."""

    level: Level
    accuracy: Share
    thinking_mean: float
    thinking_quantiles: tuple[float, float, float]
    """p50, p95, p99."""
    cut_share: float
    empty_share: float
    """Answers without a word: the endpoint ended them before."""
    fixed: int
    """Against the most thinking: right here and wrong there. Pairs of answers."""
    broken: int
    p_value: float
    """Two-sided exact McNemar of that, unadjusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimum:
    """What a minimum repairs and breaks, against no minimum."""

    level: Level
    fixed: int
    broken: int
    p_value: float
    """McNemar, Holm over the minima."""
    accuracy_gain: float
    thinking_mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One use case."""

    name: str
    rows: int
    weight: float
    """Of its rows together."""
    incomplete_rows: int
    """Not answered at all levels yet; left out."""
    points: tuple[Point, ...]
    plateau: Plateau
    minimums: tuple[Minimum, ...]
    recommended_minimum: Minimum | None
    answered: Mapping[Level, Sequence[Answered]]
    """Of the rows that count, in the same order at every level."""

    @property
    def best(self) -> Point:
        """The most accurate maximum."""
        return max(
            (p for p in self.points if not p.level.min_tokens), key=lambda p: p.accuracy.value
        )

    @property
    def recommended(self) -> Point | None:
        """The point of the recommended maximum."""
        return next((p for p in self.points if p.level == self.plateau.recommended), None)

    @property
    def most(self) -> Point:
        """The most thinking without a minimum."""
        return [p for p in self.points if not p.level.min_tokens][-1]

    @property
    def longest_with_minimum(self) -> int | None:
        """The longest thought under the recommended minimum: a maximum that would have cut none."""
        if self.recommended_minimum is None:
            return None
        answered = self.answered[self.recommended_minimum.level]
        return max(one.thinking_tokens for one in answered)

    @property
    def saved_share(self) -> float:
        """Of thinking tokens, by the recommended maximum against the most thinking."""
        if self.recommended is None or not self.most.thinking_mean:
            return 0.0
        return 1 - self.recommended.thinking_mean / self.most.thinking_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Graded answers by row, sample and level."""

    rows: Sequence[Row]
    samples: int
    levels: Sequence[Level]
    graded: Mapping[tuple[str, Level], Graded]
    """By sample key and level."""


def cases(table: Table, margin: float, alpha: float) -> list[Case]:
    """All rows together first, then each use case where there are several; those of which no row
    is complete are left out.
    """
    names = use_cases(table.rows)
    groups = {ALL: list(table.rows)} if len(names) > 1 or ALL in names else {}
    for name in names:
        groups.setdefault(name, [row for row in table.rows if row.use_case == name])
    found = [_case(name, rows, table, margin, alpha) for name, rows in groups.items()]
    return [case for case in found if case is not None]


def _case(name: str, rows: Sequence[Row], table: Table, margin: float, alpha: float) -> Case | None:
    complete: list[Row] = []
    by_level: dict[Level, list[list[Graded]]] = defaultdict(list)
    for row in rows:
        keys = [f"{row.key}#{sample}" for sample in range(table.samples)]
        if all((key, level) in table.graded for key in keys for level in table.levels):
            complete.append(row)
            for level in table.levels:
                by_level[level].append([table.graded[key, level] for key in keys])
    if not complete:
        return None
    weights = [row.weight for row in complete]
    right = {
        level: [[one.right for one in row] for row in answers]
        for level, answers in by_level.items()
    }
    compared = {
        (a, b): statistics.pairs(right[a], right[b], weights)
        for a in table.levels
        for b in table.levels
        if a != b
    }
    maxima = [level for level in table.levels if not level.min_tokens]
    points = tuple(
        _point(level, by_level[level], right[level], weights, compared.get((maxima[-1], level)))
        for level in table.levels
    )
    minimums = _minimums(points, compared)
    return Case(
        name=name,
        rows=len(complete),
        weight=sum(weights),
        incomplete_rows=len(rows) - len(complete),
        points=points,
        plateau=plateau.find(compared, maxima, margin, alpha),
        minimums=minimums,
        recommended_minimum=_recommended(minimums, margin, alpha),
        answered={
            level: [one.answered for row in by_level[level] for one in row]
            for level in table.levels
        },
    )


def _point(
    level: Level,
    answers: Sequence[Sequence[Graded]],
    right: Sequence[Sequence[bool]],
    weights: Sequence[float],
    compared: statistics.Pairs | None,
) -> Point:
    flat = [one.answered for row in answers for one in row]
    thinking = sorted(one.thinking_tokens for one in flat)
    return Point(
        level=level,
        accuracy=statistics.share(
            [sum(row) / len(row) for row in right], weights, [len(row) for row in right]
        ),
        thinking_mean=sum(thinking) / len(thinking),
        thinking_quantiles=(_at(thinking, 0.5), _at(thinking, 0.95), _at(thinking, 0.99)),
        cut_share=sum(one.cut for one in flat) / len(flat),
        empty_share=sum(not one.text for one in flat) / len(flat),
        fixed=compared.pairs_gained if compared else 0,
        broken=compared.pairs_lost if compared else 0,
        p_value=statistics.mcnemar(compared.rows_gained, compared.rows_lost) if compared else 1.0,
    )


def _at(ordered: Sequence[int], quantile: float) -> float:
    return float(ordered[min(len(ordered) - 1, int(quantile * len(ordered)))])


def _minimums(
    points: Sequence[Point], compared: Mapping[tuple[Level, Level], statistics.Pairs]
) -> tuple[Minimum, ...]:
    lifted = [point for point in points if point.level.min_tokens]
    against = [compared[UNLIMITED, point.level] for point in lifted]
    adjusted = plateau.holm([statistics.mcnemar(p.rows_gained, p.rows_lost) for p in against])
    return tuple(
        Minimum(
            level=point.level,
            fixed=pairs.pairs_gained,
            broken=pairs.pairs_lost,
            p_value=p_value,
            accuracy_gain=pairs.difference,
            thinking_mean=point.thinking_mean,
        )
        for point, pairs, p_value in zip(lifted, against, adjusted, strict=True)
    )


def _recommended(minimums: Sequence[Minimum], margin: float, alpha: float) -> Minimum | None:
    """The smallest of those whose gain is significant, and within the margin of the largest."""
    gaining = [m for m in minimums if m.accuracy_gain > 0 and m.p_value < alpha]
    most = max((m.accuracy_gain for m in gaining), default=0.0)
    near = [m for m in gaining if m.accuracy_gain > most - margin]
    return min(near, key=lambda m: m.level.min_tokens, default=None)
