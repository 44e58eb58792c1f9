"""What one replica holds of this gateway's requests, kept up to date event by event.

Admission asks for it at every placement, so nothing is summed up then: a placement, each report of
tokens and a departure move the sums by their own amount. A flight refers to its holding directly,
so that a token costs one addition. Instants are the caller's.
"""

from dataclasses import dataclass

from thinkscale.model.admission import Held, decayed


@dataclass(slots=True, eq=False)
class Holding:
    """The sums of one replica."""

    running: int = 0
    """Requests sent there and unfinished."""
    context_tokens: int = 0
    """Their prompts and what was generated so far."""
    stall_seconds: float = 0.0
    """Prefill seconds, as of `stalled_at`; they fade."""
    stalled_at: float = 0.0

    def held(self, now: float) -> Held:
        """As admission wants it."""
        return Held(
            running=self.running,
            context_tokens=self.context_tokens,
            stall_seconds=self._stalled(now),
        )

    def take(self, prompt_tokens: int, prefill_seconds: float, now: float) -> None:
        """A request was sent there."""
        self.running += 1
        self.context_tokens += prompt_tokens
        self.stall(prefill_seconds, now)

    def stall(self, prefill_seconds: float, now: float) -> None:
        """Prompt tokens are prefilled there for so long."""
        self.stall_seconds = self._stalled(now) + prefill_seconds
        self.stalled_at = now

    def _stalled(self, now: float) -> float:
        stall = self.stall_seconds
        return decayed(stall, now - self.stalled_at) if stall else 0.0

    def give_back(self, tokens: int) -> None:
        """A request left, with its prompt and what it had generated."""
        self.running -= 1
        self.context_tokens -= tokens
