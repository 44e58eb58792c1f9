"""The command line of `thinkscale gateway`: three places to learn from, and what is the same for
all.

In a cluster the resource says everything; without one, flags do (model servers by their URLs), or
files that hold what the cluster would. Flags of two places together are a mistake, and a mistake
gets one line that says how to mend it, and exit code 2.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from thinkscale.engines import DIALECTS, adapter_for
from thinkscale.gateway.flag_types import address, port, positive, seconds, url, whole
from thinkscale.gateway.key_source import KeySource, KeysUnreadable
from thinkscale.gateway.patience import Patience
from thinkscale.gateway.sources import FileSource, Source
from thinkscale.gateway.standalone import UpstreamSource, named
from thinkscale.gateway.tracing import NoSdk, Tracing, otlp
from thinkscale.gateway.verify import RETRY_SECONDS
from thinkscale.gateway.wish import NO_THINKING
from thinkscale.model.gateway_config import (
    BEFORE_USE,
    NUDGE,
    GatewayConfig,
    SloConfig,
    TierConfig,
)
from thinkscale.model.intent import Indicator

DEFAULT_SEATS: Final = 256
ENGINES: Final = {name.lower(): name for name in DIALECTS}
CHECKS: Final = {"in-use": "InUse", "before-use": BEFORE_USE}
ON_EXHAUSTED: Final = {"answer": "Answer", "stop": "Stop"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for."""

    source: Source
    keys: KeySource | None
    host: str
    port: int
    admin_port: int
    patience: Patience
    drain_delay_seconds: float
    native_retry_seconds: float
    tracing: Tracing | None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        line = " ".join(message.split())
        print(f"{self.prog}: {line} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def parse(argv: Sequence[str] | None) -> Options:
    """The options; exits with 2 on a mistake."""
    parser = command_line()
    given = parser.parse_args(argv)
    listen = given.host, given.port
    if given.listen is not None:
        if listen != (None, None):
            parser.error("--listen says what --host and --port say: use one or the other")
        listen = given.listen
    return Options(
        source=_source(parser, given),
        keys=_keys(parser, given),
        host=listen[0] or "0.0.0.0",
        port=listen[1] or 8080,
        admin_port=given.admin_port,
        patience=Patience(
            connect=given.connect_timeout_seconds,
            first_token=given.first_token_timeout_seconds,
            idle=given.idle_timeout_seconds,
            comment=given.held_comment_seconds,
        ),
        drain_delay_seconds=given.drain_delay_seconds,
        native_retry_seconds=given.native_budget_retry_seconds,
        tracing=_tracing(parser, given),
    )


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
        type=_nudge,
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
        type=_tier,
        metavar="EFFORT=N",
        help="most thinking tokens of this reasoning_effort; again for each effort",
    )
    group.add_argument(
        "--slo-ttfa-seconds",
        type=seconds,
        metavar="S",
        help="score requests by their time to the first answer token",
    )


_SERVER_FLAGS: Final = (
    "engine", "model", "seats", "budget_max", "budget_min", "budget_default", "answer_max",
    "queue_max", "on_exhausted", "tier", "slo_ttfa_seconds", "nudge",
    "native_budget_check",
)  # fmt: skip


def _source(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Source:
    places = {
        "--namespace and --service": (given.namespace, given.service),
        "--config-dir and --replicas-file": (given.config_dir, given.replicas_file),
        "--upstream": (given.upstream,),
    }
    named_places = [name for name, flags in places.items() if any(f is not None for f in flags)]
    stray = [name for name in _SERVER_FLAGS if getattr(given, name) is not None]
    if len(named_places) > 1:
        parser.error(f"{' cannot go with '.join(named_places)}: use one or the other")
    if stray and given.upstream is None:
        parser.error(f"--{stray[0].replace('_', '-')} needs --upstream URL")
    if not named_places or None in places[named_places[0]]:
        parser.error(f"give {', or '.join(reversed(places))}")
    if given.upstream is not None:
        return _upstreams(parser, given)
    if given.config_dir is not None:
        return FileSource(given.config_dir, given.replicas_file)
    from thinkscale.gateway.kube_source import KubernetesSource  # costs memory, so only here

    return KubernetesSource(given.namespace, given.service)


def _upstreams(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Source:
    engine = ENGINES[given.engine or "vllm"]
    hosts = [urlsplit(server).netloc for server in given.upstream]
    if len(set(hosts)) < len(hosts):
        parser.error("--upstream: the same server is given twice")
    config = _config(parser, given, engine)
    return UpstreamSource(
        config,
        given.upstream,
        health_path=adapter_for(engine).health_path,
        serves_by_name=DIALECTS[engine].serves_by_name,
    )


def _config(
    parser: argparse.ArgumentParser, given: argparse.Namespace, engine: str
) -> GatewayConfig:
    least, most, usual = given.budget_min or 0, given.budget_max, given.budget_default
    tiers = given.tier or []
    limits = {"--budget-default": usual} | {f"--tier {t.name}": t.max_tokens for t in tiers}
    for flag, value in {"--budget-max": most, **limits}.items():
        if value is not None and value < least:
            parser.error(f"{flag} {value} is less than --budget-min {least}: raise it")
    for flag, value in limits.items():
        if value is not None and most is not None and value > most:
            parser.error(f"{flag} {value} is more than --budget-max {most}: lower it")
    check = CHECKS[given.native_budget_check or "in-use"]
    if check == BEFORE_USE and not DIALECTS[engine].has_native_budget:
        parser.error(f"--native-budget-check: {engine} has no native budget: remove it")
    if given.nudge is not None and not least:
        parser.error("--nudge is said behind thoughts below --budget-min N: give that too")
    if len({tier.name for tier in tiers}) < len(tiers):
        parser.error("--tier: the same effort is given twice")
    more: dict[str, Any] = {}
    more.update(named(given.model or ""))
    if given.queue_max is not None:
        more["queue_max_requests"] = given.queue_max
    return GatewayConfig(
        engine=engine,
        seats_per_replica=given.seats or DEFAULT_SEATS,
        min_tokens=least,
        max_tokens=most,
        default_max_tokens=usual,
        tiers=tuple(tiers),
        on_exhausted=ON_EXHAUSTED[given.on_exhausted or "answer"],
        nudge=given.nudge or NUDGE,
        native_budget_check=check,
        answer_max_tokens=given.answer_max,
        slos=_slos(given.slo_ttfa_seconds),
        **more,
    )


def _slos(ttfa_seconds: float | None) -> tuple[SloConfig, ...]:
    if ttfa_seconds is None:
        return ()
    indicator = Indicator.TIME_TO_FIRST_ANSWER
    return (SloConfig(name="ttfa", indicator=indicator, threshold_seconds=ttfa_seconds),)


def _keys(parser: argparse.ArgumentParser, given: argparse.Namespace) -> KeySource | None:
    path = given.api_keys_file or given.api_keys_dir
    if path is None:
        return None
    if path.is_dir() != (given.api_keys_dir is not None):
        kind = "directory" if given.api_keys_dir else "file"
        parser.error(f"--api-keys-{'dir' if given.api_keys_dir else 'file'}: {path} is no {kind}")
    try:
        return KeySource(path)
    except KeysUnreadable as error:
        parser.error(str(error))


def _nudge(text: str) -> str:
    if not text or "think>" in text:
        raise argparse.ArgumentTypeError("must be some text without <think> or </think>")
    return text


def _tier(text: str) -> TierConfig:
    effort, _, tokens = text.partition("=")
    if not effort or not tokens or effort == NO_THINKING:
        raise argparse.ArgumentTypeError(f"{text!r} is not EFFORT=TOKENS, such as low=2048")
    return TierConfig(name=effort, max_tokens=whole(tokens))


def _tracing(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Tracing | None:
    if not given.otlp_traces:
        return None
    try:
        return otlp()
    except NoSdk as error:
        parser.error(f"--otlp-traces: {error}")
