"""All flags of `thinkscale gateway`, their types and their help; `flags` says what they come to.

A mistake gets one line that says how to mend it, and exit code 2.
"""

import argparse
import sys
from pathlib import Path
from typing import Final, NoReturn

from thinkscale.engines import DIALECTS
from thinkscale.gateway.flag_types import (
    address,
    nudge,
    port,
    positive,
    seconds,
    tier,
    url,
    whole,
)
from thinkscale.gateway.patience import Patience
from thinkscale.gateway.verify import RETRY_SECONDS
from thinkscale.model.gateway_config import BEFORE_USE, NUDGE

DEFAULT_SEATS: Final = 256
ENGINES: Final = {name.lower(): name for name in DIALECTS}
CHECKS: Final = {"in-use": "InUse", "before-use": BEFORE_USE}
ON_EXHAUSTED: Final = {"answer": "Answer", "stop": "Stop"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        line = " ".join(message.split())
        print(f"{self.prog}: {line} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def command_line() -> argparse.ArgumentParser:
    """All flags."""
    parser = _Parser(
        prog="thinkscale gateway",
        description="The gateway in front of the replicas of one reasoning model.",
        allow_abbrev=False,
    )
    _add_places(parser)
    _add_server_flags(parser)
    usual = Patience()
    parser.add_argument("--listen", type=address, metavar="HOST:PORT", help="the API")
    parser.add_argument("--host", help="address to listen on (default: 0.0.0.0)")
    parser.add_argument("--port", type=port, help="the API (default: 8080)")
    parser.add_argument(
        "--admin-port", type=port, default=9090, help="signals, metrics and probes (default: 9090)"
    )
    parser.add_argument(
        "--otlp-traces",
        action="store_true",
        help="send spans of requests and their phases by OTLP, as the OTEL_* variables say",
    )
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument(
        "--api-keys-file",
        type=Path,
        metavar="FILE",
        help="clients need one of these keys: lines ID=KEY, read again when the file changes",
    )
    keys.add_argument(
        "--api-keys-dir",
        type=Path,
        metavar="DIR",
        help="the same, a file for each key, named by its id: a mounted Secret",
    )
    for flag, default, text in (
        ("connect-timeout", usual.connect, "search for a server that takes the connection"),
        ("idle-timeout", usual.idle, "silence within a stream that ends it"),
        ("first-token-timeout", usual.first_token, "silence before the first token that ends it"),
        ("held-comment", usual.comment, "between comments in a stream that waits; 0: none"),
        (
            "native-budget-retry",
            RETRY_SECONDS,
            "after an engine broke its native thinking budget, one request tries it again",
        ),
        ("drain-delay", 2.0, "after SIGTERM, new connections are accepted that long"),
    ):
        parser.add_argument(
            f"--{flag}-seconds", type=seconds, default=default, help=f"{text} (default: {default})"
        )
    return parser


def _add_places(parser: argparse.ArgumentParser) -> None:
    cluster = parser.add_argument_group("in a cluster")
    cluster.add_argument("--namespace", help="namespace of the ReasoningService")
    cluster.add_argument("--service", help="name of the ReasoningService")
    files = parser.add_argument_group("from files")
    files.add_argument("--config-dir", type=Path, help="directory with config.json, directive.json")
    files.add_argument(
        "--replicas-file",
        type=Path,
        help='JSON list of {"name", "url", "ready"}, read when changed',
    )


def _add_server_flags(parser: argparse.ArgumentParser) -> None:
    """NB: no defaults here: a flag that was not given must look like that."""
    group = parser.add_argument_group("in front of model servers, without a cluster")
    group.add_argument(
        "--upstream",
        action="append",
        type=url,
        metavar="URL",
        help="a model server; again for each replica",
    )
    group.add_argument("--engine", choices=sorted(ENGINES), help="what it is (default: vllm)")
    group.add_argument("--model", help="what clients send (default: what the server tells)")
    group.add_argument(
        "--seats",
        type=positive,
        metavar="N",
        help=f"requests at one server at once; more wait here (default: {DEFAULT_SEATS})",
    )
    for flag, text in (
        ("--budget-max", "most thinking tokens of a request"),
        ("--budget-min", "least thinking tokens of a request"),
        ("--budget-default", "thinking tokens of a request that asks for nothing"),
        ("--queue-max", "requests that may wait here (default: 1000)"),
    ):
        group.add_argument(flag, type=whole, metavar="N", help=text)
    group.add_argument(
        "--answer-max", type=positive, metavar="N", help="most answer tokens of a request"
    )
    group.add_argument(
        "--nudge",
        type=nudge,
        metavar="TEXT",
        help=f"said behind a thought that would end below --budget-min (default: {NUDGE!r})",
    )
    group.add_argument(
        "--native-budget-check",
        choices=sorted(CHECKS),
        help="when a server's native budget is checked: by clients' requests, or before its first "
        "(default: in-use)",
    )
    group.add_argument(
        "--on-exhausted", choices=sorted(ON_EXHAUSTED), help="then (default: answer)"
    )
    group.add_argument(
        "--tier",
        action="append",
        type=tier,
        metavar="EFFORT=N",
        help="most thinking tokens of this reasoning_effort; again for each effort",
    )
    group.add_argument(
        "--slo-ttfa-seconds",
        type=seconds,
        metavar="S",
        help="score requests by their time to the first answer token",
    )


SERVER_FLAGS: Final = (
    "engine", "model", "seats", "budget_max", "budget_min", "budget_default", "answer_max",
    "queue_max", "on_exhausted", "tier", "slo_ttfa_seconds", "nudge",
    "native_budget_check",
)  # fmt: skip
