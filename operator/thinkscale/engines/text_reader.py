"""Reads the stream of an engine that shows no token ids: each piece of text becomes a handle.

The budget machine, the accounting and the continuations reckon with token ids. Here an id is a
handle of the text that a token added, good for one request: the tags have fixed ones, a token
without text of its own has `SILENT`, and what was said so far is the text of the handles in their
order. How many tokens a chunk holds is the engine's affair (TGI: always one; SGLang: its running
usage tells), so the counts are exact although no id was seen. A continuation needs the prompt,
which is asked for only then (`prompt_questions`): most requests never need one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from thinkscale.engines.dialect import (
    CLOSING,
    THINK_CLOSE,
    THINK_OPEN,
    Chunk,
    Prompt,
    Question,
    Tags,
)

OPEN: Final = 0
CLOSE: Final = 1
SILENT: Final = 2
_CLOSING: Final = 3
_NUDGE: Final = 4
_FIXED: Final = (THINK_OPEN, THINK_CLOSE, "", CLOSING)
"""The nudge follows; it is not always the same."""


class TextReader:
    """What is common to those engines. A subclass reads chunks and asks for the prompt."""

    own_ids = False
    counts_by_usage = False
    overshoots = False

    def __init__(self, tags: Tags, *, opened: bool, resumable: bool) -> None:
        """`tags`: in the model's own ids; one that is no single token has no handle either. Not
        `resumable`: the engine does not tell what to go on behind.
        """
        if not resumable:
            tags = replace(tags, closing_ids=(), nudge_ids=())
        self.tags = replace(
            tags,
            open_id=None if tags.open_id is None else OPEN,
            close_id=None if tags.close_id is None else CLOSE,
            closing_ids=_spread(_CLOSING, len(tags.closing_ids)),
            nudge_ids=_spread(_NUDGE, len(tags.nudge_ids)),
        )
        self.opened = opened
        self._texts = [*_FIXED, tags.nudge]
        self._handles = {text: handle for handle, text in enumerate(_FIXED[: SILENT + 1])}
        self._begun = False

    def read(self, payload: Mapping[str, Any]) -> Chunk:
        """Read one parsed chunk; anything unexpected reads as an empty one."""
        raise NotImplementedError

    def prompt_questions(self, said: Sequence[int], model: str) -> tuple[Question, ...]:
        """What to ask to go on behind these handles."""
        raise NotImplementedError

    def prompt(self, said: Sequence[int], answers: Sequence[Any]) -> Prompt | None:
        """The prompt from the answers; None: the engine did not tell."""
        raise NotImplementedError

    def text(self, handles: Sequence[int]) -> str:
        """The text of these handles."""
        return "".join([self._texts[handle] for handle in handles])

    def handles(self, text: str, tokens: int) -> tuple[int, ...]:
        """As many handles as tokens, with this text; no token: none, and no text."""
        return _spread(self._handle(text), tokens)

    def _begin(self, chunk: Chunk) -> None:
        """The first chunk of the request stands for the prompt."""
        if not self._begun and chunk.choices:
            self._begun = True
            chunk.prompt_token_ids = (SILENT,)

    def _handle(self, text: str) -> int:
        handle = self._handles.get(text)
        if handle is None:
            handle = self._handles[text] = len(self._texts)
            self._texts.append(text)
        return handle


def _spread(handle: int, tokens: int) -> tuple[int, ...]:
    return (handle, *(SILENT,) * (tokens - 1)) if tokens else ()


def openai_error(message: str, kind: str, code: int) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    return {"message": message, "type": kind, "param": None, "code": code}
