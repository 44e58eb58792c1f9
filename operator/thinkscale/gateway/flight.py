"""One request while it is in the gateway: its instants and counts. Kept by the ledger alone.

Instants are monotonic seconds, given by the caller.
"""

from collections.abc import Callable
from typing import Literal

from thinkscale.gateway.affinity import Conversation
from thinkscale.gateway.holding import Holding
from thinkscale.gateway.slo import Timing

PhaseName = Literal["queued", "thinking", "answering"]


class Flight:
    """A request that was accepted and has not ended. Its fields begin as the class says: to set two
    dozen of them for each request takes longer than to find a place for it.
    """

    def __init__(self, *, arrived: float, prompt: int = 0) -> None:
        self.arrived = arrived
        self.prompt = prompt
        """Tokens of its prompt: an estimate until an engine has told them."""

    prompt_told: bool = False
    tier: str = ""
    """Empty: none."""
    conversation: Conversation | None = None
    """None: not known, or not asked yet."""
    whose: Callable[[], Conversation | None] | None = None
    """Tells the conversation; asked once, and no sooner than somebody wants to know."""
    would_lose_millipoints: int = 0
    """Expected score that load's cut of its thought costs."""
    replica: str | None = None
    holding: Holding | None = None
    """What that replica holds, this request included."""
    dispatched: bool = False
    """It was sent to a replica at least once."""
    limit: int | None = None
    """Thinking tokens that it may use."""
    first_token: float | None = None
    answer_begun: float | None = None
    last_token: float | None = None
    last_thinking_token: float | None = None
    """None while it has not answered."""
    thinking: int = 0
    answer: int = 0
    exposed: int = 0
    """Thinking tokens that the life table has already."""
    output_exposed: int = 0
    """Output tokens that the life table of outputs has already."""
    cut_at: int | None = None
    """Output tokens when load cut its thought: what followed is not what it would have said."""
    booked: float = 0.0
    """Remaining tokens booked as its replica's work."""

    @property
    def output(self) -> int:
        """Tokens generated so far."""
        return self.thinking + self.answer

    @property
    def tokens(self) -> int:
        """KV tokens that it takes at its replica."""
        return self.prompt + self.thinking + self.answer

    @property
    def phase(self) -> PhaseName:
        """By the tokens that are out."""
        if self.answer_begun is not None:
            return "answering"
        return "queued" if self.first_token is None else "thinking"

    def timing(self, now: float) -> Timing:
        """Its instants relative to its arrival."""
        return Timing(
            now=now - self.arrived,
            first_token=_since(self.first_token, self.arrived),
            answer_begun=_since(self.answer_begun, self.arrived),
            last_token=_since(self.last_token, self.arrived),
            thinking_tokens=self.thinking,
            answer_tokens=self.answer,
        )


def _since(instant: float | None, start: float) -> float | None:
    return None if instant is None else instant - start
