"""The published comparison: every policy in every scenario on the evaluation seeds.

Parts, each a `thinkscale compare` of its own: the hours (3 to 4 h, 6 seeds) and the days (24 h, 3
seeds) at one setting each; both again at all settings, for equal attainment, on fewer seeds; the
disturbed twins; llm-d's ramp. The training seeds 1 to 3, on which every policy was tuned, do not
occur. It takes most of a night on two cores, can be stopped at any time, and goes on where it was.
Run: `python -m benchmarks.comparison [--out DIR] [--jobs N] [--parts hours,days,...]`.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from thinkscale.cli.main import main
from thinkscale.simulation.rivals import RIVALS
from thinkscale.simulation.tuned import SINGLE

OURS: Final = "thinkscale,thinkscale-uncut,oracle-gateway"
EVERYBODY: Final = ",".join([OURS, *(name for name in RIVALS if name in SINGLE)])
DISTURBED: Final = ("priors1.25", "priors0.75", "lost0.2", "crash", "gateways2", "gateways4")
HOURS: Final = ("step", "drift", "heavy-tail", "heavy-tail-8k", "azure")

PARTS: Final[dict[str, list[str]]] = {
    "hours": [
        "--scenarios", ",".join([*HOURS, "step-seats", "drift-seats", "heavy-tail-seats"]),
        "--seeds", "11-16", "--policies", EVERYBODY,
    ],
    "days": [
        "--scenarios", "smooth,bursts,servegen,gpu-limit", "--seeds", "11-13",
        "--policies", EVERYBODY,
    ],
    "disturbed": [
        "--scenarios",
        ",".join(f"{n}+{v}" for n in ("step", "drift", "heavy-tail", "bursts") for v in DISTURBED),
        "--seeds", "11-13", "--policies", "thinkscale,thinkscale-uncut", "--no-oracle",
    ],
    "ramp": [
        "--scenarios", "llmd-ramp", "--seeds", "11-16",
        "--policies", "thinkscale,static-8,llmd-slo,kpa,wva-v2",
    ],
    "hours-swept": [
        "--scenarios", "step,drift,heavy-tail", "--seeds", "11-12", "--policies", EVERYBODY,
        "--sweep",
    ],
    "days-swept": [
        "--scenarios", "smooth,bursts,servegen", "--seeds", "11", "--policies", EVERYBODY,
        "--sweep",
    ],
}  # fmt: skip


def run() -> int:
    """Make all parts that were asked for; the first failure ends it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path("runs/comparison"))
    arguments.add_argument("--jobs", default="2")
    arguments.add_argument("--parts", default=",".join(PARTS))
    options = arguments.parse_args()
    for part in options.parts.split(","):
        where = ["--out", str(options.out / part), "--jobs", options.jobs]
        if code := main(["compare", *PARTS[part], *where]):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(run())
