"""`python -m e2e.provision`: everything after the virtual environment, in order.

Without root only what API-level tests need is made; it says so.
"""

import os
import sys

from e2e.harness.assets import MissingAssetsError
from e2e.provision import binaries, node_store, packages, progress


def main() -> int:
    """Run every step; returns the process's exit code."""
    root = os.geteuid() == 0
    try:
        if root:
            packages.install()
        binaries.build()
        if not root:
            progress.say("not root: no nodes and no images; unit and API-level tests will run")
            return 0
        node_store.build()
    except (progress.StepError, MissingAssetsError) as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
