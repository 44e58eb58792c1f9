"""The run as a picture: a PNG for a README, and the same in the terminal.

The panels share the time axis: thinking depth (the signal), replicas desired and ready and the
thinking budget in force (the two answers to it), and the time to the first answer of each request
against its own limit. In the last one a request is drawn at the moment it was sent, and a late or
failed one stands out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.story.outcomes import Outcome, Slo, indicator_seconds, limit_seconds, missed
from e2e.story.sampling import Sample

INK, BLUE, LIGHT, GREEN, RED, GREY = (
    "#1f2430", "#2563eb", "#bfdbfe", "#15803d", "#dc2626", "#9ca3af",
)  # fmt: skip
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": "#eceef2",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def draw_png(
    path: Path, title: str, samples: Sequence[Sample], outcomes: Sequence[Outcome], slo: Slo
) -> None:
    """Write the picture of one service's run."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    with pyplot.rc_context(STYLE):
        figure, (top, middle, low, bottom) = pyplot.subplots(
            4, 1, figsize=(9, 7.6), sharex=True, height_ratios=(1, 1, 0.6, 1.3)
        )
        draw_depth(top, samples)
        draw_replicas(middle, samples)
        draw_budget(low, samples)
        draw_first_answers(bottom, outcomes, slo)
        bottom.set_xlabel("seconds into the run")
        end = max([s.second for s in samples] + [o.end for o in outcomes], default=1)
        bottom.set_xlim(0, end)
        figure.suptitle(title, x=0.02, ha="left", fontsize=12, fontweight="bold", color=INK)
        figure.align_ylabels()
        figure.tight_layout()
        figure.savefig(path, dpi=150)
        pyplot.close(figure)


def draw_depth(axes: Any, samples: Sequence[Sample]) -> None:
    """Thinking depth as an area."""
    known = [(s.second, s.depth) for s in samples if s.depth is not None]
    seconds, depths = [s for s, _ in known], [d for _, d in known]
    axes.fill_between(seconds, depths, step="post", color=LIGHT)
    axes.step(seconds, depths, where="post", color=BLUE, linewidth=1.3)
    axes.set_ylabel("thinking depth\n(requests)")
    axes.set_ylim(bottom=0)


def draw_replicas(axes: Any, samples: Sequence[Sample]) -> None:
    """Desired and ready replicas as steps; the gap between them is the cold start."""
    seconds = [s.second for s in samples]
    ready, desired = [s.ready for s in samples], [s.desired for s in samples]
    axes.fill_between(seconds, ready, step="post", color="#dcfce7")
    axes.step(seconds, ready, where="post", color=GREEN, linewidth=1.3, label="ready")
    axes.step(
        seconds, desired, where="post", color=INK, linewidth=1.3, linestyle=(0, (3, 2)),
        label="desired",
    )  # fmt: skip
    axes.set_ylabel("replicas")
    axes.set_ylim(0, max([*desired, *ready, 1]) + 0.6)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="upper left", ncols=2)


def draw_budget(axes: Any, samples: Sequence[Sample]) -> None:
    """The effective budget: it falls only while new replicas cannot help yet."""
    known = [(s.second, s.effective_max_tokens) for s in samples if s.effective_max_tokens]
    seconds, tokens = [s for s, _ in known], [t for _, t in known]
    axes.step(seconds, tokens, where="post", color=INK, linewidth=1.3)
    axes.set_ylabel("budget\n(tokens)")
    axes.set_ylim(0, max([*tokens, 1]) * 1.15)


def draw_first_answers(axes: Any, outcomes: Sequence[Outcome], slo: Slo) -> None:
    """Each request at the moment it was sent: its time to the first answer, and its own limit."""
    for late, colour, label in ((False, BLUE, "met"), (True, RED, "late or failed")):
        some = [o for o in outcomes if missed(o, slo) is late]
        points = [(o.intended, indicator_seconds(o, slo)) for o in some]
        drawn = [(x, y) for x, y in points if y is not None]
        axes.scatter(
            [x for x, _ in drawn], [y for _, y in drawn], s=11, color=colour,
            label=f"{label} ({len(some)})", zorder=3, linewidths=0,
        )  # fmt: skip
    axes.scatter(
        [o.intended for o in outcomes], [limit_seconds(o, slo) for o in outcomes],
        s=22, marker="_", color=GREY, label="its limit", linewidths=1,
    )  # fmt: skip
    axes.set_ylabel("first answer after\n(seconds)")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", ncols=3)


def terminal_plot(
    samples: Sequence[Sample],
    outcomes: Sequence[Outcome],
    slo: Slo,
    *,
    width: int = 100,
    colour: bool = True,
) -> str:
    """The same three panels in characters."""
    seconds = [s.second for s in samples]
    end = max([*seconds, *(o.end for o in outcomes), 1.0])
    depth = Panel(title="thinking depth", height=10)
    depth.add("", "blue", seconds, [s.depth or 0 for s in samples])
    replicas = Panel(title="replicas", height=9)
    replicas.add("desired", "gray", seconds, [s.desired for s in samples])
    replicas.add("ready", "green", seconds, [s.ready for s in samples])
    answers = Panel(title="seconds to the first answer, by the second of sending", height=14)
    for late, label, shade in ((False, "met", "blue"), (True, "late", "red")):
        points = _answer_points(outcomes, slo, late=late)
        answers.add(label, shade, *points, marker="x" if late else "dot")
    panels = (depth, replicas, answers)
    return "".join(panel.built(width, end).string(colorless=not colour) for panel in panels)


def _answer_points(
    outcomes: Sequence[Outcome], slo: Slo, *, late: bool
) -> tuple[list[float], list[float]]:
    points = [
        (o.intended, value)
        for o in outcomes
        if missed(o, slo) is late and (value := indicator_seconds(o, slo)) is not None
    ]
    return [x for x, _ in points], [y for _, y in points]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel in characters: series that share a time axis."""

    title: str
    height: int
    series: list[tuple[str, str, Sequence[float], Sequence[float], str]] = field(
        default_factory=list
    )

    def add(
        self,
        label: str,
        colour: str,
        x: Sequence[float],
        y: Sequence[float],
        *,
        marker: str = "braille",
    ) -> None:
        """One series; braille is a connected line, every other marker a cloud of points."""
        self.series.append((label, colour, x, y, marker))

    def built(self, width: int, end: float) -> Any:
        """plotext's matrix of characters."""
        import plotext

        plotext.terminal.limit(False, False)
        figure = plotext.figure
        figure.clear()
        figure.plot_size(width, self.height)
        figure.theme("colorless")
        figure.title(self.title)
        figure.legend(True, x=1.0, y=1.0, ha="right", va="top", relative=True)
        highest = 1.0
        for label, colour, x, y, marker in self.series:
            if x:
                drawn = figure.signal(
                    list(x), list(y), marker=plotext.marker(marker).fill(colour)
                ).lines(marker == "braille")
                figure.draw(drawn.label(label) if label else drawn)
                highest = max(highest, *y)
        figure.ruler("y").lim(0, highest)
        figure.ruler("x").lim(0, end)
        return figure.build()
