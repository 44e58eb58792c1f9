"""From messages to a prompt, and what a prompt says about the thinking that it already contains.

The template is Qwen's, opened as R1's: the assistant's turn begins with `<think>` and a newline,
earlier thinking is stripped from the history. A raw prompt, as text or ids, is read the same way:
the last tag in it decides whether the model goes on thinking, answers, or has yet to open a
thought.
"""

import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from thinkscale.emulator.vocabulary import BLANK_LINE, END_THINK, NEWLINE, THINK


class Thought(Enum):
    """Where a prompt leaves the model."""

    UNOPENED = "unopened"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptState:
    """What a prompt already contains. Tokens."""

    thought: Thought
    after_tag: int
    """Tokens after the last tag, the template's newline included: what a native budget counts."""
    said: int
    """Words after it: thinking if open, answer if closed; the leading newlines are no words."""
    key: int
    """The same for a prompt and its continuations: a hash of all before the thought."""

    @property
    def is_continuation(self) -> bool:
        """It resumes a generation that began earlier (a template may close an empty thought)."""
        return self.said > 0 or self.thought is Thought.CLOSED


def read_prompt(ids: Sequence[int]) -> PromptState:
    """The state that a prompt leaves the model in."""
    opened, closed = _last(ids, THINK), _last(ids, END_THINK)
    head = ids if opened < 0 else ids[:opened]
    key = zlib.crc32(array("l", head).tobytes())
    if opened < 0 and closed < 0:
        return PromptState(thought=Thought.UNOPENED, after_tag=0, said=0, key=key)
    tag = max(opened, closed)
    after = len(ids) - tag - 1
    lead = 1 if after and ids[tag + 1] in (NEWLINE, BLANK_LINE) else 0
    thought = Thought.OPEN if opened > closed else Thought.CLOSED
    return PromptState(thought=thought, after_tag=after, said=after - lead, key=key)


def _last(ids: Sequence[int], wanted: int) -> int:
    for at in range(len(ids) - 1, -1, -1):
        if ids[at] == wanted:
            return at
    return -1


class TemplateError(ValueError):
    """The messages cannot be rendered; the text is for the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The chat template."""

    opens_think: bool
    """The prompt ends with `<think>` and a newline (R1); else the model opens the thought."""
    has_switch: bool = True
    """Thinking can be switched off."""

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        generate: bool = True,
        resume: bool = False,
        think: bool = True,
    ) -> str:
        """Text of the prompt. `generate` opens the assistant's turn, `resume` leaves the last
        message open instead, `think=False` closes an empty thought at once, if it has the switch.
        """
        turns = [f"<|im_start|>{m['role']}\n{_content(m)}<|im_end|>\n" for m in messages]
        if resume:
            return "".join(turns[:-1]) + self._resumed(messages[-1])
        text = "".join(turns)
        if generate:
            text += "<|im_start|>assistant\n"
            if self.has_switch and not think:
                text += "<think>\n\n</think>\n\n"
            elif self.opens_think:
                text += "<think>\n"
        return text

    def _resumed(self, message: Mapping[str, object]) -> str:
        content = _text(message.get("content"))
        if message["role"] == "assistant" and "</think>" in content:
            raise TemplateError(
                "continue_final_message is set but the final message does not appear in the chat "
                "after applying the chat template!"
            )
        return f"<|im_start|>{message['role']}\n{content}"


def _content(message: Mapping[str, object]) -> str:
    """The text of one message, as this template shows it: without an earlier thought."""
    text = _text(message.get("content"))
    if message["role"] == "assistant":
        return text.rsplit("</think>", 1)[-1].lstrip("\n")
    return text


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""
