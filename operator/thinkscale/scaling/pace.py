"""How long a token takes, as the gateways see it: busy time over tokens, for the last minute.

It stands in for the step time of engines that tell nothing of their steps, and is the guess that
the calibration starts from where no catalogue knows the hardware.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from thinkscale.model.observation import MergedSignals

SPACING_SECONDS: Final = 10.0
KEPT_SECONDS: Final = 75.0
WINDOW_SECONDS: Final = 60.0
FEWEST_TOKENS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceSample:
    """Totals of all gateways at one instant, and how busy the engines were up to it."""

    at: float
    tokens: int
    """Thinking and answer tokens produced."""
    active: int
    """Requests that were producing tokens at this instant."""
    active_seconds: float
    """Integral of `active` over time since the history began."""


Pace: TypeAlias = tuple[PaceSample, ...]


def observe(history: Pace, at: float, signals: MergedSignals) -> Pace:
    """The history with this reading added; a reading seen before changes nothing."""
    active = signals.phases.thinking + signals.phases.answering
    tokens = signals.counters.thinking_tokens + signals.counters.answer_tokens
    integral = 0.0
    if history:
        last = history[-1]
        gap = at - last.at
        if gap <= 0:
            return history
        if gap > KEPT_SECONDS or tokens < last.tokens:
            history = ()
        else:
            integral = last.active_seconds + gap * (active + last.active) / 2
    sample = PaceSample(at=at, tokens=tokens, active=active, active_seconds=round(integral, 3))
    if len(history) >= 2 and history[-1].at - history[-2].at < SPACING_SECONDS:
        history = history[:-1]
    first = 0
    while first + 1 < len(history) and history[first + 1].at <= at - KEPT_SECONDS:
        first += 1
    return (*history[first:], sample)


def seconds_per_token(history: Pace) -> float | None:
    """Mean seconds that a request in an engine took per token, over the last minute.

    8 requests that were busy all of 60 s and produced 16,000 tokens: 480 / 16,000 = 0.03. None
    while fewer than 64 tokens were produced.
    """
    if not history:
        return None
    last = history[-1]
    first = next(s for s in history if s.at >= last.at - WINDOW_SECONDS)
    tokens = last.tokens - first.tokens
    busy = last.active_seconds - first.active_seconds
    if tokens < FEWEST_TOKENS or busy <= 0:
        return None
    return busy / tokens
