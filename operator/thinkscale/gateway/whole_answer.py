"""What a whole answer tells: for requests whose stream could not be judged. Pure."""

from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeAnswer:
    """Its tokens, as its usage tells them."""

    prompt: int
    """0: not told."""
    thinking: int
    answer: int
    choices: int

    @property
    def thinking_of_one(self) -> int:
        """At least one choice has thought for so long."""
        return -(-self.thinking // max(1, self.choices))


def read_answer(data: bytes) -> WholeAnswer | None:
    """None: it is garbled."""
    try:
        told: Any = orjson.loads(data)
        usage = told.get("usage") or {}
        details = usage.get("completion_tokens_details") or {}
        thinking = int(details.get("reasoning_tokens") or 0)
        return WholeAnswer(
            prompt=int(usage.get("prompt_tokens") or 0),
            thinking=thinking,
            answer=max(0, int(usage.get("completion_tokens") or 0) - thinking),
            choices=len(told.get("choices") or ()),
        )
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        return None
