"""`python -m thinkscale` is the same as the `thinkscale` command."""

import sys

from thinkscale.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
