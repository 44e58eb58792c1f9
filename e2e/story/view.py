"""The live view: a table that redraws itself on a terminal, a line every five seconds elsewhere.

It shows what Kubernetes says (samples) and what the client sees (outcomes), side by side, and makes
nothing up: what is not known yet is a dash. A decision is printed once, with its reason in the
operator's own words, when it first appears.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from e2e.story.outcomes import Outcome, Slo, attainment
from e2e.story.sampling import Sample

REDRAW_SECONDS = 1.0
LINE_SECONDS = 5.0
KEPT_DECISIONS = 5
DASH = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """All that one redraw shows."""

    second: float
    samples: dict[str, Sample]
    outcomes: dict[str, list[Outcome]]
    intended: dict[str, int]
    """Requests whose time has come, by service."""


@dataclass(slots=True)
class DecisionLog:
    """Decisions in the order in which they appeared, each once."""

    seen: set[str] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)

    def note(self, moment: Moment) -> list[str]:
        """Take note of the new ones; returns their lines."""
        new = []
        for service, sample in moment.samples.items():
            if sample.decision and f"{service}/{sample.decision_id}" not in self.seen:
                self.seen.add(f"{service}/{sample.decision_id}")
                new.append(
                    f"{moment.second:6.0f} s  {service}: {sample.decision}. {sample.message}"
                )
        self.lines += new
        return new


def attained(sample: Sample, slo: Slo) -> str:
    """An SLO's attainment as the operator publishes it, beside its objective."""
    value = sample.attained_percent.get(slo.name, DASH)
    return f"{value}/{slo.objective_percent:g}%"


def cells(service: str, moment: Moment, slos: Sequence[Slo]) -> list[str]:
    """One row of the table."""
    sample = moment.samples[service]
    done = moment.outcomes.get(service, [])
    failed = sum(outcome.failed for outcome in done)
    seen = [attainment(done, slo) for slo in slos]
    return [
        service,
        f"{sample.ready}/{sample.desired}",
        str(sample.gpus),
        _number(sample.depth),
        _number(sample.backlog_seconds, " s"),
        _number(sample.first_answer_p95_seconds, " s", 1),
        " ".join(attained(sample, slo) for slo in slos),
        " ".join(DASH if share is None else f"{share:.0%}" for share in seen),
        _number(sample.effective_max_tokens),
        f"{moment.intended.get(service, 0)}/{len(done)}/{failed}",
    ]


# Two lines each: the table must fit a terminal of 90 columns.
HEADINGS = (
    "service",
    "ready/\ndesired",
    "GPUs",
    "depth",
    "backlog",
    "p95 first\nanswer",
    "attained/\nobjective",
    "client\nsaw",
    "budget",
    "sent/done/\nfailed",
)


def table(moment: Moment, slos: Sequence[Slo]) -> Table:
    """The table of services."""
    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for number, heading in enumerate(HEADINGS):
        drawn.add_column(heading, justify="left" if number == 0 else "right", no_wrap=True)
    for service in moment.samples:
        drawn.add_row(*cells(service, moment, slos))
    return drawn


def plain_line(service: str, moment: Moment, slos: Sequence[Slo]) -> str:
    """The same row as a line of text."""
    pairs = zip(HEADINGS[1:], cells(service, moment, slos)[1:], strict=True)
    told = "  ".join(f"{_on_one_line(heading)} {value}" for heading, value in pairs)
    return f"{moment.second:6.0f} s  {service}  {told}"


class View:
    """Draws moments until stopped; `look` is asked for a new one each time."""

    def __init__(
        self,
        console: Console,
        look: Callable[[], Moment],
        slos: Sequence[Slo],
        *,
        commands: Sequence[str] = (),
    ) -> None:
        self._console = console
        self._look = look
        self._slos = slos
        self._commands = commands
        self.decisions = DecisionLog()

    def run(self, until: Callable[[], bool]) -> None:
        """Draw until `until` says so; returns after a last draw."""
        if self._console.is_terminal:
            self._run_live(until)
        else:
            self._run_plain(until)

    def _run_live(self, until: Callable[[], bool]) -> None:
        with Live(console=self._console, auto_refresh=False) as live:
            finished = False
            while not finished:
                finished = until()
                live.update(self._screen(self._look()), refresh=True)
                time.sleep(0 if finished else REDRAW_SECONDS)

    def _screen(self, moment: Moment) -> RenderableType:
        self.decisions.note(moment)
        parts: list[RenderableType] = [
            Text(f"{moment.second:.0f} s into the run", style="bold"),
            table(moment, self._slos),
            Panel(
                Text("\n".join(self.decisions.lines[-KEPT_DECISIONS:]) or DASH),
                title="decisions",
                title_align="left",
            ),
        ]
        if self._commands:
            parts.append(
                Panel(
                    Text("\n".join(self._commands), no_wrap=True, overflow="ignore"),
                    title="in another terminal",
                    title_align="left",
                )
            )
        return Group(*parts)

    def _run_plain(self, until: Callable[[], bool]) -> None:
        due = 0.0
        finished = False
        while not finished:
            finished = until()
            moment = self._look()
            lines = self.decisions.note(moment)
            if finished or moment.second >= due:
                due = (moment.second // LINE_SECONDS + 1) * LINE_SECONDS
                lines += [plain_line(name, moment, self._slos) for name in moment.samples]
            for line in lines:
                print(line, flush=True, file=self._console.file)
            time.sleep(0 if finished else REDRAW_SECONDS)


class Progress:
    """Prints `what ... 3.2 s` for the steps of a set-up, as they happen."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        """A line by itself."""
        with self._lock:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def step(self, what: str) -> "Step":
        """`with progress.step("applying"):` says it when it begins and how long it took."""
        return Step(self, what)


class Step:
    """One step of a set-up; a failed one is not told as done."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._what = what
        self._begun = 0.0

    def __enter__(self) -> "Step":
        self._begun = time.monotonic()
        self._progress.say(f"  … {self._what}")
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        mark = "✗" if failed else "✓"
        self._progress.say(f"  {mark} {self._what} ({time.monotonic() - self._begun:.1f} s)")


def _on_one_line(heading: str) -> str:
    return heading.replace("/\n", "/").replace("\n", " ")


def _number(value: float | None, unit: str = "", digits: int = 0) -> str:
    return DASH if value is None else f"{value:,.{digits}f}{unit}"
