"""What a person sees while they wait, and the tables at the end.

Progress goes to stderr, and only to a terminal: a log gets a line per finished run instead. Tables
go to stdout, so that they can be piped.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

WIDEST: Final = 400
Fraction = Callable[[float], None]


@contextlib.contextmanager
def fraction(title: str) -> Iterator[Fraction]:
    """A bar for one piece of work; call what is yielded with the share done, 0 to 1."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda share: bar.update(task, completed=share)


class Tally:
    """Done, total and remaining time of many runs of different lengths.

    What remains is estimated by group (a scenario): the mean of its finished runs, or of all while
    none of it is finished.
    """

    def __init__(self, groups: Sequence[str], jobs: int) -> None:
        self.total = len(groups)
        self.done = 0
        self._left = {group: groups.count(group) for group in groups}
        self._seconds: dict[str, list[float]] = {}
        self._jobs = jobs

    def finish(self, group: str, seconds: float) -> None:
        """One more is finished, and took so long."""
        self.done += 1
        self._left[group] -= 1
        self._seconds.setdefault(group, []).append(seconds)

    @property
    def remaining_seconds(self) -> float | None:
        """None: nothing is finished yet."""
        every = [s for seconds in self._seconds.values() for s in seconds]
        if not every:
            return None
        mean = sum(every) / len(every)
        work = 0.0
        for group, left in self._left.items():
            known = self._seconds.get(group)
            work += left * (sum(known) / len(known) if known else mean)
        return work / self._jobs


@contextlib.contextmanager
def tally(total: Tally) -> Iterator[Callable[[str], None]]:
    """Show a tally; call what is yielded with what was just finished."""
    console = Console(stderr=True)
    begun = time.monotonic()
    if not console.is_terminal:
        yield lambda name: console.print(_line(total, begun, name), highlight=False, soft_wrap=True)
        return
    with Progress(BarColumn(), TextColumn("{task.description}"), console=console) as bar:
        task = bar.add_task(_line(total, begun, ""), total=total.total, completed=total.done)

        def show(name: str) -> None:
            bar.update(task, completed=total.done, description=_line(total, begun, name))

        yield show


def _line(total: Tally, begun: float, name: str) -> str:
    elapsed = clock(time.monotonic() - begun)
    remaining = total.remaining_seconds
    left = "?" if remaining is None else clock(remaining)
    return f"{total.done}/{total.total} runs, {elapsed} gone, {left} to go  {name}".rstrip()


def clock(seconds: float) -> str:
    """1:02:03, or 2:03."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def pairs(title: str, lines: Sequence[tuple[str, str]]) -> None:
    """A table of two columns on stdout."""
    table([title, ""], [list(line) for line in lines])


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """A table on stdout, numbers to the right; into a pipe it is never folded."""
    shown = Table(header_style="bold")
    for number, name in enumerate(head):
        shown.add_column(name, justify="left" if number == 0 else "right", no_wrap=True)
    for line in lines:
        shown.add_row(*line)
    console = Console()
    if not console.is_terminal:
        console = Console(width=Console(width=WIDEST).measure(shown).maximum)
    console.print(shown)
