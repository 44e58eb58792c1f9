"""The levels of thinking that are compared: maxima, efforts, minima.

A level is what one request may be asked for: a maximum of thinking tokens, a word of effort for
endpoints that know only those, no limit at all, or a minimum without a limit. Their order, from
little thinking to much, is fixed before anything is asked: the statistics walk along it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from thinkscale.errors import ThinkscaleError

UNLIMITED_WORD: Final = "none"
MOST_TOKENS: Final = 10_000_000


class LevelError(ThinkscaleError):
    """No such level, or too few of them."""


class Effort(StrEnum):
    """OpenAI's words, from little to much. The API's `none` is left out: here it means no limit."""

    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One way of asking."""

    max_tokens: int | None = None
    min_tokens: int = 0
    effort: Effort | None = None

    @property
    def name(self) -> str:
        """`64`, `none`, `low`, or `min 64`."""
        if self.effort is not None:
            return self.effort.value
        if self.min_tokens:
            return f"min {self.min_tokens}"
        return UNLIMITED_WORD if self.max_tokens is None else str(self.max_tokens)

    @property
    def rank(self) -> tuple[int, int]:
        """Its place in the order."""
        if self.min_tokens:
            return (3, self.min_tokens)
        if self.effort is not None:
            return (1, list(Effort).index(self.effort))
        return (2, 0) if self.max_tokens is None else (0, self.max_tokens)


UNLIMITED: Final = Level()


def parse_levels(budgets: Sequence[str], minimums: Sequence[str]) -> list[Level]:
    """Levels in their order, each once. LevelError."""
    levels = {_level(word) for word in budgets}
    least = {_whole(word, "minimum") for word in minimums}
    levels |= {Level(min_tokens=tokens) for tokens in least if tokens}
    if least:
        levels.add(UNLIMITED)  # what minima are compared with
    if len(levels) < 2:
        raise LevelError("one level alone compares nothing; give two or more, as --budgets 64,none")
    if any(level.effort for level in levels) and any(level.max_tokens for level in levels):
        raise LevelError("words of effort and numbers of tokens cannot be mixed in one sweep")
    return sorted(levels, key=lambda level: level.rank)


def _level(word: str) -> Level:
    if word == UNLIMITED_WORD:
        return UNLIMITED
    if word in set(Effort):
        return Level(effort=Effort(word))
    return Level(max_tokens=_whole(word, "budget"))


def _whole(word: str, what: str) -> int:
    if not word.isascii() or not word.isdigit() or int(word) > MOST_TOKENS:
        words = ", ".join(Effort)
        raise LevelError(
            f"{word!r} is no {what}; write a whole number of tokens"
            + (f", none, or one of {words}" if what == "budget" else "")
        )
    return int(word)
