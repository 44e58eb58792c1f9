"""What one sample of one row came to at one level: the unit of all statistics."""

from dataclasses import dataclass

from thinkscale.quality.levels import Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer at a level, not graded yet."""

    sample: str
    """`calls.sample_key`."""
    level: Level
    text: str
    """The answer without the thought; empty: there was none."""
    prompt_tokens: int
    """Of the question alone."""
    thinking_tokens: int
    answer_tokens: int
    cut: bool
    """The level's maximum ended the thought."""
    counted: bool
    """The thinking tokens were counted; else they are estimated."""
    waits: int = 0
    """How often a minimum made it go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """An answer with its verdict."""

    answered: Answered
    right: bool
