"""The prompt of a request that runs, which is not that of one that arrives.

A running request is the likelier met the longer its output, so its prompt is E[P·L]/E[L] on
average, and E[P] only where lengths know nothing of prompts. In a public day of R1 traffic there
are hours in which long prompts go with short thoughts and those who run hold half of E[P], and
others in which they hold twice as much. It is counted and not derived: what the gateways hold at
their replicas, less what was generated of it, by request; a mean over minutes that begins as E[P].
"""

from dataclasses import dataclass
from typing import Final

from thinkscale.model.observation import MergedSignals
from thinkscale.scaling.survival import middle

HALF_LIFE_SECONDS: Final = 300.0
PRIOR_REQUEST_SECONDS: Final = 3000.0
"""E[P] counts as much as ten requests that ran for five minutes."""
LONGEST_SECONDS: Final = 60.0
"""A look tells of so long at most."""
MOST_RATIO: Final = 4.0
"""To E[P], either way: beyond that somebody miscounts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPrompt:
    """Discounted sums over time."""

    at: float | None = None
    token_seconds: float = 0.0
    """Prompt tokens of those who ran."""
    request_seconds: float = 0.0


def observe(known: RunningPrompt, at: float, signals: MergedSignals) -> RunningPrompt:
    """What runs now counts for the time since the last look. Gateways that do not tell what they
    hold (zero tokens with requests that run) say nothing.
    """
    running = sum(signals.output_ages)
    held = sum(replica.context_tokens for replica in signals.replicas.values())
    if held <= 0 < running or (known.at is not None and at <= known.at):
        return known
    elapsed = LONGEST_SECONDS if known.at is None else min(LONGEST_SECONDS, at - known.at)
    generated = sum(count * middle(age) for age, count in enumerate(signals.output_ages))
    kept = 0.5 ** (elapsed / HALF_LIFE_SECONDS)
    return RunningPrompt(
        at=at,
        token_seconds=kept * known.token_seconds + elapsed * max(0.0, held - generated),
        request_seconds=kept * known.request_seconds + elapsed * running,
    )


def mean_tokens(known: RunningPrompt, arriving_tokens: float) -> float:
    """`arriving_tokens`: E[P]. A hundred requests that ran for a minute with 500 tokens each, and
    an E[P] of 2,000: (3,000,000 + 3,000·2,000) / (6,000 + 3,000) = 1,000.
    """
    tokens = known.token_seconds + PRIOR_REQUEST_SECONDS * arriving_tokens
    mean = tokens / (known.request_seconds + PRIOR_REQUEST_SECONDS)
    return min(max(mean, arriving_tokens / MOST_RATIO), arriving_tokens * MOST_RATIO)
