"""How many gateways a service needs, by the tokens that pass through them.

One process carries about 20,000 events a second on a core of its own; the gateways are sized so
that each has half of that, for bursts and for cores that are not its own. A token is at most an
event. Quick up: what the rate of the last seconds asks for is there at once. Slow down: only when
the largest wish of five minutes is smaller, and one gateway a minute, so that its streams can end
while the others take its clients. What is missing grows nothing and shrinks nothing, and the five
minutes begin anew behind it.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from thinkscale.model.observation import Observation
from thinkscale.model.reading import Value
from thinkscale.scaling.stabilize import Wishes, largest

TOKENS_PER_SECOND: Final = 10_000.0
"""Of one gateway."""
SAMPLE_SECONDS: Final = 5.0
"""A rate is measured over so long at least."""
WINDOW_SECONDS: Final = 300.0
STEP_SECONDS: Final = 60.0
"""Between two gateways that go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What has passed so far, and what was wished for it. Kept by the process alone: one that has
    just started shrinks nothing for five minutes.
    """

    epoch: str = ""
    tokens: int = 0
    at: float | None = None
    """When that was (Unix seconds); None: not known."""
    wishes: Wishes = ()
    shrinks_at: float = math.inf
    """Not before."""


def size(
    least: int, most: int, standing: int, passed: Passed, observation: Observation, now: datetime
) -> tuple[int, Passed]:
    """The gateways to run, from `least` to `most`, and what to remember. `standing`: those that run
    now.

    26,000 tokens a second are 3 gateways; when they fall to 9,000, one goes five minutes later at
    the earliest, and another one a minute after it.
    """
    standing = min(max(standing, least), most)
    instant = now.timestamp()
    match observation.signals:
        case Value(value=signals, complete=complete):
            tokens = signals.counters.thinking_tokens + signals.counters.answer_tokens
        case _:
            return standing, Passed()
    if passed.at is None or passed.epoch != observation.epoch or tokens < passed.tokens:
        return standing, Passed(
            epoch=observation.epoch,
            tokens=tokens,
            at=instant,
            shrinks_at=instant + WINDOW_SECONDS,
        )
    seconds = instant - passed.at
    if seconds < SAMPLE_SECONDS:
        return standing, passed
    rate = (tokens - passed.tokens) / seconds
    wish = min(max(math.ceil(rate / TOKENS_PER_SECOND), least), most)
    passed = replace(passed, tokens=tokens, at=instant)
    if not complete:  # a lower bound
        later = replace(passed, wishes=(), shrinks_at=instant + WINDOW_SECONDS)
        return max(standing, wish), later
    wishes = largest(passed.wishes, instant, wish, WINDOW_SECONDS)
    passed = replace(passed, wishes=wishes)
    if wishes[0][1] >= standing or instant < passed.shrinks_at:
        return max(standing, wish), passed
    return standing - 1, replace(passed, shrinks_at=instant + STEP_SECONDS)
