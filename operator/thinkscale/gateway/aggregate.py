"""Puts a stream together into the one answer that a client without streaming gets.

The gateway always streams upstream; a client that did not ask for a stream gets what a streaming
client would have put together from the same bytes. Several choices, tool calls and log
probabilities are merged by their indexes. Sans-I/O.
"""

from typing import Any

import orjson

from thinkscale.engines.dialect import REASONING_FIELDS, Route
from thinkscale.gateway.sse import DONE, SseParser


class Aggregator:
    """Feed the client's stream, take the whole answer."""

    def __init__(self, route: Route) -> None:
        self.error: dict[str, Any] | None = None
        self._route = route
        self._parser = SseParser()
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._usage: Any = None

    def feed(self, data: bytes) -> None:
        """Take in bytes of the client's stream."""
        for event in self._parser.feed(data):
            if event.data is not None and event.data != DONE:
                self._feed_payload(orjson.loads(event.data))

    def _feed_payload(self, payload: dict[str, Any]) -> None:
        if payload.get("error") is not None:
            self.error = payload["error"]
            return
        for name, value in payload.items():
            if name not in ("choices", "usage", "object") and self._head.get(name) is None:
                self._head[name] = value
        self._usage = payload.get("usage") or self._usage
        for piece in payload.get("choices") or ():
            self._feed_choice(piece)

    def _feed_choice(self, piece: dict[str, Any]) -> None:
        choice = self._choices.setdefault(piece.get("index", 0), {"index": piece.get("index", 0)})
        if self._route is Route.CHAT:
            _merge_delta(choice.setdefault("message", {"role": "assistant"}), piece.get("delta"))
        else:
            choice["text"] = choice.get("text", "") + (piece.get("text") or "")
        if piece.get("token_ids") is not None:
            choice.setdefault("token_ids", []).extend(piece["token_ids"])
        choice["logprobs"] = _merge_logprobs(choice.get("logprobs"), piece.get("logprobs"))
        for name in ("finish_reason", "stop_reason"):
            if name in piece:
                choice[name] = piece[name] if piece[name] is not None else choice.get(name)

    def response(self) -> dict[str, Any]:
        """The whole answer."""
        chat = self._route is Route.CHAT
        for choice in self._choices.values():
            if chat:
                _complete_message(choice["message"])
        return {
            **self._head,
            "object": "chat.completion" if chat else "text_completion",
            "choices": [self._choices[index] for index in sorted(self._choices)],
            "usage": self._usage,
        }


def _complete_message(message: dict[str, Any]) -> None:
    content = message.get("content")
    thought = any(message.get(name) for name in REASONING_FIELDS)
    message["content"] = content if content or not (thought or message.get("tool_calls")) else None


def _merge_delta(message: dict[str, Any], delta: dict[str, Any] | None) -> None:
    for name, value in (delta or {}).items():
        if name == "tool_calls":
            _merge_tool_calls(message.setdefault("tool_calls", []), value or ())
        elif name == "role":
            message["role"] = value or "assistant"
        elif isinstance(value, str):
            message[name] = (message.get(name) or "") + value
        elif value is not None:
            message[name] = value


def _merge_tool_calls(calls: list[dict[str, Any]], pieces: Any) -> None:
    for piece in pieces:
        index = piece.get("index", 0)
        while len(calls) <= index:
            calls.append({})
        call = calls[index]
        for name in ("id", "type"):
            if piece.get(name):
                call[name] = piece[name]
        function = piece.get("function") or {}
        target = call.setdefault("function", {"name": "", "arguments": ""})
        target["name"] += function.get("name") or ""
        target["arguments"] += function.get("arguments") or ""


def _merge_logprobs(known: Any, piece: Any) -> Any:
    if not isinstance(piece, dict):
        return known
    if not isinstance(known, dict):
        return {name: list(v) if isinstance(v, list) else v for name, v in piece.items()}
    for name, value in piece.items():
        if isinstance(value, list):
            known.setdefault(name, []).extend(value)
    return known
