"""Workloads from CSV files: `arrival_s,prompt_tokens,reasoning_tokens,answer_tokens`, plain or .gz.

Further columns are ignored and the order of columns is free. What cannot be meant is refused in one
line that names the file, the row (the header is row 1) and the mend; nothing is repaired silently.
Times are kept as they are, so a trace that begins at 1,700,000,000 is refused too: its day would
lie 53 years ahead.
"""

import csv
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from thinkscale.errors import ThinkscaleError
from thinkscale.simulation.workload import Workload

COLUMNS: Final = ("arrival_s", "prompt_tokens", "reasoning_tokens", "answer_tokens")
LATEST_BEGIN_SECONDS: Final = 7 * 86_400.0
MOST_TOKENS: Final = 10_000_000


class TraceError(ThinkscaleError):
    """A trace cannot be used. The message is one line: file, row, what is wrong, how to mend it."""

    def __init__(self, path: Path, row: int | None, message: str) -> None:
        where = f"{path}, row {row}" if row is not None else str(path)
        super().__init__(f"{where}: {message}")
        self.path = path
        self.row = row


def read(path: Path) -> Workload:
    """The requests of a trace, named after its file. TraceError: it cannot be used."""
    try:
        with _open(path) as file:
            rows = list(_rows(path, file))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TraceError(path, None, f"cannot be read ({reason}); give a CSV file") from error
    except UnicodeDecodeError as error:
        message = "is not text in UTF-8; give a CSV file, compressed ones named .gz"
        raise TraceError(path, None, message) from error
    if not rows:
        message = f"holds no request; add rows of {','.join(COLUMNS)}"
        raise TraceError(path, None, message)
    table = np.array(rows, dtype=np.float64)
    lengths = table[:, 1:].astype(np.int64)
    return Workload(
        name=path.name.removesuffix(".gz").removesuffix(".csv"),
        at_seconds=np.ascontiguousarray(table[:, 0]),
        prompt_tokens=np.ascontiguousarray(lengths[:, 0]),
        thinking_tokens=np.ascontiguousarray(lengths[:, 1]),
        answer_tokens=np.ascontiguousarray(lengths[:, 2]),
    )


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _rows(path: Path, file: TextIO) -> Iterator[tuple[float, ...]]:
    reader = csv.reader(file, strict=True)
    header = [name.strip().removeprefix("\ufeff") for name in next(reader, [])]
    if not any(header):
        message = f"is empty; the first row must name the columns {','.join(COLUMNS)}"
        raise TraceError(path, None, message)
    for name in COLUMNS:
        if name not in header:
            message = f"column {name} is missing; the header must name {','.join(COLUMNS)}"
            raise TraceError(path, 1, message)
    places = [header.index(name) for name in COLUMNS]
    previous: float | None = None
    try:
        for cells in reader:
            if not cells:
                continue
            row = _row(path, reader.line_num, cells, places)
            _check(path, reader.line_num, row, previous)
            previous = row[0]
            yield row
    except csv.Error as error:
        message = f"is not CSV ({error}); write one request a row, separated by commas"
        raise TraceError(path, reader.line_num, message) from error


def _row(path: Path, number: int, cells: list[str], places: list[int]) -> tuple[float, ...]:
    values = []
    for name, place in zip(COLUMNS, places, strict=True):
        if place >= len(cells):
            raise TraceError(path, number, f"{name} is missing; give every row all columns")
        try:
            value = float(cells[place])
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            message = f"{name} is {cells[place]!r}, which is not a number; write digits alone"
            raise TraceError(path, number, message)
        values.append(value)
    return tuple(values)


def _check(path: Path, number: int, row: tuple[float, ...], previous: float | None) -> None:
    arrival, *lengths = row
    for name, value in zip(COLUMNS, row, strict=True):
        if value < 0:
            message = f"{name} is {value:g}; it cannot be negative: remove the row or correct it"
            raise TraceError(path, number, message)
    for name, value in zip(COLUMNS[1:], lengths, strict=True):
        if value != int(value) or value > MOST_TOKENS:
            message = f"{name} is {value:.12g}; write a whole number of at most {MOST_TOKENS:,}"
            raise TraceError(path, number, message)
    if previous is not None and arrival < previous:
        message = f"arrival_s {arrival:.12g} is before {previous:.12g} of the row before it; "
        raise TraceError(path, number, message + "sort the trace by arrival_s")
    if previous is None and arrival > LATEST_BEGIN_SECONDS:
        message = f"arrival_s begins at {arrival:.12g}; subtract the first so that it begins near 0"
        raise TraceError(path, number, message)
    if row[1] < 1:
        raise TraceError(path, number, "prompt_tokens is 0; a prompt has at least one token")
    if row[2] + row[3] < 1:
        message = "reasoning_tokens and answer_tokens are 0; a request generates at least one"
        raise TraceError(path, number, message)
