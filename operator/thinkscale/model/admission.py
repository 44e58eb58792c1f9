"""Whether a replica may take one more request now: the admission ceiling. Pure; gateway and
simulator share it.

What is over the ceiling waits at the gateway, where it can be ordered, instead of slowing everybody
inside the engine. A request is admitted where seats, KV cache and the pace of the answers allow it:
with it the step must stay under `step_limit_seconds`, less the share of time that prompts of the
last seconds take for their prefill. An empty replica always admits.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from thinkscale.model.signals import Wire
from thinkscale.model.step_time import StepTime

KV_FILL: Final = 0.97
"""Of the KV cache that admission may fill: what runs grows by a token each step."""
STALL_WINDOW_SECONDS: Final = 20.0
MOST_STALL: Final = 0.6
"""Prefill is never taken for more of the time than this."""


class Ceiling(Wire):
    """What one replica may hold; part of the directive. None: not known, hence no bound."""

    seats: Annotated[int, Field(ge=1)]
    kv_tokens: Annotated[int, Field(ge=1)] | None = None
    step_time: StepTime | None = None
    step_limit_seconds: Annotated[float, Field(gt=0)] | None = None
    """A step may take so long at most (a little under the SLO's time per token)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one replica holds now, by this gateway's own accounting."""

    running: int
    """Requests sent to it and unfinished."""
    context_tokens: float
    """Their prompts and the tokens generated so far."""
    stall_seconds: float = 0.0
    """Prefill seconds admitted lately, decayed by `decayed`."""


def admits(ceiling: Ceiling, held: Held, prompt_tokens: float) -> bool:
    """Whether a request with this prompt may be sent to the replica now.

    Reference profile, limit 42.75 ms, 90 running with 270,000 tokens, a prompt of 1,000, no stall:
    phi = 51 us * 1,000 / 20 s = 0.26 %; 15.5 + 91 * 0.027 + 271,000 * 0.000076 = 38.6 ms is under
    42.75 * (1 - 0.0026) = 42.6 ms: admitted.
    """
    if held.running == 0:
        return True
    if held.running >= ceiling.seats:
        return False
    context = held.context_tokens + prompt_tokens
    if ceiling.kv_tokens is not None and context > KV_FILL * ceiling.kv_tokens:
        return False
    if ceiling.step_time is None or ceiling.step_limit_seconds is None:
        return True
    prefill = held.stall_seconds + ceiling.step_time.prompt_token_seconds * prompt_tokens
    share = min(MOST_STALL, prefill / STALL_WINDOW_SECONDS)
    step = ceiling.step_time.seconds(held.running + 1, context)
    return step <= ceiling.step_limit_seconds * (1 - share)


def shared(ceiling: Ceiling, gateways: int) -> Ceiling:
    """One gateway's part of the ceiling, where `gateways` share the replicas and each counts its
    own requests alone: the others hold as much as it does.

    8 seats and 90,000 KV tokens for 3 gateways are 3 seats (rounded up: everybody has one) and
    30,000 tokens; what a request of its own adds to the step counts threefold, the base once.
    """
    if gateways <= 1:
        return ceiling
    step, kv = ceiling.step_time, ceiling.kv_tokens
    return Ceiling(
        seats=math.ceil(ceiling.seats / gateways),
        kv_tokens=None if kv is None else max(1, kv // gateways),
        step_time=None
        if step is None
        else StepTime(
            base_seconds=step.base_seconds,
            sequence_seconds=step.sequence_seconds * gateways,
            context_token_seconds=step.context_token_seconds * gateways,
            prompt_token_seconds=step.prompt_token_seconds * gateways,
        ),
        step_limit_seconds=ceiling.step_limit_seconds,
    )


def fullness(ceiling: Ceiling, held: Held) -> float:
    """How full a replica is, 0 to about 1: the scarcer of seats and KV cache. Requests go to the
    replica with the least.
    """
    seats = held.running / ceiling.seats
    if ceiling.kv_tokens is None:
        return seats
    return max(seats, held.context_tokens / ceiling.kv_tokens)


def decayed(stall_seconds: float, elapsed_seconds: float) -> float:
    """What remains of admitted prefill seconds after a while: it fades with a 20 s window."""
    return stall_seconds * math.exp(-elapsed_seconds / STALL_WINDOW_SECONDS)
