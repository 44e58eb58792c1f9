"""The pictures: attainment against GPU-hours, a run over time, latencies before and after.

PNG files by matplotlib's Agg, made to be read at 900 pixels. Attainment is drawn by its misses on a
logarithmic axis: between 99 % and 99.9 % lies as much as between 90 % and 99 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from thinkscale.simulation.outcome import Numbers, Outcome

WIDTH_INCHES: Final = 9.0
DPI: Final = 120
OURS: Final = "#c2410c"
COLOURS: Final = (
    "#2563eb", "#059669", "#7c3aed", "#b45309", "#0891b2", "#be185d", "#4d7c0f", "#64748b",
    "#9333ea", "#0f766e", "#a16207", "#1e40af",
)  # fmt: skip
MARKERS: Final = "osD^vP*Xph<>"
FEWEST_MISSES: Final = 1e-4
MOST_MISSES: Final = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One policy at one setting in one scenario, over all seeds."""

    policy: str
    setting: str
    gpu_hours: float
    attainment: float
    chosen: bool
    """Its single setting; the others are drawn hollow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One latency before and after a change, in seconds."""

    title: str
    before: Numbers
    after: Numbers


def frontier(
    path: Path,
    title: str,
    points: Sequence[Point],
    *,
    oracle_gpu_hours: float | None = None,
    target: float = 0.99,
) -> None:
    """Attainment against GPU-hours of one scenario: up and left is better."""
    figure, axes = new_figure(1, height=5.4)
    plot = axes[0]
    for number, policy in enumerate(_policies(points)):
        mine = sorted((p for p in points if p.policy == policy), key=lambda p: p.gpu_hours)
        colour = OURS if policy == "thinkscale" else COLOURS[number % len(COLOURS)]
        marker = MARKERS[number % len(MARKERS)]
        hours, misses = [p.gpu_hours for p in mine], [_misses(p.attainment) for p in mine]
        plot.plot(hours, misses, "-", color=colour, linewidth=1, alpha=0.5)
        for p, y in zip(mine, misses, strict=True):
            face = colour if p.chosen else "white"
            plot.plot(p.gpu_hours, y, marker, color=colour, markerfacecolor=face, markersize=9)
        plot.plot([], [], marker, color=colour, label=policy, linestyle="none")
    if oracle_gpu_hours is not None:
        plot.axvline(oracle_gpu_hours, color="black", linestyle="--", linewidth=1.2)
        plot.plot([], [], "k--", label="oracle (knows the future)")
    plot.axhline(1 - target, color="grey", linestyle=":", linewidth=1.2)
    plot.plot([], [], ":", color="grey", label=f"target {target * 100:g} %")
    _miss_axis(plot)
    plot.set_xscale("log")
    _plain_log(plot)
    plot.set_xlabel("GPU-hours (logarithmic)")
    plot.set_title(title)
    plot.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    save(figure, path)


def timeline(path: Path, outcome: Outcome, begin_seconds: float) -> None:
    """A run over time: thinking depth, replicas, effective budget."""
    figure, axes = new_figure(3, height=7.6)
    line = outcome.timeline
    hours = (line.at_seconds - begin_seconds) / 3600
    axes[0].fill_between(hours, line.thinking_depth, color=OURS, alpha=0.3, linewidth=0)
    axes[0].plot(hours, line.thinking_depth, color=OURS, linewidth=1, label="thinking depth")
    axes[0].plot(hours, line.held, color="black", linewidth=1, label="held at the gateway")
    axes[0].set_ylabel("requests")
    axes[1].step(hours, line.billed, color="#94a3b8", label="billed", where="post")
    axes[1].step(hours, line.desired, color=OURS, label="desired", where="post")
    axes[1].step(hours, line.ready, color="#2563eb", label="ready", where="post")
    axes[1].set_ylabel("replicas")
    axes[1].set_ylim(bottom=0)
    if np.isfinite(line.effective_tokens).any():
        axes[2].plot(hours, line.effective_tokens, ".", color=OURS, markersize=3)
        axes[2].set_yscale("log", base=2)
        axes[2].yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    else:
        axes[2].text(0.5, 0.5, "no brown-out", ha="center", transform=axes[2].transAxes)
        axes[2].set_yticks([])
    axes[2].set_ylabel("effective budget,\ntokens")
    axes[2].set_xlabel("hours of scored time (before 0: warm-up)")
    for plot in axes:
        plot.axvspan(min(0.0, float(hours[0])), 0, color="grey", alpha=0.12, linewidth=0)
        plot.set_xlim(float(hours[0]), float(hours[-1]))
    for plot in axes[:2]:
        plot.legend(loc="lower left", bbox_to_anchor=(0, 0.98), ncols=3, frameon=False)
    axes[0].set_title(
        f"{outcome.policy} on {outcome.scenario}, seed {outcome.seed}: "
        f"{outcome.attainment * 100:.2f} % at {outcome.gpu_hours:.1f} GPU-hours",
        pad=26,
    )
    save(figure, path)


def before_after(path: Path, title: str, panels: Sequence[Compared]) -> None:
    """Both distributions of each latency, with p50, p95 and p99."""
    figure, axes = new_figure(len(panels), height=3.3 * len(panels) + 0.4)
    for plot, panel in zip(axes, panels, strict=True):
        edges = _log_edges(np.concatenate((panel.before, panel.after)))
        _density(plot, panel.before, edges, "#2563eb", "before")
        _density(plot, panel.after, edges, OURS, "after")
        plot.set_xscale("log")
        _plain_log(plot)
        plot.set_yticks([])
        plot.set_ylim(bottom=0)
        plot.set_ylabel("share of requests")
        plot.set_xlabel(f"{panel.title}, seconds (lines: p50, p95, p99)")
        plot.legend(loc="upper left", frameon=False)
    axes[0].set_title(title)
    save(figure, path)


def survival(
    path: Path,
    title: str,
    panels: Sequence[tuple[str, str, Sequence[tuple[str, Numbers, Numbers]]]],
) -> None:
    """Share of requests that exceed x, per panel: a title, the unit of x, and named curves."""
    figure, axes = new_figure(len(panels), height=3.4 * len(panels) + 0.4)
    for plot, (name, unit, curves) in zip(axes, panels, strict=True):
        for number, (label, x, share) in enumerate(curves):
            seen = (share > 0) & (x > 0)
            style = "-" if number == 0 else "--"
            colour = OURS if number == 0 else COLOURS[number - 1]
            plot.plot(x[seen], share[seen], style, color=colour, label=label)
        plot.set_xscale("log")
        plot.set_yscale("log")
        _plain_log(plot)
        plot.set_ylim(bottom=1e-4, top=1.3)
        plot.yaxis.set_major_formatter(
            lambda value, _: f"{value:.4%}".rstrip("0%").rstrip(".") + " %"
        )
        plot.set_ylabel("share that exceeds")
        plot.set_xlabel(f"{name}, {unit}")
        plot.legend(loc="lower left", frameon=False)
        plot.grid(True, which="major", alpha=0.25)
    axes[0].set_title(title)
    save(figure, path)


def _log_edges(values: Numbers) -> Numbers:
    finite = values[np.isfinite(values) & (values > 0)]
    low, high = np.quantile(finite, (0.001, 0.9995)) if len(finite) else (1.0, 2.0)
    edges: Numbers = np.geomspace(max(low, 1e-3), max(high, low * 1.01, 2e-3), 70)
    return edges


def _density(plot: Axes, values: Numbers, edges: Numbers, colour: str, label: str) -> None:
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return
    counts, _ = np.histogram(finite, edges)
    shares = counts / len(values)
    plot.stairs(shares, edges, color=colour, fill=True, alpha=0.25)
    plot.stairs(shares, edges, color=colour, linewidth=1.4, label=label)
    for number, at in enumerate(np.quantile(finite, (0.5, 0.95, 0.99))):
        plot.axvline(at, color=colour, linewidth=1.3, linestyle=("-", "--", ":")[number])


def new_figure(rows: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, one below the other; the height is in inches."""
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    for plot in axes:
        plot.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def save(figure: Figure, path: Path) -> None:
    """Write it as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, format="png")


def _policies(points: Sequence[Point]) -> list[str]:
    """Ours first, the others by name."""
    names = {point.policy for point in points}
    return sorted(names, key=lambda name: (not name.startswith("thinkscale"), name))


def _misses(attainment: float) -> float:
    return min(MOST_MISSES, max(FEWEST_MISSES, 1 - attainment))


def _miss_axis(plot: Axes) -> None:
    plot.set_yscale("log")
    plot.set_ylim(MOST_MISSES * 1.3, FEWEST_MISSES / 1.5)
    ticks = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0001)
    plot.set_yticks(ticks, [f"{(1 - tick) * 100:g} %" for tick in ticks])
    plot.yaxis.set_minor_locator(NullLocator())
    plot.set_ylabel("attainment")
    plot.grid(True, axis="both", which="major", alpha=0.25)


def _plain_log(plot: Axes) -> None:
    """1, 2, 5, 10 instead of powers of ten; denser where the axis covers little."""
    low, high = plot.get_xlim()
    wide = high > 20 * max(low, 1e-9)
    plot.xaxis.set_major_locator(
        LogLocator(base=10, subs=(1.0, 2.0, 5.0) if wide else (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0))
    )
    plot.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    plot.xaxis.set_minor_locator(NullLocator())
