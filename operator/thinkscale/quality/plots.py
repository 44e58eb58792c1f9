"""The pictures of a sweep: what thinking buys, and what it costs. PNG files, read at 900 pixels.

`trade` has accuracy, latency and replicas above each other over the same budgets, so that a budget
is one vertical line through all three. `curves` has accuracy over the thinking tokens that were
really spent, by use case, with published curves behind if there are any.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thinkscale.quality.analysis import Case, Point
from thinkscale.quality.published import Curve
from thinkscale.quality.report import Result
from thinkscale.quality.trade import Trade

WIDTH_INCHES: Final = 9.0
DPI: Final = 120
OURS: Final = "#c2410c"
COLOURS: Final = ("#2563eb", "#059669", "#7c3aed", "#b45309", "#0891b2", "#be185d", "#4d7c0f")
MARKERS: Final = "sD^vP*X"
GREYS: Final = ("#64748b", "#94a3b8", "#475569", "#a1a1aa", "#78716c")
BAND: Final = "#fed7aa"


def draw(directory: Path, result: Result, published: Sequence[Curve]) -> list[str]:
    """Both pictures; returns the files' names. Nothing to draw: none."""
    if not result.cases:
        return []
    names = ["trade.png", "curves.png"]
    trade(directory / names[0], result)
    curves(directory / names[1], result, published)
    return names


def trade(path: Path, result: Result) -> None:
    """Accuracy, and under a load also latency and replicas, over the budgets."""
    case, load = result.cases[0], result.trade
    points = case.points
    rows = 1 if load is None else 3
    figure = Figure(figsize=(WIDTH_INCHES, 3.4 + 2.5 * (rows - 1)), layout="constrained")
    axes = list(figure.subplots(rows, 1, squeeze=False, sharex=True)[:, 0])
    places = list(range(len(points)))
    _accuracy(axes[0], points, places)
    if load is not None:
        _latencies(axes[1], load, points, places)
        _replicas(axes[2], load, points, places)
    chosen = None if result.unfinished else case.recommended
    for plot in axes:
        plot.spines[["top", "right"]].set_visible(False)
        plot.grid(True, axis="y", alpha=0.25)
        if chosen is not None:
            at = places[points.index(chosen)]
            plot.axvspan(at - 0.4, at + 0.4, color=BAND, alpha=0.6, linewidth=0, zorder=0)
    if chosen is not None:
        label = "fewest tokens that are not worse"
        axes[0].fill_between([], [], color=BAND, alpha=0.6, linewidth=0, label=label)
    axes[0].legend(loc="lower right", frameon=False)
    axes[-1].set_xticks(places, [point.level.name for point in points])
    axes[-1].set_xlabel("thinking budget, tokens (none: no limit; min: at least so many)")
    of = "all rows" if len(result.cases) > 1 else case.name
    axes[0].set_title(f"What thinking buys, and costs: {result.settings.model}, {of}")
    _save(figure, path)


def _accuracy(plot: Axes, points: Sequence[Point], places: Sequence[int]) -> None:
    for minimum, style in ((False, "o-"), (True, "D")):
        mine = [(x, p) for x, p in zip(places, points, strict=True)
                if bool(p.level.min_tokens) == minimum]  # fmt: skip
        if not mine:
            continue
        values = [100 * point.accuracy.value for _, point in mine]
        low = [100 * (point.accuracy.value - point.accuracy.low) for _, point in mine]
        high = [100 * (point.accuracy.high - point.accuracy.value) for _, point in mine]
        plot.errorbar(
            [place for place, _ in mine], values, yerr=[low, high], fmt=style, color=OURS,
            capsize=4, linewidth=1.4, markerfacecolor="white" if minimum else OURS,
            label="with a minimum" if minimum else "accuracy, 95 % interval",
        )  # fmt: skip
        for (place, _), value in zip(mine, values, strict=True):
            plot.annotate(
                f"{value:.1f}", (place, value), xytext=(8, -11), textcoords="offset points",
                fontsize=9,
            )  # fmt: skip
    plot.set_xlim(-0.6, len(places) - 0.4)
    plot.set_ylim(0, 104)
    plot.set_ylabel("accuracy, %")


def _latencies(plot: Axes, load: Trade, points: Sequence[Point], places: Sequence[int]) -> None:
    shown = {point.name: point for point in load.points}
    for number, (mark, style) in enumerate((("p50", ":"), ("p95", "--"), ("p99", "-"))):
        for values, colour, name in (
            ([shown[p.level.name].ttfa_seconds[number] for p in points], "#2563eb", "first answer"),
            ([shown[p.level.name].e2e_seconds[number] for p in points], "#475569", "end to end"),
        ):
            plot.plot(places, values, style, color=colour, marker="o", markersize=3.5,
                      linewidth=1.3, label=f"{name} {mark}")  # fmt: skip
    plot.set_yscale("log")
    plot.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    plot.set_ylabel("seconds (logarithmic)")
    plot.legend(loc="upper left", ncols=3, frameon=False, fontsize=8)
    low, high = plot.get_ylim()
    plot.set_ylim(low, high * (high / low) ** 0.45)  # room for the legend


def _replicas(plot: Axes, load: Trade, points: Sequence[Point], places: Sequence[int]) -> None:
    shown = [next(p for p in load.points if p.name == point.level.name) for point in points]
    plot.bar(places, [point.replicas for point in shown], width=0.5, color="#94a3b8",
             label="replicas at the peak")  # fmt: skip
    plot.plot(places, [point.replicas_mean for point in shown], "D", color="black", markersize=5,
              label="mean, as a fraction")  # fmt: skip
    for place, point in zip(places, shown, strict=True):
        plot.annotate(
            f"{point.gpus} GPUs", (place, point.replicas), xytext=(0, 3),
            textcoords="offset points", ha="center", fontsize=9,
        )  # fmt: skip
    if load.max_replicas is not None:
        plot.axhline(load.max_replicas, color="red", linewidth=1, linestyle="--",
                     label="maxReplicas")  # fmt: skip
    plot.yaxis.set_major_locator(MaxNLocator(integer=True))
    plot.set_ylim(0, max(plot.get_ylim()[1], 1) * 1.35)
    plot.set_ylabel("replicas needed")
    plot.legend(loc="upper left", ncols=3, frameon=False, fontsize=8)
    plot.text(0.995, 0.96, load.load, transform=plot.transAxes, ha="right", va="top", fontsize=8)


def curves(path: Path, result: Result, published: Sequence[Curve]) -> None:
    """Accuracy over thinking tokens spent, by use case."""
    figure = Figure(figsize=(WIDTH_INCHES, 4.6), layout="constrained")
    plot = figure.subplots()
    for number, curve in enumerate(published):
        tokens, scores = zip(*curve.points, strict=True)
        plot.plot(tokens, [100 * score for score in scores], ".--", linewidth=1,
                  color=GREYS[number % len(GREYS)], label=f"{curve.name} (published)")  # fmt: skip
    for number, case in enumerate(result.cases):
        first = number == 0
        colour = OURS if first else COLOURS[(number - 1) % len(COLOURS)]
        marker = "o" if first else MARKERS[(number - 1) % len(MARKERS)]
        _curve(plot, case, colour, marker, wide=first, concluded=not result.unfinished)
    plot.set_xscale("symlog", linthresh=10)
    plot.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    plot.set_xlim(left=-1)
    plot.set_ylim(0, 104)
    plot.spines[["top", "right"]].set_visible(False)
    plot.grid(True, alpha=0.25)
    plot.set_xlabel("mean thinking tokens spent")
    plot.set_ylabel("accuracy, % (95 % interval)")
    ringed = "" if result.unfinished else "; ringed: recommended"
    plot.set_title(f"Accuracy by use case: {result.settings.model}{ringed}")
    plot.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    _save(figure, path)


def _curve(
    plot: Axes, case: Case, colour: str, marker: str, *, wide: bool, concluded: bool
) -> None:
    maxima = [point for point in case.points if not point.level.min_tokens]
    minima = [point for point in case.points if point.level.min_tokens]
    for points, style, face in ((maxima, "-", colour), (minima, "none", "white")):
        if points:
            plot.errorbar(
                [point.thinking_mean for point in points],
                [100 * point.accuracy.value for point in points],
                yerr=[
                    [100 * (point.accuracy.value - point.accuracy.low) for point in points],
                    [100 * (point.accuracy.high - point.accuracy.value) for point in points],
                ],
                color=colour, marker=marker, linestyle=style, markerfacecolor=face,
                linewidth=2 if wide else 1.2, capsize=3, markersize=5,
                label=f"{case.name} ({case.rows} rows)" + (", with a minimum" * (style == "none")),
            )  # fmt: skip
    chosen = case.recommended if concluded else None
    if chosen is not None:
        plot.plot(chosen.thinking_mean, 100 * chosen.accuracy.value, "o", markersize=14,
                  markerfacecolor="none", color=colour)  # fmt: skip


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=DPI, format="png")
