"""`python -m e2e.sweep [--json FILE] [--out DIR]`: the sweep's demo, a quarter of an hour.

Exit code 0: reuse and forced runs agree on 99.5 % of the verdicts at least; 1: they do not, or
something did not run.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from e2e.engines.install import install
from e2e.harness.cache import REPOSITORY, cache_root
from e2e.provision.progress import StepError
from e2e.sweep import demo

AGREED: Final = 0.995


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.sweep")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, metavar="DIR", default=REPOSITORY / "runs" / "sweep")
    given = parser.parse_args(argv)
    logs = cache_root() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    try:
        figures = demo.run(install(), given.out, logs)
    except StepError as error:
        print(f"the demo failed: {error}", file=sys.stderr)
        return 1
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(
        f"recommended: {figures['recommended_max_tokens']} thinking tokens at most; reuse saved "
        f"{figures['reuse_speedup']:.1f} x of the generated tokens and agrees with forced runs "
        f"through the gateway in {figures['reuse_agreement'] * 100:.2f} % of "
        f"{figures['agreement_compared']} verdicts; reports: {given.out}"
    )
    return 0 if figures["reuse_agreement"] >= AGREED else 1


if __name__ == "__main__":
    sys.exit(main())
