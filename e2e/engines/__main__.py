"""`python -m e2e.engines`: install the real engine unless it is there; prints where it is."""

import sys

from e2e.engines.install import install
from e2e.provision.progress import StepError


def main() -> int:
    """Install; returns the process's exit code."""
    try:
        engine = install()
    except StepError as error:
        print(f"the engine could not be installed: {error}", file=sys.stderr)
        return 1
    print(engine.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
