"""What an engine says of itself at one scrape, in one shape for all of them.

Each engine's own module (`vllm_metrics`, `tgi_metrics`, `sglang_metrics`) reads its page into this;
what an engine does not tell is None and never a guess. A value that no engine can mean (NaN,
infinite, negative) is skipped.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MOST: Final = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """What the engine says of itself at one scrape."""

    running: int
    waiting: int
    kv_usage: float
    """0 to 1."""
    kv_capacity_tokens: int | None = None
    prefix_block_tokens: int | None = None
    """The prefix cache keeps whole blocks of so many tokens; None: there is none, as far as known.
    """
    steps: int | None = None
    """Engine steps since its start."""
    prompt_tokens: int | None = None
    """Prompt tokens computed since its start."""
    generated_tokens: int | None = None


def plausible(value: str) -> float | None:
    """A number that an engine can mean."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number <= MOST else None


def samples(text: str, line: re.Pattern[str]) -> dict[str, list[tuple[str, float]]]:
    """(labels, value) of the samples by name; `line` has a group for each of the three."""
    found: dict[str, list[tuple[str, float]]] = {}
    for name, labels, value in line.findall(text):
        number = plausible(value)
        if number is not None:
            found.setdefault(name, []).append((labels, number))
    return found


def total(found: Mapping[str, Sequence[tuple[str, float]]], name: str) -> int | None:
    """The sum of a family's samples; None: it is not there."""
    values = found.get(name)
    return None if values is None else round(sum(value for _, value in values))
