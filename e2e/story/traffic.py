"""From rows of a public trace to requests: when each is sent, and how long the model thinks.

Pure. Two things may be changed, and both are stated by whoever calls: lengths are divided by a
factor (or brought to a mean), and whole requests are left out at random by a seed (thinning keeps
the shape of the arrivals). Time is never stretched.

The lengths are the model's doing, not the client's: a real client could not know them. They travel
to the emulator in a field whose name is drawn anew for each run, so that nobody else can read them.
"""

import random
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from e2e.story.cut_trace import read_rows

SAMPLE = Path(__file__).parents[2] / "examples" / "traffic" / "r1-sample.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to be sent, `at_seconds` after the run's start."""

    at_seconds: float
    prompt_tokens: int
    thinking_tokens: int
    answer_tokens: int


def read_trace(path: Path) -> list[Request]:
    """All requests of a trace in order of arrival. Raises ValueError for a trace of other shape."""
    requests = [
        Request(
            at_seconds=float(at),
            prompt_tokens=int(prompt),
            thinking_tokens=int(thinking),
            answer_tokens=int(answer),
        )
        for at, prompt, thinking, answer in read_rows(path)
    ]
    return sorted(requests, key=lambda request: request.at_seconds)


def shortened(requests: Iterable[Request], divisor: float) -> list[Request]:
    """The same requests with every length divided, none below one token.

    2,547 thinking tokens with a divisor of 10 become 255: at 30 ms a token 7.6 s, not 76 s.
    """
    return [
        replace(
            request,
            prompt_tokens=max(1, round(request.prompt_tokens / divisor)),
            thinking_tokens=max(1, round(request.thinking_tokens / divisor)),
            answer_tokens=max(1, round(request.answer_tokens / divisor)),
        )
        for request in requests
    ]


def thinned(requests: Iterable[Request], share: float, seed: int) -> list[Request]:
    """Each request is kept with probability `share`, by its own draw from `seed`."""
    draw = random.Random(seed)
    return [request for request in requests if draw.random() < share]


def mean_thinking_tokens(requests: Sequence[Request]) -> float:
    """Mean over the requests; 0 for none."""
    if not requests:
        return 0.0
    return sum(request.thinking_tokens for request in requests) / len(requests)


def with_mean_thinking(requests: Sequence[Request], mean_tokens: float) -> list[Request]:
    """The same requests by a model that thinks longer or shorter: the mean becomes `mean_tokens`.

    Everything else, the arrivals and the answers, stays. Rounding, and the floor of one token, may
    move the mean by up to half a token.
    """
    factor = mean_tokens / mean_thinking_tokens(requests)
    return [
        replace(request, thinking_tokens=max(1, round(request.thinking_tokens * factor)))
        for request in requests
    ]


def random_plan_field() -> str:
    """A field name that nobody could have known before this run."""
    return f"x_{secrets.token_hex(6)}"
