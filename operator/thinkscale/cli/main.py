"""One command, one table of subcommands; each is imported only when it is called.

Server commands run in pods of a few dozen megabytes, so nothing is imported here that they do not
need.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Final

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "operator": ("thinkscale.controller.main", "run the Kubernetes operator"),
    "gateway": ("thinkscale.gateway.main", "run the gateway of one ReasoningService"),
    "emulator": ("thinkscale.emulator.main", "run a model server without a GPU (vLLM's dialect)"),
    "crd": ("thinkscale.api.crd", "print the CustomResourceDefinition"),
    "explain": ("thinkscale.cli.explain", "tell what the operator does with a service, and why"),
    "simulate": ("thinkscale.cli.simulate", "run a policy on a scenario or trace, in virtual time"),
    "compare": ("thinkscale.cli.compare", "compare policies over scenarios and seeds"),
    "profile": ("thinkscale.cli.profile", "fit lengths and latencies of a trace or live gateway"),
    "sweep": ("thinkscale.cli.sweep", "find the fewest thinking tokens that are good enough"),
    "whatif": ("thinkscale.cli.whatif", "tell what more thinking would cost"),
}
EXTRA: Final = frozenset({"matplotlib", "numpy", "rich"})
"""What only the extra `report` brings: the container image has none of it."""


def usage() -> str:
    """The help text."""
    lines = ["usage: thinkscale COMMAND [options]", "", "commands:"]
    lines += [f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items()]
    lines += [
        "",
        "`thinkscale COMMAND --help` tells more; `thinkscale --version` prints the version.",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch to a subcommand's `main(argv)`; returns the process's exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from thinkscale import __version__

        print(f"thinkscale {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        print(f"thinkscale: no such command: {name}\n\n{usage()}", file=sys.stderr)
        return 2
    try:
        module = importlib.import_module(COMMANDS[name][0])
        run: Callable[[Sequence[str]], int] = module.main
        return run(rest)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in EXTRA:
            raise
        mend = "pip install 'thinkscale[report]'"
        print(f"thinkscale {name}: {error.name} is not installed: {mend}", file=sys.stderr)
        return 2
