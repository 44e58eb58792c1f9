"""Cut a small sample out of a long public trace, so that the demo's traffic can be traced back.

`python -m e2e.story.cut_trace SOURCE --offset-seconds 35910 --seconds 150 > r1-sample.csv` keeps
every request that arrived in the window, moves its arrival to the window's start and touches
nothing else: no thinning, no smoothing, no length is changed. The window is chosen by hand for its
shape (a ramp, a peak and a fall), which is why offset and length are stated next to the sample.
"""

import argparse
import csv
import gzip
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

COLUMNS = ("arrival_s", "prompt_tokens", "reasoning_tokens", "answer_tokens")


def cut(
    rows: Iterable[Sequence[str]], offset_seconds: float, seconds: float
) -> Iterator[tuple[str, ...]]:
    """The rows that arrived in [offset, offset + seconds), with arrivals counted from offset."""
    for arrival, *lengths in rows:
        at = float(arrival) - offset_seconds
        if 0 <= at < seconds:
            yield (f"{at:.3f}", *lengths)


def read_rows(source: Path) -> Iterator[list[str]]:
    """Rows of a CSV trace, plain or gzipped. Raises ValueError if its columns are not ours."""
    with gzip.open(source, "rt") if source.suffix == ".gz" else source.open() as text:
        reader = csv.reader(text)
        header = tuple(next(reader, ()))
        if header != COLUMNS:
            raise ValueError(f"{source.name}: columns are {header}, expected {COLUMNS}")
        yield from reader


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sample to standard output."""
    parser = argparse.ArgumentParser(prog="cut_trace", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--offset-seconds", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args(argv)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(cut(read_rows(args.source), args.offset_seconds, args.seconds))
    sys.stdout.write(out.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
