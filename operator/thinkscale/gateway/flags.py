"""What the flags of `thinkscale gateway` come to: three places to learn from, and what is the same
for all.

In a cluster the resource says everything; without one, flags do (model servers by their URLs), or
files that hold what the cluster would. Flags of two places together are a mistake.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from thinkscale.engines import DIALECTS, adapter_for
from thinkscale.gateway.command_line import (
    CHECKS,
    DEFAULT_SEATS,
    ENGINES,
    ON_EXHAUSTED,
    SERVER_FLAGS,
    command_line,
)
from thinkscale.gateway.key_source import KeySource, KeysUnreadable
from thinkscale.gateway.patience import Patience
from thinkscale.gateway.sources import FileSource, Source
from thinkscale.gateway.standalone import UpstreamSource, named
from thinkscale.gateway.tracing import NoSdk, Tracing, otlp
from thinkscale.model.gateway_config import BEFORE_USE, NUDGE, GatewayConfig, SloConfig
from thinkscale.model.intent import Indicator


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


def _source(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Source:
    places = {
        "--namespace and --service": (given.namespace, given.service),
        "--config-dir and --replicas-file": (given.config_dir, given.replicas_file),
        "--upstream": (given.upstream,),
    }
    named_places = [name for name, flags in places.items() if any(f is not None for f in flags)]
    stray = [name for name in SERVER_FLAGS if getattr(given, name) is not None]
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


def _tracing(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Tracing | None:
    if not given.otlp_traces:
        return None
    try:
        return otlp()
    except NoSdk as error:
        parser.error(f"--otlp-traces: {error}")
