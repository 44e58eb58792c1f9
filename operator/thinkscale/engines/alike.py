"""What the request dialects do alike, whatever else they spell differently.

Every first request is the plain one, streamed; a continuation keeps of the client's body what does
not belong to its route; a refusal in any shape becomes OpenAI's; and a field of an answer counts
only where it has the type that it should have.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any

import orjson

from thinkscale.engines.text_reader import openai_error


class Streaming(ABC):
    """`Dialect.first_body`, from `plain_body` and what the engine must be told to stream."""

    def first_body(
        self,
        body: Mapping[str, Any],
        *,
        model: str,
        native_budget: int | None,
        most_tokens: int | None,
    ) -> dict[str, Any]:
        """The plain body, streamed."""
        out = self.plain_body(
            body, model=model, native_budget=native_budget, most_tokens=most_tokens
        )
        out["stream"] = True
        self._ask_for_counts(out)
        return out

    @abstractmethod
    def plain_body(
        self,
        body: Mapping[str, Any],
        *,
        model: str,
        native_budget: int | None,
        most_tokens: int | None,
    ) -> dict[str, Any]:
        """See `Dialect`."""

    @abstractmethod
    def _ask_for_counts(self, out: dict[str, Any]) -> None:
        """What makes the stream of this body tell its tokens."""


def without(body: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The body but for these fields."""
    return {name: value for name, value in body.items() if name not in names}


def refusal_told(status: int, body: bytes, read: Callable[[Any], dict[str, Any]]) -> bytes:
    """A refusal in OpenAI's shape. `read`: an error from the engine's own; what is of another shape
    (a proxy's page, a framework's JSON) is told as it is.
    """
    try:
        error = read(orjson.loads(body))
    except (orjson.JSONDecodeError, AttributeError, TypeError, KeyError):
        error = openai_error(body.decode(errors="replace"), "", status)
    return orjson.dumps({"error": error | {"code": status}})


def text_of(answer: Any, name: str) -> str | None:
    """This field of an answer, if it is text."""
    value = answer.get(name) if isinstance(answer, dict) else None
    return value if isinstance(value, str) else None


def number_of(answer: Any, name: str) -> int | None:
    """This field of an answer, if it is a whole number."""
    value = answer.get(name) if isinstance(answer, dict) else None
    return value if isinstance(value, int) else None
