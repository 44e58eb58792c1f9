"""Function calls, as vLLM's tool parsers stream them: the answer's words become the arguments.

Sans-I/O. The model calls when it must (`tool_choice` is `required` or names a function), or when
the request's plan says so. A call announces its id and name first, with the first words of the
arguments behind it; the arguments are one JSON object, whose first declared property holds the
words, and are valid JSON only when the generation came to its own end. White space before a call
is nobody's content.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

_PLAIN: Final = "text"
"""The argument of a function that declares none."""


class Caller:
    """Writes the calls of one choice: `calls` of them, of equal length."""

    def __init__(self, functions: Sequence[tuple[str, str]], calls: int, words: int) -> None:
        """`functions`: names, each with the argument that gets the words; called in turn."""
        self._functions = functions
        self._calls = calls
        self._share = max(1, words // calls)
        self._written = 0
        self._open = -1

    @property
    def began(self) -> bool:
        """A call is out."""
        return self._open >= 0

    def feed(self, texts: Sequence[str], *, last: bool) -> list[dict[str, Any]]:
        """The pieces of `delta.tool_calls` for these words; `last`: the model ended by itself."""
        pieces: list[dict[str, Any]] = []
        for text in texts:
            if not text.strip():
                continue
            due = min(self._written // self._share, self._calls - 1)
            if due > self._open:
                pieces += self._turn_to(due)
            self._written += 1
            pieces.append(self._arguments(orjson.dumps(text).decode()[1:-1]))
        if last and self.began:
            pieces.append(self._arguments('"}'))
        return pieces

    def _turn_to(self, number: int) -> list[dict[str, Any]]:
        closing = [self._arguments('"}')] if self.began else []
        self._open = number
        name, argument = self._functions[number % len(self._functions)]
        announced = {
            "index": number,
            "id": f"chatcmpl-tool-{secrets.token_hex(8)}",
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }
        return [*closing, announced, self._arguments(f'{{"{argument}": "')]

    def _arguments(self, text: str) -> dict[str, Any]:
        return {"index": self._open, "function": {"arguments": text}}


def caller_of(body: Mapping[str, object], planned: int, words: int) -> Caller | None:
    """Who calls for this request; None: it is answered in words."""
    choice = body.get("tool_choice")
    functions = _functions(body.get("tools"))
    if choice == "none" or not functions:
        return None
    if isinstance(choice, dict):
        wanted = (choice.get("function") or {}).get("name")
        functions = [each for each in functions if each[0] == wanted] or functions[:1]
    calls = planned or (1 if isinstance(choice, dict) or choice == "required" else 0)
    return Caller(functions, calls, words) if calls else None


def merged(pieces: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The calls of a reply that is not streamed."""
    calls: dict[int, dict[str, Any]] = {}
    for piece in pieces:
        call = calls.setdefault(piece["index"], {**piece, "function": {**piece["function"]}})
        if "id" not in piece:
            call["function"]["arguments"] += piece["function"]["arguments"]
    return [{name: call[name] for name in ("id", "type", "function")} for call in calls.values()]


def _functions(tools: object) -> list[tuple[str, str]]:
    found = []
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            declared = (function.get("parameters") or {}).get("properties") or {}
            found.append((function["name"], next(iter(declared), _PLAIN)))
    return found
