"""Builds the client's chunks where the gateway speaks itself: one id, one model, one spelling.

A client must not notice that a thought was cut and went on as another upstream request. So every
chunk made here carries the identity of the first one, and thinking is written in the spelling that
the engine has used so far. Sans-I/O.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from thinkscale.engines.dialect import Route
from thinkscale.gateway.sse import encode


class ChunkShape:
    """The shape of one client's stream."""

    __slots__ = ("_route", "created", "identity", "model", "spelling")

    def __init__(self, route: Route, model: str) -> None:
        self._route = route
        self.model = model
        self.identity = ""
        self.created = 0
        self.spelling = ""
        """The reasoning field; empty: thinking is inside the text."""

    def adopt(self, identity: str, created: int) -> None:
        """Take over the identity of the first upstream chunk."""
        if not self.identity and identity:
            self.identity, self.created = identity, created

    def text(
        self,
        *,
        thinking: str = "",
        answer: str = "",
        finish_reason: str | None = None,
        stop_reason: int | str | None = None,
        ids: Sequence[int] | None = None,
        usage: Mapping[str, Any] | None = None,
    ) -> bytes:
        """One chunk with some text."""
        choice: dict[str, Any] = {"index": 0}
        if self._route is Route.CHAT:
            choice["delta"] = self._delta(thinking, answer)
        else:
            choice["text"] = thinking + answer
        choice["logprobs"] = None
        choice["finish_reason"] = finish_reason
        if finish_reason is not None:
            choice["stop_reason"] = stop_reason
        if ids is not None:
            choice["token_ids"] = list(ids)
        return self._encode([choice], usage)

    def usage(self, usage: Mapping[str, Any]) -> bytes:
        """The last chunk, which carries the usage alone."""
        return self._encode([], usage)

    def _delta(self, thinking: str, answer: str) -> dict[str, str]:
        if not self.spelling:
            return {"content": thinking + answer}
        delta = {}
        if thinking:
            delta[self.spelling] = thinking
        if answer or not thinking:
            delta["content"] = answer
        return delta

    def _encode(self, choices: list[dict[str, Any]], usage: Mapping[str, Any] | None) -> bytes:
        chat = self._route is Route.CHAT
        chunk: dict[str, Any] = {
            "id": self.identity,
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }
        if usage is not None:
            chunk["usage"] = usage
        return encode(orjson.dumps(chunk))


def error_body(message: str, kind: str, code: int, param: str | None = None) -> bytes:
    """An error in OpenAI's shape, as vLLM writes it."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def error_event(body: bytes, status: int) -> bytes:
    """A refusal as the last event of a stream, whose HTTP status was told already. `body`: the
    engine's, in OpenAI's shape or in none.
    """
    try:
        error = orjson.loads(body)["error"]
        told = error | {"code": error.get("code") or status}
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return encode(error_body(body.decode(errors="replace"), "", status))
    return encode(orjson.dumps({"error": told}))
