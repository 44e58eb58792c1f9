"""Holds a sweep to what it may spend. Pure.

A call is let out only if all that is under way could cost its most and still stay within the
limits. What an attempt that was lost had cost nobody tells; it counts as a request, and its prompt
as tokens. One that was refused, or never sent, cost nothing.
"""

from dataclasses import dataclass

from thinkscale.quality.calls import Call, Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None: no limit."""

    requests: int | None = None
    tokens: int | None = None


class Spending:
    """Requests and tokens so far, and those under way."""

    def __init__(self, limits: Limits, *, requests: int = 0, tokens: int = 0) -> None:
        """`requests`, `tokens`: spent by earlier runs."""
        self.requests = requests
        self.tokens = tokens
        self._limits = limits
        self._reserved = 0

    def refusal(self, call: Call) -> str | None:
        """Why this call may not be sent; None: it may."""
        limit = self._limits.requests
        if limit is not None and self.requests + 1 > limit:
            return f"--max-requests {limit:,} is used up"
        limit = self._limits.tokens
        if limit is not None and self.tokens + self._reserved + call.most_tokens > limit:
            return (
                f"--max-tokens {limit:,} does not hold one more request of up to "
                f"{call.most_tokens:,} beside the {self.tokens:,} spent"
            )
        return None

    @property
    def under_way(self) -> bool:
        """Whether something is reserved that may be given back."""
        return self._reserved > 0

    def send(self, call: Call) -> None:
        """It goes out."""
        self.requests += 1
        self._reserved += call.most_tokens

    def settle(self, call: Call, reply: Reply) -> None:
        """It came back."""
        self._reserved -= call.most_tokens
        self.tokens += reply.tokens

    def lose(self, call: Call, *, processed: bool) -> None:
        """It will not come back; `processed`: the endpoint may have worked on it."""
        self._reserved -= call.most_tokens
        if processed:
            self.tokens += call.most_prompt_tokens
        else:
            self.requests -= 1
