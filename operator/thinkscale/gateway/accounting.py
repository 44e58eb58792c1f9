"""Counts the tokens of one request honestly: by ids where the engine gives them, by its usage where
it tells that, and by an estimate only until the usage at the end corrects it.

Sans-I/O. A chunk is not a token (engines coalesce), so chunks are never counted. `completion` is
what the client received, thinking, tags and answer; tokens that the gateway put in itself (the
closing tag of a thought that was cut) are part of it, tokens that were withheld are not.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from thinkscale.gateway.splitter import Parts, estimate_tokens


class Basis(StrEnum):
    """How well the counts are known."""

    IDS = "ids"
    USAGE = "usage"
    ESTIMATE = "estimate"


class TokenAccount:
    """The running counts of one request, over all its stages."""

    __slots__ = ("answer", "basis", "control", "is_exact", "prompt", "thinking")

    def __init__(self) -> None:
        self.prompt = 0
        self.thinking = 0
        self.control = 0
        self.answer = 0
        self.basis = Basis.IDS
        self.is_exact = True
        """Thinking was counted by ids, or told by the engine."""

    @property
    def completion(self) -> int:
        """All tokens after the prompt."""
        return self.thinking + self.control + self.answer

    def add(self, parts: Parts) -> None:
        """Count one chunk's parts."""
        if parts.counted:
            self.thinking += parts.thinking
            self.control += parts.control
            self.answer += parts.answer
            return
        thinking, answer = measure(parts)
        if thinking or answer:
            self.basis = Basis.ESTIMATE
            self.is_exact = False
            self.thinking += thinking
            self.answer += answer

    def reconcile(self, usage: Mapping[str, Any]) -> None:
        """Correct an estimate by the engine's usage; counts by ids stay, they are exact."""
        self.prompt = int(usage.get("prompt_tokens") or self.prompt)
        completion = usage.get("completion_tokens")
        if self.basis is not Basis.ESTIMATE or not isinstance(completion, int):
            return
        details = usage.get("completion_tokens_details") or {}
        reasoning = details.get("reasoning_tokens") or usage.get("reasoning_tokens")
        self.is_exact = bool(reasoning)
        if not reasoning:
            seen = self.thinking + self.answer
            reasoning = round(completion * self.thinking / seen) if seen else 0
        self.thinking = min(int(reasoning), completion)
        self.answer = completion - self.thinking
        self.control = 0
        self.basis = Basis.USAGE

    def usage(self) -> dict[str, Any]:
        """The usage that the client is told."""
        return {
            "prompt_tokens": self.prompt,
            "total_tokens": self.prompt + self.completion,
            "completion_tokens": self.completion,
            "completion_tokens_details": {"reasoning_tokens": self.thinking},
        }


def measure(parts: Parts) -> tuple[int, int]:
    """(thinking, answer) tokens of one chunk: counted, or estimated from its text."""
    if parts.counted:
        return parts.thinking, parts.answer
    return estimate_tokens(parts.thinking_text), estimate_tokens(parts.answer_text)
