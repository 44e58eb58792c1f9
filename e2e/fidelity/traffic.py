"""Who asks when, and what: arrivals through calm and saturating phases, prompts of random words.

Pure, and all of it from a seed. Arrivals are Poisson with the phase's rate; the prompt's length is
drawn, the output's is the model's own doing (a first run) or forced to what it was then (a
repetition).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

WORDS = ("value", "class", "object", "string", "method", "name", "list", "module", "call", "type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Arrivals at one rate."""

    name: str
    seconds: float
    per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request to be sent."""

    at_seconds: float
    phase: str
    prompt: str
    max_tokens: int
    forced: bool = False
    """Go on to `max_tokens` whatever the model says; else that is only a bound."""
    plan: tuple[int, int] | None = None
    """Words to think and to answer, for the emulator."""


def visits(
    phases: Sequence[Phase], prompt_words: tuple[int, int], max_tokens: int, seed: int
) -> list[Visit]:
    """Arrivals through the phases, in order; prompts of so many words, all lengths alike likely."""
    draw = random.Random(seed)
    made = []
    begins = 0.0
    for phase in phases:
        at = begins + draw.expovariate(phase.per_second)
        while at < begins + phase.seconds:
            made.append(
                Visit(
                    at_seconds=at,
                    phase=phase.name,
                    prompt=prompt(draw, draw.randint(*prompt_words)),
                    max_tokens=max_tokens,
                )
            )
            at += draw.expovariate(phase.per_second)
        begins += phase.seconds
    return made


def prompt(draw: random.Random, words: int) -> str:
    """Random words."""
    return " ".join(draw.choice(WORDS) for _ in range(words))
