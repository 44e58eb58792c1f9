"""`python -m e2e.fidelity [--json FILE] [--plot FILE] [--repeat N]`: the whole experiment.

Exit code 0: all that is asked for fits; 1: it does not, or the engine did not run; 3: the machine
was too busy for it to count.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from e2e.engines.install import install
from e2e.fidelity import experiment, plot, report
from e2e.fidelity.client import RequestError
from e2e.harness.cache import cache_root
from e2e.provision.progress import StepError, say

VOID_CODE = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.fidelity")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="of the first minutes")
    given = parser.parse_args(argv)
    if given.repeat < 1:
        parser.error("--repeat must be at least 1: the spread is part of the answer")
    logs = cache_root() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    try:
        engine = install()
        minutes = experiment.expected_seconds(given.repeat) / 60
        say(f"this takes about {minutes:.0f} minutes and wants a quiet machine")
        compared = report.compare(experiment.measure(engine, logs, given.repeat))
    except (StepError, RequestError) as error:
        print(f"the measurement failed: {error}", file=sys.stderr)
        return 1
    if given.json is not None:
        given.json.write_text(json.dumps(report.to_json(compared), indent=1) + "\n")
    if given.plot is not None:
        plot.draw(given.plot, compared)
    print(report.spoken(compared))
    if compared.void:
        return VOID_CODE
    return 0 if compared.fits else 1


if __name__ == "__main__":
    sys.exit(main())
