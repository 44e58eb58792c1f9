"""Recognises by its bytes an event that differs from the one before in one token alone.

Nearly all events of a stream do: the same JSON but for a piece of text and its id. Such an event
means what its forerunner meant, which was read with all care, so it need not be parsed: it is
enough to see that the rest is the same, that the text needs no escapes and can hold no tag, that
the id is none of the tags', and that the budget has room. Whatever else comes is read like any
other event, and recognised from then on if it can be.
"""

from array import array
from typing import Final

from thinkscale.engines.dialect import Chunk, Tags
from thinkscale.gateway.accounting import TokenAccount
from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.splitter import Parts, Phase
from thinkscale.gateway.transcript import Transcript

_IDS: Final = b'"token_ids":['
_VAIN: Final = 8
"""So many in a row were learnt and never seen again: this stream's events are all different."""


class PlainEvents:
    """One stream's."""

    __slots__ = (
        "_account",
        "_bare",
        "_budget",
        "_head",
        "_learnt",
        "_middle",
        "_remembered",
        "_tag_ids",
        "_tail",
        "_text_may_hold_tags",
        "_wants_ids",
        "thinking",
    )

    def __init__(
        self,
        tags: Tags,
        budget: BudgetMachine,
        account: TokenAccount,
        transcript: Transcript,
        *,
        wants_ids: bool,
    ) -> None:
        self.thinking = False
        """The events that are recognised now are thinking."""
        self._tag_ids = (tags.open_id, tags.close_id)
        self._budget = budget
        self._account = account
        self._remembered: array[int] | None = transcript.generated if transcript.keeps else None
        self._wants_ids = wants_ids
        self._head = self._middle = self._tail = self._bare = b""
        self._text_may_hold_tags = False
        self._learnt = 0

    def learn(self, chunk: Chunk, parts: Parts, phase: Phase, raw: bytes, clean: bytes) -> None:
        """This event was read, and passed to the client as `clean`: others may be like it. Nothing
        of its text is held back.
        """
        self._head = b""
        ids = chunk.token_ids
        if self._learnt >= _VAIN or ids is None or len(ids) != 1 or parts.control or parts.closed:
            return
        if chunk.choices != 1 or chunk.tool or chunk.usage or chunk.finish_reason is not None:
            return
        field, text = chunk.thinking_field, chunk.thinking
        if not field:
            field, text = ("content" if b'"delta"' in raw else "text"), chunk.text
        elif chunk.text:
            return
        self.thinking = phase is Phase.THINKING
        self._text_may_hold_tags = self.thinking and not chunk.thinking_field
        self._take_apart(raw, clean, field, text, ids[0])

    def _take_apart(self, raw: bytes, clean: bytes, field: str, text: str, token: int) -> None:
        """Cut it into head, text, middle, id and tail, if that can be done beyond doubt."""
        marker = f'"{field}":"'.encode()
        start = raw.find(marker) + len(marker)
        ids = raw.find(_IDS, start)
        end = raw.find(b'"', start)
        if start < len(marker) or ids < end or not self._is_plain(raw[start:end]):
            return
        middle = raw[end : ids + len(_IDS)]
        digits, bracket, tail = raw[ids + len(_IDS) :].partition(b"]")
        if digits != str(token).encode() or not bracket or not tail.endswith(b"\n\n"):
            return
        if raw[start:end] != text.encode():
            return
        head, tail = raw[:start], bracket + tail
        bare = middle[: -len(_IDS)].rstrip(b",") + tail[1:]
        if clean != (raw if self._wants_ids else head + raw[start:end] + bare):
            return
        self._head, self._middle, self._tail, self._bare = head, middle, tail, bare
        self._learnt += 1

    def feed(self, data: bytes) -> bytes | None:
        """What the client gets for one whole event that is recognised, which is thereby counted;
        None: it must be read.
        """
        head, tail, middle = self._head, self._tail, self._middle
        if not head or not data.startswith(head) or not data.endswith(tail):
            return None
        start = len(head)
        end = data.find(middle, start)
        text = data[start:end]
        digits = data[end + len(middle) : -len(tail)]
        if end < 0 or not digits.isdigit() or not self._is_plain(text):
            return None
        token = int(digits)
        if token in self._tag_ids:
            return None
        if self.thinking:
            if not self._budget.pass_thinking():
                return None
            self._account.thinking += 1
        else:
            if not self._budget.pass_answer():
                return None
            self._account.answer += 1
        self._learnt = 0
        if self._remembered is not None:
            self._remembered.append(token)
        return data if self._wants_ids else head + text + self._bare

    def _is_plain(self, text: bytes) -> bool:
        """Inside a JSON string it stands for itself, and it is no part of a tag."""
        try:
            decoded = text.decode()
        except UnicodeDecodeError:
            return False
        if not decoded or '"' in decoded or "\\" in decoded or not decoded.isprintable():
            return False
        return not (self._text_may_hold_tags and "<" in decoded)

    def forget(self) -> None:
        """Another stage begins, whose events are written anew."""
        self._head = b""
        self._learnt = _VAIN
