"""Tells thinking from answer, whatever the engine's spelling: a reasoning field, or tags in the
text.

Sans-I/O. `TagSplitter` works on text alone and gives the same segments for any chunking of it.
`PhaseSplitter` works on chunks: token ids, where the engine gives them, say exactly which tokens
are thinking; the text of a chunk is split by the field or the tag. Where the chat template opened
the tag, the output never shows it: the prompt's ids tell. Tags belong to neither phase (`control`).
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from thinkscale.engines.dialect import REASONING_FIELDS, THINK_CLOSE, THINK_OPEN, Chunk, Tags


class Phase(Enum):
    """Where a generation is."""

    START = "start"
    """Nothing but white space yet."""
    THINKING = "thinking"
    ANSWERING = "answering"


class TagSplitter:
    """Splits text at the tags, holding back only what may be the beginning of one."""

    __slots__ = ("_held", "phase")

    def __init__(self, phase: Phase = Phase.START, held: str = "") -> None:
        """`held`: what an earlier splitter of the same text held back."""
        self.phase = phase
        self._held = held

    def feed(self, text: str) -> tuple[str, str]:
        """(thinking, answer) that are certain now."""
        text = self._held + text
        self._held = ""
        thinking = ""
        if self.phase is Phase.START:
            stripped = text.lstrip()
            if len(stripped) < len(THINK_OPEN) and THINK_OPEN.startswith(stripped):
                self._held = text
                return "", ""
            if not stripped.startswith(THINK_OPEN):
                self.phase = Phase.ANSWERING
                return "", text
            self.phase = Phase.THINKING
            text = stripped[len(THINK_OPEN) :]
        if self.phase is Phase.THINKING:
            head, tag, tail = text.partition(THINK_CLOSE)
            if not tag:
                keep = _partial(text, THINK_CLOSE)
                self._held = text[len(text) - keep :]
                return text[: len(text) - keep], ""
            self.phase = Phase.ANSWERING
            thinking, text = head, tail
        return thinking, text

    @property
    def held(self) -> str:
        """What may be the beginning of a tag."""
        return self._held

    def finish(self) -> tuple[str, str]:
        """What was held back and turned out to be plain text."""
        held, self._held = self._held, ""
        return (held, "") if self.phase is Phase.THINKING else ("", held)


def _partial(text: str, tag: str) -> int:
    """Length of the longest end of `text` that begins `tag` (and is not all of it)."""
    for size in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:size]):
            return size
    return 0


@dataclass(slots=True, kw_only=True)
class Parts:
    """What one chunk adds, in text and (where ids are known) in tokens; `counted` is False where
    there were no ids.
    """

    thinking_text: str = ""
    answer_text: str = ""
    thinking: int = 0
    control: int = 0
    answer: int = 0
    counted: bool = False
    end_tokens: int = 0
    """Of `control`: an end-of-sequence token at the end of the chunk."""
    closed: bool = False
    """The thought ended in this chunk."""
    stray_at: int = -1
    """Which of the chunk's tokens is a closing tag in the middle of the answer; -1: none is."""


_CHARACTERS_PER_TOKEN: Final = 4


class PhaseSplitter:
    """Follows one choice of one stream."""

    __slots__ = ("_by_field", "_tags", "_text", "phase", "spelling")

    def __init__(self, tags: Tags, phase: Phase = Phase.START, held: str = "") -> None:
        self._tags = tags
        self._text = TagSplitter(phase, held)
        self._by_field = False
        self.phase = phase
        self.spelling = ""
        """The reasoning field in use; empty: thinking is in the text."""

    @property
    def held(self) -> str:
        """Text that may be the beginning of a tag, and is not in any part yet."""
        return self._text.held

    def feed(self, chunk: Chunk) -> Parts:
        """The parts of this chunk; moves `phase`."""
        if chunk.prompt_token_ids and self.phase is Phase.START:
            self._begin(chunk)
        before = self.phase
        parts = self._split_text(chunk)
        if chunk.token_ids is not None:
            self._split_ids(chunk, before, parts)
        if before is not Phase.ANSWERING and self.phase is Phase.ANSWERING:
            thought = before is Phase.THINKING or parts.thinking > 0 or bool(parts.thinking_text)
            parts.closed = parts.closed or thought
        return parts

    def _begin(self, chunk: Chunk) -> None:
        if chunk.prompt_token_ids and self._tags.opens(chunk.prompt_token_ids):
            self.phase = Phase.THINKING
            self._text = TagSplitter(Phase.THINKING)

    def _split_text(self, chunk: Chunk) -> Parts:
        if chunk.thinking:
            self._by_field, self.spelling = True, chunk.thinking_field
            self.phase = Phase.ANSWERING if chunk.text else Phase.THINKING
            return Parts(thinking_text=chunk.thinking, answer_text=chunk.text)
        if self._by_field or self.phase is Phase.ANSWERING:
            if chunk.text or chunk.tool:
                self.phase = Phase.ANSWERING
            return Parts(answer_text=chunk.text)
        if self._tag_was_taken_out(chunk):
            self.spelling = self.spelling or REASONING_FIELDS[0]
            self._by_field = True
            self.phase = Phase.ANSWERING
            return Parts(answer_text=chunk.text)
        if chunk.tool:
            self.phase = Phase.ANSWERING
            return Parts(answer_text=chunk.text)
        thinking, answer = self._text.feed(chunk.text) if chunk.text else ("", "")
        if chunk.finish_reason is not None:
            late_thinking, late_answer = self._text.finish()
            thinking, answer = thinking + late_thinking, answer + late_answer
        self.phase = self._text.phase
        return Parts(thinking_text=thinking, answer_text=answer)

    def _tag_was_taken_out(self, chunk: Chunk) -> bool:
        """The closing tag is among the ids and not in the text: the engine's parser is at work, and
        this thought had no text.
        """
        return self._tags.close_id in (chunk.token_ids or ()) and (
            THINK_CLOSE not in self._text.held + chunk.text
        )

    def _split_ids(self, chunk: Chunk, before: Phase, parts: Parts) -> None:
        ids = list(chunk.token_ids or ())
        parts.counted = True
        if chunk.finish_reason == "stop" and chunk.stop_reason is None and ids:
            ids.pop()  # the end-of-sequence token: generated, and seen by nobody
            parts.control = parts.end_tokens = 1
        if before is Phase.ANSWERING:
            parts.answer = len(ids)
            if self._tags.close_id in ids:
                parts.stray_at = ids.index(self._tags.close_id)
            return
        if before is Phase.START and self._tags.open_id in ids:
            after = ids.index(self._tags.open_id) + 1
            parts.control += after
            ids = ids[after:]
            before = Phase.THINKING
            if self.phase is Phase.START:
                self.phase = Phase.THINKING
        if self._tags.close_id in ids:
            at = ids.index(self._tags.close_id)
            parts.thinking, parts.answer = at, len(ids) - at - 1
            parts.closed = True
            parts.control += 1
            self.phase = Phase.ANSWERING
            return
        if self.phase is Phase.START:
            parts.control += len(ids)
        elif self.phase is Phase.THINKING:
            parts.thinking = len(ids)
        elif parts.thinking_text:  # both, and the border is not one token: by share of the text
            total = len(parts.thinking_text) + len(parts.answer_text)
            parts.thinking = round(len(ids) * len(parts.thinking_text) / total)
            parts.answer = len(ids) - parts.thinking
        else:
            parts.answer = len(ids)


def estimate_tokens(text: str) -> int:
    """Tokens of a piece of text whose ids are not known: at least one per chunk that has text."""
    return max(1, round(len(text) / _CHARACTERS_PER_TOKEN)) if text else 0
