"""The command line: the engines' own flags under each engine's names, and the emulator's beside.

What an engine's adapter writes is understood here, whichever the dialect: one flag has several
spellings. Every flag does something; an unknown one is an error, as with the real servers.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from thinkscale.emulator.choice import Parser
from thinkscale.emulator.lengths import LengthOptions
from thinkscale.emulator.vocabulary import END_THINK, encode
from thinkscale.fleet.profile import PROFILES, Profile

VLLM: Final = "vllm"
TGI: Final = "tgi"
SGLANG: Final = "sglang"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """Faults that tests ask for."""

    ignores_budgets: bool = False
    budget_excess: int = 0
    budget_in_answer: bool = False
    coalesce: int = 1
    fails_start: bool = False
    crash_after_seconds: float | None = None
    hangs_on_terminate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All that the server needs to know."""

    dialect: str
    """vllm | tgi | sglang"""
    version: tuple[int, ...]
    """Of vLLM: which release's names are used."""
    model: str
    served_name: str
    revision: str | None
    tensor_parallel: int
    host: str
    port: int
    max_model_len: int
    max_queued: int | None
    shutdown_timeout_seconds: float
    parser: Parser
    reasoning_fields: tuple[str, ...]
    opens_think: bool
    template_switches: bool
    """The chat template obeys `enable_thinking`."""
    forced_end: tuple[int, ...] | None
    """What a thinking budget forces; None: the bare `</think>` of the parser, if there is one."""
    tracks_load: bool
    max_input_tokens: int
    """TGI's: a generation whose prompt and output have become longer ends at the next round."""
    shows_metrics: bool
    strict_thinking: bool
    """SGLang's: native budgets are obeyed."""
    profile: Profile
    lengths: LengthOptions
    quirks: Quirks


def parse(argv: Sequence[str]) -> Options:
    """Read the command line; exits with 2 on an error."""
    parser = _parser()
    given = parser.parse_args(argv)
    profile = _profile(given)
    longest = given.max_model_len or min(32_768, profile.kv_tokens)
    if longest > profile.kv_tokens:
        parser.error(
            f"--max-model-len {longest} exceeds the KV cache of {profile.kv_tokens} tokens"
        )
    model = given.model_path or given.model
    if model is None:
        parser.error("name the MODEL")
    if given.coalesce < 1:
        parser.error("--coalesce must be at least 1")
    return Options(
        dialect=given.dialect,
        version=given.vllm_version,
        model=model,
        served_name=given.served_model_name or model,
        revision=given.revision,
        tensor_parallel=given.tensor_parallel_size,
        host=given.host,
        port=given.port,
        max_model_len=longest,
        max_queued=given.max_num_queued_reqs,
        shutdown_timeout_seconds=given.shutdown_timeout,
        parser=Parser(given.reasoning_parser.replace("-", "_")),
        reasoning_fields=_reasoning_fields(given),
        opens_think=given.template_opens_think,
        template_switches=given.template_switches,
        forced_end=given.reasoning_config,
        tracks_load=given.enable_server_load_tracking,
        max_input_tokens=given.max_input_tokens or longest - 1,
        shows_metrics=given.dialect != SGLANG or given.enable_metrics,
        strict_thinking=given.enable_strict_thinking,
        profile=profile,
        lengths=LengthOptions(
            plan_field=given.plan_field,
            thinking_mean=given.thinking_tokens_mean,
            answer_mean=given.answer_tokens_mean,
            distribution=given.length_distribution,
            seed=given.seed,
        ),
        quirks=Quirks(
            ignores_budgets=given.ignore_native_budget,
            budget_excess=given.overrun_native_budget,
            budget_in_answer=given.inject_native_budget,
            coalesce=given.coalesce,
            fails_start=given.fail_start,
            crash_after_seconds=given.crash_after_seconds,
            hangs_on_terminate=given.hang_on_terminate,
        ),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="thinkscale emulator",
        description="A model server without a GPU: an engine's HTTP dialect, modelled timing.",
    )
    parser.add_argument("--dialect", choices=(VLLM, TGI, SGLANG), default=VLLM)
    parser.add_argument(
        "--vllm-version",
        type=_version,
        default=(0, 32),
        metavar="X.Y",
        help="whose names are used: before 0.16 of the reasoning field, before 0.10 of metrics",
    )
    _add_engine_flags(parser)
    _add_profile_flags(parser)
    _add_length_flags(parser)
    _add_quirk_flags(parser)
    return parser


def _add_engine_flags(parser: argparse.ArgumentParser) -> None:
    engine = parser.add_argument_group("the engines' flags")
    engine.add_argument(
        "model", metavar="MODEL", nargs="?", help="name of the model; nothing is loaded"
    )
    engine.add_argument("--model-path", "--model-id", metavar="MODEL", help="the same")
    engine.add_argument("--host", "--hostname", default="0.0.0.0")
    engine.add_argument("--port", type=int, default=8000)
    engine.add_argument("--served-model-name", help="what clients call it (default MODEL)")
    engine.add_argument(
        "--max-model-len",
        "--max-total-tokens",
        "--context-length",
        type=int,
        help="prompt and output together",
    )
    engine.add_argument("--max-input-tokens", type=int, help="TGI's: longest prompt of a round")
    engine.add_argument(
        "--max-num-seqs",
        "--max-batch-size",
        "--max-running-requests",
        type=int,
        help="seats (default: the profile's)",
    )
    engine.add_argument("--max-num-batched-tokens", type=int, help="tokens of one step")
    engine.add_argument(
        "--max-num-queued-reqs",
        "--max-concurrent-requests",
        "--max-queued-requests",
        type=int,
        help="waiting and running (no limit)",
    )
    parsers = [spelled for p in Parser for spelled in {p.value, p.value.replace("_", "-")}]
    engine.add_argument("--reasoning-parser", choices=sorted(parsers), default=Parser.NONE.value)
    engine.add_argument("--enable-metrics", action="store_true", help="SGLang has none without")
    engine.add_argument(
        "--enable-strict-thinking",
        action="store_true",
        help="SGLang obeys no thinking budget without",
    )
    engine.add_argument(
        "--reasoning-config",
        type=_forced_end,
        metavar="JSON",
        help='{"reasoning_end_str": TEXT}: what a thinking budget forces',
    )
    engine.add_argument(
        "--tensor-parallel-size",
        "--num-shard",
        "--tp-size",
        type=int,
        default=1,
        help="shown in the log",
    )
    engine.add_argument("--revision", help="shown in the log")
    engine.add_argument(
        "--shutdown-timeout",
        "--graceful-termination-timeout",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="drain that long on SIGTERM (default 0: abort; SGLang drains without a limit)",
    )
    engine.add_argument("--enable-server-load-tracking", action="store_true")


def _add_profile_flags(parser: argparse.ArgumentParser) -> None:
    timing = parser.add_argument_group(
        "timing: t = a0 + a1 * sequences + a2 * context tokens + a3 * prompt tokens"
    )
    timing.add_argument("--profile", choices=sorted(PROFILES), default="demo")
    timing.add_argument("--a0-milliseconds", type=float)
    timing.add_argument("--a1-milliseconds", type=float)
    timing.add_argument("--a2-microseconds", type=float)
    timing.add_argument("--a3-microseconds", type=float)
    timing.add_argument("--kv-tokens", type=int, help="capacity of the KV cache")
    timing.add_argument("--startup-seconds", type=float, help="until the port is bound")


def _add_length_flags(parser: argparse.ArgumentParser) -> None:
    lengths = parser.add_argument_group("how much the model says")
    lengths.add_argument(
        "--plan-field",
        metavar="NAME",
        help='request field {"thinking_tokens": N, "answer_tokens": M} (default: none is read)',
    )
    lengths.add_argument("--thinking-tokens-mean", type=float, default=300.0)
    lengths.add_argument("--answer-tokens-mean", type=float, default=80.0)
    lengths.add_argument(
        "--length-distribution",
        choices=("geometric", "lognormal", "constant"),
        default="geometric",
    )
    lengths.add_argument("--seed", type=int, default=0, help="of the lengths drawn")
    lengths.add_argument(
        "--template-opens-think",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the chat template ends with <think>; else the model opens the thought itself",
    )
    lengths.add_argument(
        "--template-switches",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the chat template obeys enable_thinking; else it does not know it",
    )
    lengths.add_argument(
        "--reasoning-field",
        choices=("reasoning", "reasoning_content"),
        help="the thought's name (default: that of the release)",
    )


def _add_quirk_flags(parser: argparse.ArgumentParser) -> None:
    quirks = parser.add_argument_group("faults")
    quirks.add_argument(
        "--ignore-native-budget",
        action="store_true",
        help="accept thinking_token_budget and do nothing with it",
    )
    quirks.add_argument(
        "--overrun-native-budget",
        type=int,
        default=0,
        metavar="TOKENS",
        help="obey thinking_token_budget so many tokens late",
    )
    quirks.add_argument(
        "--inject-native-budget",
        action="store_true",
        help="count the answer's tokens too: a budget reached there puts a </think> into it",
    )
    quirks.add_argument("--coalesce", type=int, default=1, metavar="N", help="tokens a chunk")
    quirks.add_argument("--fail-start", action="store_true", help="exit 1 instead of serving")
    quirks.add_argument("--crash-after-seconds", type=float, metavar="SECONDS")
    quirks.add_argument(
        "--hang-on-terminate",
        action="store_true",
        help="on SIGTERM streams go silent and the process stays until its clients hang up",
    )


def _profile(given: argparse.Namespace) -> Profile:
    """The named profile with the flags' changes."""
    flags = {
        "base_seconds": _scaled(given.a0_milliseconds, 1e-3),
        "sequence_seconds": _scaled(given.a1_milliseconds, 1e-3),
        "context_token_seconds": _scaled(given.a2_microseconds, 1e-6),
        "prompt_token_seconds": _scaled(given.a3_microseconds, 1e-6),
        "kv_tokens": given.kv_tokens,
        "seats": given.max_num_seqs,
        "step_tokens": given.max_num_batched_tokens,
        "startup_seconds": given.startup_seconds,
    }
    return replace(PROFILES[given.profile], **{k: v for k, v in flags.items() if v is not None})


def _reasoning_fields(given: argparse.Namespace) -> tuple[str, ...]:
    if given.reasoning_field:
        return (given.reasoning_field,)
    if given.dialect == SGLANG or given.vllm_version < (0, 12):
        return ("reasoning_content",)
    return ("reasoning", "reasoning_content") if given.vllm_version < (0, 16) else ("reasoning",)


def _version(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(".")[:2])
    except ValueError as error:
        raise argparse.ArgumentTypeError("must be X.Y") from error


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value * unit


def _forced_end(text: str) -> tuple[int, ...]:
    try:
        end = json.loads(text).get("reasoning_end_str", "</think>")
    except (ValueError, AttributeError) as error:
        raise argparse.ArgumentTypeError("must be a JSON object") from error
    ids = tuple(encode(str(end)))
    if END_THINK not in ids:
        raise argparse.ArgumentTypeError("reasoning_end_str must contain </think>")
    return ids
