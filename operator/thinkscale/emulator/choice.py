"""One choice of one request: takes tokens, finds its end, splits thinking from answer, counts.

Sans-I/O: `take` returns a `Piece` when there is something to send, and the caller shapes it. The
splitting is what a reasoning parser does: by token ids, never by looking for tags in text.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from thinkscale.emulator.prompt import PromptState, Thought
from thinkscale.emulator.script import Script
from thinkscale.emulator.tools import Caller
from thinkscale.emulator.vocabulary import END_THINK, EOS, TEXTS, THINK


class Parser(Enum):
    """The reasoning parser; the values are those of `--reasoning-parser`."""

    DEEPSEEK_R1 = "deepseek_r1"
    QWEN3 = "qwen3"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one chunk carries. None: that field is not in the delta."""

    reasoning: str | None
    content: str | None
    token_ids: list[int]
    finish_reason: str | None = None
    """stop | length | abort on the last piece."""
    stop_reason: int | str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    called: bool = False
    """The choice has called a function, here or before."""

    @property
    def told_reason(self) -> str | None:
        """The finish reason as the client gets it: for the engine, a call is a stop like others."""
        return "tool_calls" if self.called and self.finish_reason == "stop" else self.finish_reason

    @property
    def is_silent(self) -> bool:
        """Only a tag: nothing for a client that counts no token ids."""
        said = self.reasoning is not None or self.content is not None or bool(self.tool_calls)
        return not said and self.finish_reason is None


class StopStrings:
    """Looks for stop strings in a growing text, and holds back what could be the start of one."""

    def __init__(self, stops: tuple[str, ...], *, include: bool) -> None:
        self._stops = stops
        self._include = include
        self._keep = 0 if include else max((len(s) for s in stops), default=1) - 1
        self._text = ""
        self.found: str | None = None

    def feed(self, text: str) -> str:
        """What may be sent now. Sets `found` when a stop string is complete."""
        self._text += text
        hits = [(at, s) for s in self._stops if (at := self._text.find(s)) >= 0]
        if hits:
            at, self.found = min(hits)
            ready = self._text[: at + (len(self.found) if self._include else 0)]
            self._text = ""
            return ready
        return self._release(self._keep)

    def flush(self) -> str:
        """The end came another way: what was held back."""
        return self._release(0)

    def _release(self, keep: int) -> str:
        cut = max(0, len(self._text) - keep)
        ready, self._text = self._text[:cut], self._text[cut:]
        return ready


class Choice:
    """The state of one choice."""

    def __init__(
        self,
        *,
        index: int,
        prompt: PromptState,
        script: Script,
        parser: Parser,
        stops: StopStrings | None,
        min_tokens: int,
        stop_token_ids: frozenset[int],
        coalesce: int = 1,
        caller: Caller | None = None,
    ) -> None:
        self.index = index
        self.generated = 0
        self.finish_reason: str | None = None
        self._script = script
        self._splits = parser is not Parser.NONE
        self._reasoning = self._splits and prompt.thought is not Thought.CLOSED
        self._opened = prompt.thought is Thought.UNOPENED or parser is Parser.QWEN3
        self._thought = 0
        self._stops = stops
        self._min_tokens = min_tokens
        self._stop_token_ids = stop_token_ids
        self._coalesce = coalesce
        self._caller = caller
        self._ids: list[int] = []
        self._parts: dict[str, list[str]] = {}

    @property
    def reasoning_tokens(self) -> int:
        """As vLLM's parser counts: deepseek_r1 sees only a thought whose tag is in the output."""
        return self._thought if self._opened else 0

    @property
    def thought(self) -> int:
        """Tokens of the thought."""
        return self._thought

    def take(self, *, last: bool) -> Piece | None:
        """The next token; `last`: `max_tokens` is reached with it. None: nothing to send yet."""
        token = self._script.next_token()
        self.generated += 1
        self._ids.append(token)
        stopped = self._read(token)
        if stopped is not None:
            return self._piece("stop", None if stopped == EOS else stopped)
        if last:
            return self._piece("length", None)
        return self._piece(None, None) if len(self._ids) >= self._coalesce else None

    def abort(self) -> Piece:
        """End it now, with what is held back."""
        return self._piece("abort", None)

    def _read(self, token: int) -> int | str | None:
        """Take the token's text apart; what stopped the generation, if anything did."""
        if token == EOS:
            self._add("content", "")
            return EOS
        if token in self._stop_token_ids:
            return token
        if self._reasoning and token in (THINK, END_THINK):
            self._reasoning = token == THINK
            return None
        if self._reasoning:
            self._thought += 1
            self._add("reasoning", TEXTS[token])
            return None
        return self._read_content(TEXTS[token])

    def _read_content(self, text: str) -> str | None:
        if self._stops is None or self.generated <= self._min_tokens:
            self._add("content", text)
            return None
        self._add("content", self._stops.feed(text))
        return self._stops.found

    def _add(self, field: str, text: str) -> None:
        self._parts.setdefault(field, []).append(text)

    def _piece(self, finish_reason: str | None, stop_reason: int | str | None) -> Piece:
        if finish_reason is not None:
            self.finish_reason = finish_reason
            if self._stops is not None and self._stops.found is None:
                held = self._stops.flush()
                if held:
                    self._add("content", held)
        parts, ids = self._parts, self._ids
        self._parts, self._ids = {}, []
        calls = None
        if self._caller is not None and not self._reasoning:
            words = parts.pop("content", [])
            calls = self._caller.feed(words, last=finish_reason == "stop")
        return Piece(
            reasoning="".join(parts["reasoning"]) if "reasoning" in parts else None,
            content="".join(parts["content"]) if "content" in parts else None,
            token_ids=ids,
            finish_reason=finish_reason,
            stop_reason=stop_reason,
            tool_calls=calls or None,
            called=self._caller is not None and self._caller.began,
        )
