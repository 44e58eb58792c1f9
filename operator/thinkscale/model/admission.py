"""Whether a replica may take one more request now: the admission ceiling. Pure; gateway and
simulator share it.

What is over the ceiling waits at the gateway, where it can be ordered, instead of slowing everybody
inside the engine. A request is admitted where seats, KV cache and the pace of the answers allow it:
with it the step must stay under `step_limit_seconds`, less the share of time that prompts of the
last seconds take for their prefill. An empty replica always admits.
"""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Final

from pydantic import Field

from thinkscale.model.signals import Wire
from thinkscale.model.step_time import StepTime

KV_FILL: Final = 0.97
"""Of the KV cache that admission may fill: what runs grows by a token each step."""
STALL_WINDOW_SECONDS: Final = 20.0
GUARANTEED: Final = 2
"""A gateway has one part in so many of its even share to itself."""
RECENT_SECONDS: Final = 6.0
"""An older look at a replica says nothing of what the others have there."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a replica said of itself when it was last scraped, everybody's requests together, and
    what this gateway had there at that instant.
    """

    at: float
    running: int
    context_tokens: float
    own_running: int
    own_context_tokens: float


def everybodys(held: Held, seen: Seen, gateways: int, usual_stall_seconds: float) -> Held:
    """What all gateways together have at a replica now, as far as one of them can tell.
    `usual_stall_seconds`: this gateway's, the mean over the replicas; a long prompt of its own says
    nothing of the others'.

    The others have what they had at the scrape, and have sent since then as much as this one has:
    of 30 that ran 10 were its own, now 12 are: 12 + 20, and 2 more from each of two others: 36.
    """
    others = max(0, seen.running - seen.own_running)
    others_tokens = max(0.0, seen.context_tokens - seen.own_context_tokens)
    sent = max(0, held.running - seen.own_running) * (gateways - 1)
    tokens = max(0.0, held.context_tokens - seen.own_context_tokens) * (gateways - 1)
    return Held(
        running=held.running + others + sent,
        context_tokens=held.context_tokens + others_tokens + tokens,
        stall_seconds=held.stall_seconds + usual_stall_seconds * (gateways - 1),
    )


def admits_of_several(
    ceiling: Ceiling,
    held: Held,
    seen: Seen | None,
    prompt_tokens: float,
    gateways: int,
    usual_stall_seconds: float,
) -> bool:
    """Whether one of several gateways may send a request: as long as all together have room.

    Without a recent look at the replica, as long as its own part has. Half of its part is its own
    whatever the others take: who has nobody there hears of no end, and would never come in.
    """
    if gateways <= 1:
        return admits(ceiling, held, prompt_tokens)
    parts = gateways if seen is None else GUARANTEED * gateways
    alike = replace(held, stall_seconds=held.stall_seconds * gateways)
    if admits(shared(ceiling, parts), alike, prompt_tokens):
        return True
    if seen is None:
        return False
    everybody = everybodys(held, seen, gateways, usual_stall_seconds)
    return admits(ceiling, everybody, prompt_tokens)


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
