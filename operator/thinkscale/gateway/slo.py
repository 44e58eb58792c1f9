"""Scores one request against one SLO, by the model's definition of attainment. Pure.

Finished: good if its indicator is within the limit. Failed by us or an engine (429, 5xx, a broken
stream): bad. Cancelled by the client: bad only if it was late already. Refused as the client's own
mistake (4xx): left out. In flight and past its limit: overdue, a miss now. A request that ends
properly without an answer (its own `max_tokens`, or `onExhausted: Stop`) is judged by its end.
Tokens that came all at once (an answer that the engine could not stream) tell no pace: they are
left out of objectives on it, and their first token is as late as their last.
"""

from dataclasses import dataclass
from enum import Enum

from thinkscale.model.gateway_config import SloConfig
from thinkscale.model.intent import Indicator


class Outcome(Enum):
    """How a request ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """A request's instants, in seconds since it arrived; None: not yet."""

    now: float
    first_token: float | None
    answer_begun: float | None
    last_token: float | None
    thinking_tokens: int
    answer_tokens: int


def score(slo: SloConfig, timing: Timing, outcome: Outcome) -> bool | None:
    """True: met, False: missed, None: does not count."""
    match outcome:
        case Outcome.REFUSED:
            return None
        case Outcome.FAILED:
            return False
        case Outcome.CANCELLED:
            return False if is_late(slo, timing) else None
    if slo.indicator is Indicator.TIME_PER_ANSWER_TOKEN and answer_pace(timing) is None:
        return None
    if slo.indicator is Indicator.TIME_PER_OUTPUT_TOKEN and output_pace(timing) is None:
        return None
    return not is_late(slo, timing)


def is_late(slo: SloConfig, timing: Timing) -> bool:
    """Whether the limit is missed by what is known now; a pending instant counts as now."""
    match slo.indicator:
        case Indicator.TIME_TO_FIRST_TOKEN:
            elapsed = timing.now if timing.first_token is None else timing.first_token
            return elapsed > slo.threshold_seconds
        case Indicator.TIME_TO_FIRST_ANSWER:
            elapsed = timing.now if timing.answer_begun is None else timing.answer_begun
            return elapsed > _limit(slo, timing.thinking_tokens)
        case Indicator.END_TO_END:
            return timing.now > _limit(slo, timing.thinking_tokens + timing.answer_tokens)
        case Indicator.TIME_PER_ANSWER_TOKEN:
            seconds = answer_pace(timing)
            return seconds is not None and seconds > slo.threshold_seconds
        case Indicator.TIME_PER_OUTPUT_TOKEN:
            seconds = output_pace(timing)
            return seconds is not None and seconds > slo.threshold_seconds


def answer_pace(timing: Timing) -> float | None:
    """Mean seconds per answer token after the first; None with fewer than two, or all at once."""
    return pace(timing.answer_begun, timing.last_token, timing.answer_tokens)


def output_pace(timing: Timing) -> float | None:
    """Mean seconds per token of any kind after the first; None with fewer than two, or all at
    once.
    """
    tokens = timing.thinking_tokens + timing.answer_tokens
    return pace(timing.first_token, timing.last_token, tokens)


def pace(first: float | None, last: float | None, tokens: int) -> float | None:
    """Mean seconds between so many tokens; None: their instants do not tell."""
    if first is None or last is None or last <= first or tokens < 2:
        return None
    return (last - first) / (tokens - 1)


def _limit(slo: SloConfig, tokens: int) -> float:
    return slo.threshold_seconds + slo.per_token_seconds * tokens
