"""The pictures of README and docs, made anew: from a finished comparison, and from single runs.

`docs/images/compare-SCENARIO.png` come from `python -m benchmarks.comparison` (give its folder);
the timeline of a day with bursts and the what-if are made here. Run:
`python -m benchmarks.figures [COMPARISON]`.
"""

import shutil
import sys
from pathlib import Path
from typing import Final

from thinkscale.cli.main import main

IMAGES: Final = Path("docs/images")
SEED: Final = "11"


def run(comparison: Path) -> int:
    """Copy what the comparison drew, then draw the rest; returns the first failure's exit code."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for picture in sorted(comparison.glob("*/plots/*.png")):
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
    sys.exit(run(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/comparison")))
