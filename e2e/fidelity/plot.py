"""The comparison as a picture: each request's waits over time, the paces, and the learnt step time.

Left, what the client saw (dots) and what the simulator says of the same arrivals and lengths
(line); right, the distribution of paces, and the windows of the calibration against the law.
"""

from pathlib import Path
from typing import Any

import numpy as np

from e2e.fidelity.report import Compared
from e2e.story.plot import BLUE, GREY, INK, RED, STYLE

TITLE = "A real vLLM and the simulator, under the same requests"


def draw(path: Path, compared: Compared) -> None:
    """Write the PNG."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(
            2, 2, figsize=(10, 6), gridspec_kw={"width_ratios": [2.2, 1]}
        )
        _over_time(axes[0][0], compared, "ttft", "to the first token, s")
        _over_time(axes[1][0], compared, "e2e", "end to end, s")
        axes[1][0].set_xlabel("sent, seconds into the run")
        axes[0][0].legend(loc="upper right")
        _paces(axes[0][1], compared)
        _steps(axes[1][1], compared)
        figure.suptitle(TITLE, x=0.012, ha="left", fontsize=11.5, fontweight="bold", color=INK)
        figure.tight_layout()
        figure.savefig(path, dpi=130)
        pyplot.close(figure)


def _over_time(axis: Any, compared: Compared, indicator: str, label: str) -> None:
    measured, simulated = compared.measured, compared.simulated
    axis.plot(
        measured.arrived, getattr(measured, indicator), ".", color=BLUE, ms=3, label="real engine"
    )
    axis.plot(
        simulated.arrived,
        getattr(simulated, indicator),
        "x",
        color=RED,
        ms=2.5,
        mew=0.6,
        alpha=0.7,
        label="simulator",
    )
    axis.set_yscale("log")
    axis.set_ylabel(label)


def _paces(axis: Any, compared: Compared) -> None:
    columns = {
        "real engine": (compared.measured, BLUE),
        "simulator": (compared.simulated, RED),
    }
    for name, (column, colour) in columns.items():
        paces = np.sort(column.tpot[~np.isnan(column.tpot)]) * 1e3
        shares = np.arange(1, len(paces) + 1) / len(paces)
        axis.plot(paces, shares, color=colour, lw=1.4, label=name)
    highest = max(np.nanquantile(column.tpot, 0.995) for column, _ in columns.values())
    axis.set_xlim(0, highest * 1.1e3)
    axis.set_xlabel("milliseconds a token")
    axis.set_ylabel("share of requests")
    axis.legend(loc="upper left")


def _steps(axis: Any, compared: Compared) -> None:
    learnt = compared.found.learnt
    seen = [sample.step_seconds * 1e3 for sample in learnt.samples]
    said = [
        learnt.law.seconds(sample.decoding, sample.context_tokens, sample.prompt_tokens) * 1e3
        for sample in learnt.samples
    ]
    top = max(*seen, *said) * 1.1
    axis.plot([0, top], [0, top], "-", color=GREY, lw=1)
    axis.plot(seen, said, "o", color=BLUE, ms=4)
    axis.set_xlim(0, top)
    axis.set_ylim(0, top)
    axis.set_xlabel("step in the calibration, ms")
    axis.set_ylabel("step as learnt, ms")
