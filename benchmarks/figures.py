"""The pictures of README and docs, made anew: from a comparison, and from single runs.

`docs/images/compare-SCENARIO.png` come from `python -m benchmarks.comparison` (give its folder and
plan); of one that is not finished, the scenarios that are. The timeline of a day with bursts and
the what-if are made here. Run: `python -m benchmarks.figures [--plan full|short] [COMPARISON]`.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Final

from benchmarks import comparison
from thinkscale.cli.main import main

IMAGES: Final = Path("docs/images")
SEED: Final = "11"


def run(folder: Path, plan: str) -> int:
    """Copy what the comparison drew, then draw the rest; returns the first failure's exit code."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    comparison.run(["--plan", plan, "--out", str(folder), "--finished"])
    for picture in sorted(folder.glob("*/plots/*.png")):
        if "+" not in picture.stem:
            shutil.copyfile(picture, IMAGES / f"compare-{picture.stem}.png")
    commands = [
        ["simulate", "--scenario", "bursts", "--seed", SEED, "--plot", f"{IMAGES}/bursts.png"],
        ["simulate", "--scenario", "step", "--seed", SEED, "--plot", f"{IMAGES}/step.png"],
        ["whatif", "--add-thinking-tokens", "500", "--share", "0.2", "--seed", SEED,
         "--plot", f"{IMAGES}/whatif.png"],
    ]  # fmt: skip
    return next((code for command in commands if (code := main(command))), 0)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", nargs="?", type=Path, default=Path("runs/comparison"))
    arguments.add_argument("--plan", choices=comparison.PLANS, default="full")
    options = arguments.parse_args()
    sys.exit(run(options.folder, options.plan))
