"""What a sweep will cost, told before it starts. Pure.

Requests are known within a range; tokens are not, since how long a model thinks is what the sweep
is to find out: where a level sets no limit, what is assumed is said, and replaced by what was seen
as soon as there is something.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from thinkscale.quality.calls import CHARACTERS_A_TOKEN
from thinkscale.quality.dataset import Row
from thinkscale.quality.levels import Level
from thinkscale.quality.reuse import MOST_WAITS
from thinkscale.quality.settings import Method, chat_bytes

ASSUMED_THINKING_TOKENS: Final = 2000
ASSUMED_ANSWER_TOKENS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Of the whole plan, from nothing."""

    fewest_requests: int
    most_requests: int
    output_tokens: int
    prompt_tokens: int
    assumed_thinking_tokens: int


def estimate(
    rows: Sequence[Row],
    samples: int,
    levels: Sequence[Level],
    method: Method,
    thinking_tokens: float | None = None,
) -> Estimate:
    """`thinking_tokens`: the mean seen so far without a limit; None: it is assumed.

    100 rows at 0, 64 and none: 300 independent requests; with reuse 100 traces and up to 200
    answers behind a cut.
    """
    asked = len(rows) * samples
    assumed = round(ASSUMED_THINKING_TOKENS if thinking_tokens is None else thinking_tokens)
    prompt = sum(chat_bytes(row) for row in rows) * samples // CHARACTERS_A_TOKEN
    limits = [level.max_tokens for level in levels if level.max_tokens is not None]
    if method is Method.INDEPENDENT:
        thoughts = [assumed if n is None else min(n, assumed) for n in
                    (level.max_tokens for level in levels)]  # fmt: skip
        count = asked * len(levels)
        output = asked * sum(thought + ASSUMED_ANSWER_TOKENS for thought in thoughts)
        return Estimate(
            fewest_requests=count,
            most_requests=count,
            output_tokens=output,
            prompt_tokens=prompt * len(levels),
            assumed_thinking_tokens=assumed,
        )
    unbounded = any(level.max_tokens is None for level in levels)
    longest = assumed if unbounded else min(assumed, max(limits))
    cuts = [limit for limit in limits if limit < longest]
    waits = MOST_WAITS if any(level.min_tokens for level in levels) else 0
    return Estimate(
        fewest_requests=asked,
        most_requests=asked * (1 + len(limits) + waits),
        output_tokens=asked * (longest + ASSUMED_ANSWER_TOKENS * (1 + len(cuts))),
        prompt_tokens=prompt * (1 + len(cuts)) + asked * sum(cuts),
        assumed_thinking_tokens=assumed,
    )
