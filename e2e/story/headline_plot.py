"""The headline as a picture: one row per fleet under the arrivals that all of them share.

Each row shows replicas (ready as an area, desired as a line), a red tick for every late request at
the second it was sent, and at the right the numbers of the JSON, so that picture and JSON cannot
disagree.
"""

from pathlib import Path
from typing import Any

from e2e.story.headline_result import Fleet, Result
from e2e.story.outcomes import missed
from e2e.story.plot import BLUE, GREEN, GREY, INK, LIGHT, RED, STYLE

TITLES = {
    "thinkscale": "Thinkscale",
    "fixed": "fixed size",
    "hpa-rate": "HPA on arrival rate",
    "hpa-concurrency": "HPA on concurrency",
}
BIN_SECONDS = 5
KEY = (
    "line: desired replicas; area: ready ones; red tick: a late request, at the second it was sent"
)
HEADROOM = 1.35
"""Above the highest replica count, for the ticks of late requests."""


def draw(path: Path, result: Result) -> None:
    """Write the PNG."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = len(result.fleets)
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(rows + 1, 1, figsize=(9.5, 1.15 * rows + 1.6), sharex=True)
        draw_arrivals(axes[0], result)
        highest = max(result.row(fleet)["peak_replicas"] for fleet in result.fleets)
        for panel, fleet in zip(axes[1:], result.fleets, strict=True):
            draw_fleet(panel, result, fleet, highest)
        draw_probes(axes[1 + [fleet.name for fleet in result.fleets].index("long")], result)
        axes[-1].set_xlim(0, max(series[-1].second for series in result.samples.values()))
        axes[-1].set_xlabel(f"seconds into the run\n{KEY}")
        figure.suptitle(
            "The same requests at the same times; what differs is how long the model thinks",
            x=0.012, ha="left", fontsize=11.5, fontweight="bold", color=INK,
        )  # fmt: skip
        figure.align_ylabels()
        figure.tight_layout(h_pad=0.6)
        figure.savefig(path, dpi=150)
        pyplot.close(figure)


def draw_probes(axes: Any, result: Result) -> None:
    """When the very long requests came, and that nobody was given up before they were done."""
    if not result.probes:
        return
    finished = sum(not probe.failed for probe in result.probes)
    sent = result.probes[0].intended
    done = max(probe.end for probe in result.probes)
    axes.annotate(
        "", (sent, 1.0), (done, 1.0), xycoords=("data", "axes fraction"),
        arrowprops={"arrowstyle": "|-|, widthA=0.25, widthB=0.25", "color": INK, "linewidth": 0.8},
    )  # fmt: skip
    told = f"{len(result.probes)} requests of {done - sent:.0f} s, two per replica"
    axes.text(
        (sent + done) / 2, 0.97, f"{told}; {finished} finished",
        transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=7.5, color=INK,
    )  # fmt: skip


def draw_arrivals(axes: Any, result: Result) -> None:
    """Requests per second, the same for every fleet."""
    sent = [outcome.intended for outcome in result.outcomes[result.fleets[0].name]]
    bins = range(0, int(max(sent, default=0)) + BIN_SECONDS + 1, BIN_SECONDS)
    axes.hist(sent, bins=bins, weights=[1 / BIN_SECONDS] * len(sent), color=GREY, rwidth=0.9)
    axes.set_ylabel("requests/s")
    _beside(axes, [("all fleets get these", INK), (f"{len(sent)} requests each", INK)])


def draw_fleet(axes: Any, result: Result, fleet: Fleet, highest: int) -> None:
    """One fleet's row."""
    samples = [sample for sample in result.samples[fleet.name] if sample.second >= 0]
    seconds = [sample.second for sample in samples]
    ours = fleet.scaler == "thinkscale"
    line, area = (GREEN, "#dcfce7") if ours else (BLUE, LIGHT)
    axes.fill_between(seconds, [s.ready for s in samples], step="post", color=area)
    axes.step(seconds, [s.desired for s in samples], where="post", color=line, linewidth=1.4)
    late = [o.intended for o in result.outcomes[fleet.name] if missed(o, result.slo)]
    axes.vlines(late, highest * 1.12, highest * HEADROOM, color=RED, linewidth=0.9)
    axes.set_ylim(0, highest * HEADROOM)
    axes.set_yticks(range(0, highest + 1, 2 if highest < 9 else 4))
    axes.set_ylabel("replicas")
    row = result.row(fleet)
    _beside(
        axes,
        [
            (f"{TITLES[fleet.scaler]}", line),
            (f"thinks {row['mean_thinking_tokens']:.0f} tokens", INK),
            (f"{row['late_share']:.0%} late", RED if row["late_share"] else INK),
            (f"peak {row['peak_replicas']}", INK),
        ],
    )


def _beside(axes: Any, lines: list[tuple[str, str]]) -> None:
    for number, (text, colour) in enumerate(lines):
        axes.text(
            1.015, 0.98 - 0.27 * number, text, transform=axes.transAxes, ha="left", va="top",
            color=colour, fontsize=8.5, fontweight="bold" if number == 0 else "normal",
        )  # fmt: skip
