"""The picture of one GPU limit divided in several ways: who holds what, and who is late when."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from thinkscale.simulation.outcome import Numbers
from thinkscale.simulation.plots import COLOURS, OURS, new_figure, save
from thinkscale.simulation.shared_limit import Shared
from thinkscale.simulation.shared_run import Together
from thinkscale.simulation.statistics import BLOCK_SECONDS

SHADES: Final = (OURS, *COLOURS)
LINES: Final = ("-", "--", ":")


def divisions(path: Path, shared: Shared, runs: Sequence[Together], titles: Sequence[str]) -> None:
    """GPUs held by each service under each division, one upon the other; below, attainment of all
    together by block of ten minutes.
    """
    first = next(iter(shared.services.values()))
    begin, end = first.warm_up_seconds, first.duration_seconds
    figure, axes = new_figure(len(runs) + 1, height=2.3 * (len(runs) + 1) + 0.4)
    most = 1.08 * max(shared.gpus, *(run.peak_gpus for run in runs))
    for plot, run, title in zip(axes, runs, titles, strict=False):
        _held(plot, shared, run, begin)
        share = run.blocks.good.sum() / max(1.0, run.blocks.arrived.sum())
        hours = run.blocks.gpu_hours.sum()
        plot.set_title(f"{title}: {share * 100:.2f} % at {hours:.0f} GPU-hours", fontsize=10)
        plot.set_ylabel("GPUs held")
        plot.set_ylim(0, most)
    axes[0].legend(loc="upper left", ncols=len(shared.services) + 1, frameon=False, fontsize=9)
    for number, (run, title) in enumerate(zip(runs, titles, strict=True)):
        at = np.arange(len(run.blocks)) * BLOCK_SECONDS / 3600
        with np.errstate(invalid="ignore"):
            percent = 100 * run.blocks.good / run.blocks.arrived
        style = LINES[number % len(LINES)]
        axes[-1].step(at, percent, style, where="post", color=SHADES[number], label=title)
    axes[-1].set_ylabel("attainment, %")
    axes[-1].set_ylim(0, 103)
    axes[-1].legend(loc="lower left", frameon=False, fontsize=9)
    axes[-1].set_xlabel("hours of scored time")
    for plot in axes:
        plot.set_xlim(0, (end - begin) / 3600)
    figure.suptitle(f"{shared.name}, seed {shared.seed}")
    save(figure, path)


def _held(plot: Axes, shared: Shared, run: Together, begin_seconds: float) -> None:
    hours = (run.held_at_seconds - begin_seconds) / 3600
    below: Numbers = np.zeros(len(hours))
    for number, (name, gpus) in enumerate(run.held_gpus.items()):
        plot.fill_between(
            hours, below, below + gpus, step="post", alpha=0.55, linewidth=0,
            color=SHADES[number], label=name,
        )  # fmt: skip
        below = below + gpus
    plot.axhline(shared.gpus, color="black", linewidth=1.2, label="the limit")
