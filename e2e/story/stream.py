"""One OpenAI event stream, read as cheaply as can be: when thinking began, when the answer began.

Sans-I/O: bytes in, a tally out. Any chunking of the same bytes gives the same counts. It believes
the usage at the end where there is one, and its own count of deltas where there is none (a delta
carries one token as a rule). Only the name of the delta's field tells thinking from answer, so the
gateway in front must have split `<think>` from the content.
"""

from typing import Any

import orjson

_EVENT = b"data: "
_DONE = b"[DONE]"


class StreamTally:
    """Counts and instants of one stream; `feed` it with what arrives."""

    __slots__ = (
        "_rest",
        "answer_deltas",
        "done",
        "error",
        "finish_reason",
        "first_answer",
        "first_token",
        "thinking_deltas",
        "usage",
    )

    def __init__(self) -> None:
        self._rest = b""
        self.first_token: float | None = None
        self.first_answer: float | None = None
        self.thinking_deltas = 0
        self.answer_deltas = 0
        self.usage: dict[str, Any] | None = None
        self.finish_reason = ""
        self.done = False
        self.error = ""

    def feed(self, chunk: bytes, now: float) -> None:
        """Take bytes that arrived at `now` (any clock, seconds)."""
        events = (self._rest + chunk if self._rest else chunk).split(b"\n\n")
        self._rest = events.pop()
        for event in events:
            if not event.startswith(_EVENT):
                continue
            data = event[len(_EVENT) :]
            if data == _DONE:
                self.done = True
            else:
                self._take(orjson.loads(data), now)

    def _take(self, event: dict[str, Any], now: float) -> None:
        if error := event.get("error"):
            self.error = str(error.get("message", error) if isinstance(error, dict) else error)
        if usage := event.get("usage"):
            self.usage = usage
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            if delta.get("content"):
                self.answer_deltas += 1
                if self.first_answer is None:
                    self.first_answer = now
                    self._begin(now)
            elif delta.get("reasoning") or delta.get("reasoning_content"):
                self.thinking_deltas += 1
                self._begin(now)
            if reason := choice.get("finish_reason"):
                self.finish_reason = reason

    def _begin(self, now: float) -> None:
        if self.first_token is None:
            self.first_token = now

    @property
    def thinking_tokens(self) -> int:
        """Thinking tokens: what the usage says, unless more deltas than that were seen.

        NB: vLLM's parser `deepseek_r1` always reports 0 when the template opened the tag.
        """
        details = (self.usage or {}).get("completion_tokens_details") or {}
        return max(self.thinking_deltas, int(details.get("reasoning_tokens") or 0))

    @property
    def answer_tokens(self) -> int:
        """Answer tokens: all completion tokens that were not thinking."""
        if self.usage and "completion_tokens" in self.usage:
            return max(0, int(self.usage["completion_tokens"]) - self.thinking_tokens)
        return self.answer_deltas

    @property
    def complete(self) -> bool:
        """The stream ended as it should: a reason and the closing mark, and no error inside."""
        return self.done and bool(self.finish_reason) and not self.error
