"""The model servers that are put to the test, and how their thoughts are steered.

The real vLLM's tiny model closes a thought with a small probability at every token, so biases on
two tokens make it think long or shortly, and answer shortly. The emulator says as much as a plan
in the request tells it.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from e2e.engines.conformance.canaries import BROKEN, KEPT
from e2e.engines.conformance.cells import BY_ENGINE, Target
from e2e.engines.install import VLLM_VERSION, Engine
from e2e.engines.server import HOST, SERVED_NAME, Server, Sizes, free_port, real_engine, serving
from e2e.engines.tiny_tokens import CLOSE, END

SIZES: Final = Sizes(seats=32, step_tokens=2048, context_tokens=4096)
SHORT_ANSWER: Final = {str(END): 2}
SLOW: Final[Mapping[str, Any]] = {"logit_bias": {str(CLOSE): -8, **SHORT_ANSWER}}
QUICK: Final[Mapping[str, Any]] = {"logit_bias": {str(CLOSE): 3, **SHORT_ANSWER}}
PARSERS: Final = ("qwen3", "deepseek_r1", "")
NO_PARSER: Final = (
    "vLLM takes thinking_token_budget only with a reasoning parser "
    "(vllm-project/vllm#20859, #57830); the gateway's own enforcement holds instead"
)
PLAN: Final = "x_plan"
PLAIN: Final[Mapping[str, Any]] = {
    "model": SERVED_NAME,
    "messages": [{"role": "user", "content": "why is the sky"}],
    "temperature": 1.0,
}
"""A request as `Bench.ask` makes it."""


OTHER_TAG: Final = ("--reasoning-config", '{"reasoning_start_str": "<reasoning>"}')
"""A real vLLM whose budget waits for a tag that this model does not write: it is taken, and never
applied.
"""


def _planned(thinking: int) -> dict[str, dict[str, int]]:
    return {PLAN: {"thinking_tokens": thinking, "answer_tokens": 10}}


def vllm(parser: str, *, is_real: bool) -> Target:
    """vLLM with a reasoning parser; empty: with none, so that tags come in the text."""
    flags = ["--reasoning-parser", parser] if parser else []
    fault = OTHER_TAG if is_real else ("--ignore-native-budget",)
    return Target(
        engine=f"vLLM {VLLM_VERSION}",
        dialect="VLLM",
        is_real=is_real,
        output=f"parser {parser}" if parser else "tags in the text",
        slow=SLOW if is_real else _planned(400),
        quick=QUICK if is_real else _planned(15),
        flags=flags,
        breaking=(*flags, *fault) if parser else flags,
        impossible={} if parser else dict.fromkeys((BY_ENGINE, KEPT), NO_PARSER),
    )


TGI: Final = Target(
    engine="TGI 3.3",
    dialect="TGI",
    is_real=False,
    output="tags in the text",
    slow={PLAN: {"thinking_tokens": 400, "answer_tokens": 10}},
    quick={PLAN: {"thinking_tokens": 15, "answer_tokens": 10}},
    flags=("--dialect", "tgi"),
    impossible=dict.fromkeys((BY_ENGINE, KEPT, BROKEN), "TGI has no thinking budget"),
)
_SGLANG_FLAGS: Final = ("--dialect", "sglang", "--reasoning-parser", "deepseek-r1")
_STRICT_FLAGS: Final = (*_SGLANG_FLAGS, "--enable-strict-thinking")
SGLANG_STRICT: Final = replace(
    TGI,
    engine="SGLang 0.5",
    dialect="SGLang",
    output="parser, strict thinking",
    flags=_STRICT_FLAGS,
    breaking=(*_STRICT_FLAGS, "--ignore-native-budget"),
    impossible={},
)
SGLANG: Final = replace(
    SGLANG_STRICT,
    output="parser",
    flags=_SGLANG_FLAGS,
    breaking=_SGLANG_FLAGS,
    impossible=dict.fromkeys(
        (BY_ENGINE, KEPT),
        "SGLang ignores a thinking budget in silence without "
        "--enable-strict-thinking; the gateway notices it and says `observed`",
    ),
)
REAL: Final = {f"vllm-{parser or 'none'}": vllm(parser, is_real=True) for parser in PARSERS}
EMULATED: Final[Mapping[str, Target]] = {
    **{f"vllm-{parser or 'none'}": vllm(parser, is_real=False) for parser in PARSERS},
    "tgi": TGI,
    "sglang": SGLANG,
    "sglang-strict": SGLANG_STRICT,
}
"""The engines that do not run here among them."""


@contextmanager
def real_vllm(
    engine: Engine, name: str, logs: Path, flags: Sequence[str], seats: int = SIZES.seats
) -> Iterator[Server]:
    """The real one."""
    sizes = replace(SIZES, seats=seats)
    with real_engine(engine, sizes, logs / f"conformance-{name}.log", flags) as server:
        yield server


@contextmanager
def emulated(name: str, logs: Path, flags: Sequence[str]) -> Iterator[Server]:
    """The emulator, as fast as it can."""
    port = free_port()
    command = [sys.executable, "-m", "thinkscale", "emulator", SERVED_NAME, "--host", HOST]
    command += ["--port", str(port), "--startup-seconds", "0", "--plan-field", PLAN]
    command += ["--a0-milliseconds", "1", "--a1-milliseconds", "0"]
    command += ["--thinking-tokens-mean", "400", "--length-distribution", "constant", *flags]
    with serving(f"emulator-{name}", command, port, {}, logs / f"emulated-{name}.log") as server:
        yield server
