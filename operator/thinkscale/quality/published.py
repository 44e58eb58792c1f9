"""Curves that others published, to be drawn beside one's own.

A CSV with `series,thinking_tokens,score_percent`: mean thinking tokens spent, and the score there.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thinkscale.errors import ThinkscaleError

COLUMNS: Final = ("series", "thinking_tokens", "score_percent")


class CurveError(ThinkscaleError):
    """A file of curves that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One published series, by rising tokens."""

    name: str
    points: tuple[tuple[float, float], ...]
    """(mean thinking tokens, score from 0 to 1)."""


def read(path: Path) -> list[Curve]:
    """All series of a file. CurveError: file, line and mend."""
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(line for line in file if not line.startswith("#"))
            for name in COLUMNS:
                if name not in (rows.fieldnames or ()):
                    raise CurveError(f"{path}: column {name} is missing; give {','.join(COLUMNS)}")
            for row in rows:
                series[row["series"]].append(_point(path, rows.line_num, row))
    except OSError as error:
        raise CurveError(f"{path}: cannot be read ({error.strerror}); give a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CurveError(f"{path}: is not CSV in UTF-8 ({error})") from error
    if not series:
        raise CurveError(f"{path}: holds no point; add rows of {','.join(COLUMNS)}")
    return [Curve(name=name, points=tuple(sorted(points))) for name, points in series.items()]


def _point(path: Path, line: int, row: dict[str, str]) -> tuple[float, float]:
    try:
        tokens, score = float(row["thinking_tokens"]), float(row["score_percent"])
    except (TypeError, ValueError) as error:
        raise CurveError(f"{path}:{line}: tokens and score must be numbers") from error
    if not (0 <= tokens < float("inf") and 0 <= score <= 100):
        raise CurveError(f"{path}:{line}: tokens are 0 or more, a score is 0 to 100")
    return tokens, score / 100
