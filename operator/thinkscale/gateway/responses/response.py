"""The response object and its output items, as they grow.

Sans-I/O. An item is shown several times: empty when it is added, whole when it is done, and once
more in the response. A thought is shown in the open (`reasoning_text`) with an empty summary, as
model servers of open models do: nobody here writes summaries, and there is nothing to hide. Texts
grow as UTF-8, since a list of a long thought's tokens would take ten times the room.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class Status(StrEnum):
    """Of a response and of its items."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


class Item(Protocol):
    """One item of the output; `index` is its place."""

    identity: str
    index: int
    status: Status

    def show(self) -> dict[str, Any]:
        """As it is now."""
        ...


@dataclass(slots=True, kw_only=True)
class Thought:
    """A reasoning item."""

    identity: str
    index: int
    status: Status = Status.IN_PROGRESS
    said: bytearray = field(default_factory=bytearray)
    kind: str = "reasoning_text"

    @property
    def part(self) -> dict[str, Any]:
        """Its one part of content."""
        return {"type": self.kind, "text": self.said.decode()}

    def show(self) -> dict[str, Any]:
        """As it is now."""
        return {
            "id": self.identity,
            "type": "reasoning",
            "summary": [],
            "content": [self.part] if self.said else [],
            "encrypted_content": None,
            "status": self.status.value,
        }


@dataclass(slots=True, kw_only=True)
class Answer:
    """A message item."""

    identity: str
    index: int
    status: Status = Status.IN_PROGRESS
    said: bytearray = field(default_factory=bytearray)
    kind: str = "output_text"

    @property
    def part(self) -> dict[str, Any]:
        """Its one part of content."""
        text = self.said.decode()
        return {"type": self.kind, "text": text, "annotations": [], "logprobs": []}

    def show(self) -> dict[str, Any]:
        """As it is now."""
        return {
            "id": self.identity,
            "type": "message",
            "role": "assistant",
            "content": [self.part] if self.said else [],
            "status": self.status.value,
        }


@dataclass(slots=True, kw_only=True)
class Call:
    """A function call item."""

    identity: str
    index: int
    status: Status = Status.IN_PROGRESS
    call_id: str = ""
    name: str = ""
    said: bytearray = field(default_factory=bytearray)

    @property
    def arguments(self) -> str:
        """JSON, as far as it has come."""
        return self.said.decode()

    def show(self) -> dict[str, Any]:
        """As it is now."""
        return {
            "id": self.identity,
            "type": "function_call",
            "call_id": self.call_id,
            "name": self.name,
            "arguments": self.arguments,
            "status": self.status.value,
        }


def response_object(
    identity: str,
    created_at: int,
    echo: Mapping[str, Any],
    *,
    status: Status,
    output: Sequence[Item] = (),
    usage: Mapping[str, Any] | None = None,
    incomplete: str | None = None,
    error: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole response; `incomplete` is the reason, `usage` the chat route's."""
    return {
        "id": identity,
        "object": "response",
        "created_at": created_at,
        "status": status.value,
        "error": None if error is None else dict(error),
        "incomplete_details": None if incomplete is None else {"reason": incomplete},
        "output": [item.show() for item in output],
        "usage": None if usage is None else response_usage(usage),
        **echo,
    }


def response_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """The chat route's usage in the words of the Responses API."""
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    details = usage.get("completion_tokens_details") or {}
    thinking = details.get("reasoning_tokens") or usage.get("reasoning_tokens") or 0
    return {
        "input_tokens": prompt,
        # Nobody bills a write to an engine's own prefix cache; typed clients want the number.
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": thinking},
        "total_tokens": usage.get("total_tokens") or prompt + completion,
    }


def response_error(error: Mapping[str, Any]) -> dict[str, Any]:
    """An error inside the stream; its codes are a closed list."""
    code = error.get("code")
    name = "server_error"
    if code == 429:
        name = "rate_limit_exceeded"
    elif isinstance(code, int) and 400 <= code < 500:
        name = "invalid_prompt"
    return {"code": name, "message": str(error.get("message") or "the model server failed")}
