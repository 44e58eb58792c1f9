"""A sweep's result, and how it is written as JSON. Pure. For people: `markdown`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from thinkscale.quality.analysis import Case, Minimum, Point
from thinkscale.quality.dataset import Row
from thinkscale.quality.levels import Level
from thinkscale.quality.outcome import Graded
from thinkscale.quality.settings import Method, Settings
from thinkscale.quality.trade import Trade

SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a sweep cost, all its runs together."""

    requests: int
    tokens: int
    output_tokens: int
    """Generated for the answers that count."""
    independent_output_tokens: int
    """That independent runs of the same answers would have generated."""

    @property
    def speedup(self) -> float:
        """Of reuse, in generated tokens."""
        return self.independent_output_tokens / max(1, self.output_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All that a report is made of."""

    dataset: str
    settings: Settings
    samples: int
    levels: Sequence[Level]
    margin: float
    alpha: float
    look: int
    """1: the first conclusion."""
    unfinished: str
    """Why the plan was not finished; empty: it was."""
    estimated: bool
    """Some thinking tokens are estimates."""
    spent: Spent
    cases: Sequence[Case]
    trade: Trade | None


def as_json(result: Result) -> dict[str, Any]:
    """The whole result."""
    first = result.cases[0] if result.cases else None
    return {
        "schema": SCHEMA,
        "dataset": result.dataset,
        "settings": result.settings.written(),
        "samples": result.samples,
        "levels": [level.name for level in result.levels],
        "margin": result.margin,
        "alpha": result.alpha,
        "look": result.look,
        "unfinished": result.unfinished or None,
        "thinking_tokens_estimated": result.estimated,
        "spent": {**asdict(result.spent), "reuse_speedup": _speedup(result)},
        **({} if first is None else _case_json(first, concluded=not result.unfinished)),
        "cases": [_case_json(case, concluded=not result.unfinished) for case in result.cases],
        "trade": None if result.trade is None else asdict(result.trade),
    }


def _speedup(result: Result) -> float | None:
    return round(result.spent.speedup, 3) if result.settings.method is Method.REUSE else None


def _case_json(case: Case, *, concluded: bool) -> dict[str, Any]:
    recommended = case.recommended if concluded else None
    minimum = case.recommended_minimum if concluded else None
    return {
        "use_case": case.name,
        "rows": case.rows,
        "incomplete_rows": case.incomplete_rows,
        "points": [_point_json(point, case, concluded=concluded) for point in case.points],
        "recommended": recommended.level.name if recommended else None,
        "recommended_max_tokens": recommended.level.max_tokens if recommended else None,
        "recommended_min_tokens": minimum.level.min_tokens if minimum else None,
        "tokens_saved_share": round(case.saved_share, 4) if recommended else None,
        "minimums": [_minimum_json(minimum) for minimum in case.minimums],
    }


def _point_json(point: Point, case: Case, *, concluded: bool) -> dict[str, Any]:
    verdict = case.plateau.verdicts.get(point.level) if concluded else None
    p50, p95, p99 = point.thinking_quantiles
    return {
        "budget": point.level.name,
        "max_tokens": point.level.max_tokens,
        "min_tokens": point.level.min_tokens,
        "accuracy": round(point.accuracy.value, 5),
        "low": round(point.accuracy.low, 5),
        "high": round(point.accuracy.high, 5),
        "effective_answers": round(point.accuracy.effective, 1),
        "mean_thinking_tokens": round(point.thinking_mean, 2),
        "thinking_tokens": {"p50": p50, "p95": p95, "p99": p99},
        "cut_share": round(point.cut_share, 5),
        "empty_share": round(point.empty_share, 5),
        "fixed": point.fixed,
        "broken": point.broken,
        "p_value": point.p_value,
        "standing": verdict.standing.value if verdict else None,
        "more_rows": verdict.more_rows if verdict else None,
    }


def _minimum_json(minimum: Minimum) -> dict[str, Any]:
    return {
        "min_tokens": minimum.level.min_tokens,
        "fixed": minimum.fixed,
        "broken": minimum.broken,
        "accuracy_gain": round(minimum.accuracy_gain, 5),
        "p_value": minimum.p_value,
        "mean_thinking_tokens": round(minimum.thinking_mean, 2),
    }


def answer_json(row: Row, graded: Graded) -> dict[str, Any]:
    """One answer with its verdict."""
    one = graded.answered
    return {
        "id": row.name,
        "sample": int(one.sample.rpartition("#")[2]),
        "use_case": row.use_case,
        "budget": one.level.name,
        "right": graded.right,
        "answer": one.text,
        "expected": row.answer,
        "thinking_tokens": one.thinking_tokens,
        "answer_tokens": one.answer_tokens,
        "cut": one.cut,
        "waits": one.waits,
    }
