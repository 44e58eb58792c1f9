"""The published comparison: every policy in every scenario on the evaluation seeds.

Parts, each a `thinkscale compare` of its own: the hours (3 to 4 h) and the days (24 h) at one
setting each, a rival at its published one; in the full plan both again at all settings, for equal
attainment, on fewer seeds; the disturbed twins; llm-d's ramp. The training seeds 1 to 3, on which
our law was developed, do not occur. The full plan takes a night of two cores, the short one about
an hour; either can be stopped at any time and goes on where it was, and `--finished` reports the
scenarios that are complete.
Run: `python -m benchmarks.comparison [--plan full|short] [--out DIR] [--jobs N] [--parts hours,...]
[--finished]`.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from thinkscale.cli.main import main
from thinkscale.simulation.rivals import RIVALS
from thinkscale.simulation.tuned import SINGLE

OURS: Final = "thinkscale,thinkscale-uncut,oracle-gateway"
EVERYBODY: Final = ",".join([OURS, *(name for name in RIVALS if name in SINGLE)])
MAIN_RIVALS: Final = "kpa,hpa-concurrency,keda-queue,llmd-slo,wva-v2,dynamo-planner,aibrix"
DISTURBED: Final = ("priors1.25", "priors0.75", "lost0.2", "crash", "gateways2", "gateways4")
HOURS: Final = "step,drift,heavy-tail,heavy-tail-8k,azure"
SEATS: Final = "step-seats,drift-seats,heavy-tail-seats"

Part = Sequence[str]


def _disturbed(scenarios: Sequence[str], seeds: str) -> Part:
    twins = ",".join(f"{name}+{variant}" for name in scenarios for variant in DISTURBED)
    return ["--scenarios", twins, "--seeds", seeds, "--policies", "thinkscale,thinkscale-uncut",
            "--no-oracle"]  # fmt: skip


def _ramp(seeds: str) -> Part:
    return ["--scenarios", "llmd-ramp", "--seeds", seeds,
            "--policies", "thinkscale,static-8,llmd-slo,kpa,wva-v2"]  # fmt: skip


FULL: Final[Mapping[str, Part]] = {
    "hours": ["--scenarios", f"{HOURS},{SEATS}", "--seeds", "11-16", "--policies", EVERYBODY],
    "days": [
        "--scenarios", "smooth,bursts,servegen,gpu-limit", "--seeds", "11-13",
        "--policies", EVERYBODY,
    ],
    "disturbed": _disturbed(("step", "drift", "heavy-tail", "bursts"), "11-13"),
    "ramp": _ramp("31-42"),
    "hours-swept": [
        "--scenarios", "step,drift,heavy-tail", "--seeds", "11-12", "--policies", EVERYBODY,
        "--sweep",
    ],
    "days-swept": [
        "--scenarios", "smooth,bursts,servegen", "--seeds", "11", "--policies", EVERYBODY,
        "--sweep",
    ],
}  # fmt: skip
SHORT: Final[Mapping[str, Part]] = {
    "ramp": _ramp("31-42"),
    "hours": [
        "--scenarios", HOURS, "--seeds", "11-12",
        "--policies", f"{OURS},{MAIN_RIVALS},static-8,static-16",
    ],
    "days": [
        "--scenarios", "bursts,servegen,smooth,gpu-limit", "--seeds", "11",
        "--policies", f"thinkscale,thinkscale-uncut,{MAIN_RIVALS},static-8",
    ],
    "disturbed": _disturbed(("step", "drift"), "11-12"),
    "seats": [
        "--scenarios", SEATS, "--seeds", "11-12", "--policies", "thinkscale,thinkscale-uncut",
    ],
}  # fmt: skip
"""In the order of what is worth most if it is stopped."""
PLANS: Final[Mapping[str, Mapping[str, Part]]] = {"full": FULL, "short": SHORT}


def run(argv: Sequence[str]) -> int:
    """Make all parts that were asked for; the first failure ends it.

    With `--finished` none is made: all that have a whole scenario are reported, and the exit code
    is 0 whichever those are.
    """
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--plan", choices=PLANS, default="full")
    arguments.add_argument("--out", type=Path, default=Path("runs/comparison"))
    arguments.add_argument("--jobs", default="2")
    arguments.add_argument("--parts", help="some of the plan's, separated by commas")
    arguments.add_argument("--finished", action="store_true")
    options = arguments.parse_args(argv)
    plan = PLANS[options.plan]
    for part in options.parts.split(",") if options.parts else plan:
        out = options.out / part
        command = ["compare", *plan[part], "--out", str(out), "--jobs", options.jobs]
        if options.finished:
            if (out / "runs").is_dir():
                main([*command, "--finished"])
        elif code := main(command):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
