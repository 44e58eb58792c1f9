"""Search every policy's settings on training seeds, and write what was chosen.

    python benchmarks/tuning.py [--seeds 1,2,3] [--jobs 2] [--points runs/tuning.jsonl] [--write]

Each finished run is a line of the points file, with a fingerprint of the code that made it; a
search that was stopped goes on where it was, and makes again what other code has made. With
`--write` the single settings become `thinkscale/simulation/tuned.py`, which `thinkscale compare`
uses for a policy that is named without a setting. Evaluation must use other seeds.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from thinkscale.simulation import oracle_cache
from thinkscale.simulation.rivals import RIVALS
from thinkscale.simulation.tuned import SINGLE
from thinkscale.simulation.tuning import Chosen, Point, Trial, choose, search, trials

SCENARIOS = ("drift", "heavy-tail", "step", "smooth", "bursts", "servegen", "llmd-ramp")
TUNED = Path(__file__).parents[1] / "operator/thinkscale/simulation/tuned.py"


def main() -> int:
    """Search, show, and write if asked."""
    asked = arguments()
    families = {name: RIVALS[name].settings for name in asked.policies if name in RIVALS}
    wanted = trials(families, asked.scenarios, asked.seeds)
    known = read(asked.points)
    asked.points.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with asked.points.open("a") as file:

        def progress(done: int, of: int, point: Point) -> None:
            file.write(json.dumps({**asdict(point), "fingerprint": fingerprint()}) + "\n")
            file.flush()
            words = f"{point.trial.scenario} {point.trial.policy} seed {point.trial.seed}"
            figures = f"{point.attainment:.4f} at {point.gpu_hours:.1f} GPU-hours"
            print(f"{done}/{of} {time.monotonic() - begun:.0f} s {words}: {figures}", flush=True)

        points = search(wanted, jobs=asked.jobs, progress=progress, known=known)
    chosen = choose(points)
    show(chosen, points, asked.scenarios)
    if asked.write:
        write(chosen, asked)
    return 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Search the rivals' settings.")
    rivals = [name for name in RIVALS if name != "static"]
    parser.add_argument("--policies", default=rivals, type=lambda text: text.split(","))
    parser.add_argument("--scenarios", default=list(SCENARIOS), type=lambda text: text.split(","))
    parser.add_argument(
        "--seeds", default=[1, 2, 3], type=lambda text: [int(seed) for seed in text.split(",")]
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--points", type=Path, default=Path("runs/tuning.jsonl"))
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


def read(path: Path) -> list[Point]:
    """The points of an earlier search that the present code made; none if there was none."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines() if line]
    return [
        Point(**{**line, "trial": Trial(**line["trial"])})
        for line in lines
        if line.pop("fingerprint", None) == fingerprint()
    ]


def fingerprint() -> str:
    """A digest of all code that a point depends on."""
    return oracle_cache.sources(search.__module__)[:12]


def show(chosen: dict[str, Chosen], points: list[Point], names: list[str]) -> None:
    """A table in Markdown: the single setting, and GPU-hours at equal attainment."""
    print(f"\n| policy | single | kept | {' | '.join(names)} |")
    print("|" + "---|" * (3 + len(names)))
    for family, found in chosen.items():
        cells = []
        for name in names:
            mine = [
                p
                for p in points
                if (p.trial.family, p.trial.scenario, p.trial.setting)
                == (family, name, found.single)
            ]
            attained = sum(p.attainment for p in mine) / len(mine)
            hours = sum(p.gpu_hours for p in mine) / len(mine)
            equal = found.equal_gpu_hours[name]
            best = f"{equal:.0f} at 99 %" if equal is not None else "never 99 %"
            cells.append(f"{attained:.3f}@{hours:.0f} ({best})")
        print(f"| {family} | {found.single} | {len(found.kept)} | {' | '.join(cells)} |")


def write(chosen: dict[str, Chosen], asked: argparse.Namespace) -> None:
    """The single settings, as a module; who was not searched keeps what it has."""
    seeds = ", ".join(str(seed) for seed in asked.seeds)
    searched = ", ".join(asked.scenarios)
    lines = [
        '"""The single setting of each rival: what `benchmarks/tuning.py --write` chose, or what',
        "its authors publish. Do not edit; search again.",
        "",
        f"Searched: {searched}; seeds {seeds}.",
        '"""',
        "",
        "from typing import Final",
        "",
        "SINGLE: Final[dict[str, str]] = {",
        *(
            f'    "{family}": "{chosen[family].single if family in chosen else setting}",'
            for family, setting in SINGLE.items()
        ),
        "}",
        '"""By family."""',
    ]
    TUNED.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
