"""How a sweep asks: what must be the same for two answers to be comparable.

The settings are written at the head of a journal, and a sweep that goes on must have the same.
Limits, concurrency and addresses are not among them: they change what it costs, not what comes out.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from thinkscale.quality.dataset import Row

TEMPLATE_TOKENS: Final = 64
"""What a chat template adds to a question at most, by experience."""
UNKNOWN_CONTEXT: Final = 131_072
"""Output tokens that a request may cost where neither endpoint nor user say."""


class Method(StrEnum):
    """How levels are asked for."""

    REUSE = "reuse"
    """One full trace, cut and continued."""
    INDEPENDENT = "independent"
    """One request for each level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One sweep."""

    model: str
    method: Method
    temperature: float | None
    """None: the endpoint's own."""
    answer_tokens: int
    """An answer's at most."""
    request_tokens: int | None
    """Of thought and answer together at most, where a level sets no limit. None: what the
    endpoint's context holds.
    """
    budget_field: str
    """Where an independent run writes its maximum: `a`, or `a.b` for a field within an object."""

    @property
    def sampling(self) -> dict[str, Any]:
        """The fields that all requests share."""
        return {} if self.temperature is None else {"temperature": self.temperature}

    def written(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def settings_of(written: Mapping[str, Any]) -> Settings:
    """The inverse of `written`. KeyError, TypeError, ValueError: it is not such."""
    return Settings(**{**written, "method": Method(written["method"])})


def chat_bytes(row: Row) -> int:
    """A bound on a question's tokens: no token is shorter than a byte."""
    return len(json.dumps(row.messages, ensure_ascii=False).encode()) + TEMPLATE_TOKENS
