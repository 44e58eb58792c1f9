"""Translates a chat stream into the events of the Responses API, one chunk at a time.

Sans-I/O, no clock: identity and time are given. The text of thoughts and answers may come in any
pieces and in any spelling (a reasoning field, or tags in the text; the splitter tells); the events
carry the same text, none twice and none lost. Items follow one another as the phases do. Function
calls stay open side by side until something else begins, since nothing forbids an engine to mix
their pieces. Every item that was added is done before the response is, unless it failed.
"""

from collections.abc import Mapping
from typing import Any, Final

from thinkscale.engines.dialect import Tags, read_chunk
from thinkscale.gateway.responses.response import (
    Answer,
    Call,
    Item,
    Status,
    Thought,
    response_error,
    response_object,
)
from thinkscale.gateway.splitter import Phase, PhaseSplitter

Event = dict[str, Any]
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Translator:
    """One response. `error`: the chat stream told of one, in its words."""

    def __init__(self, identity: str, created_at: int, echo: Mapping[str, Any]) -> None:
        """`identity`: what ids are made of."""
        self.error: dict[str, Any] | None = None
        self._identity = identity
        self._created_at = created_at
        self._echo = echo
        self._splitter = PhaseSplitter(Tags())
        self._items: list[Item] = []
        self._text: Thought | Answer | None = None
        self._calls: dict[int, Call] = {}
        self._finish_reason: str | None = None
        self._usage: Mapping[str, Any] | None = None
        self._number = 0
        self._over = False

    def expect(self, tags: Tags, *, opened: bool = False) -> None:
        """How the model writes its tags; before the first chunk."""
        self._splitter = PhaseSplitter(tags, Phase.THINKING if opened else Phase.START)

    def start(self) -> list[Event]:
        """The engine has accepted the request."""
        response = self._response(Status.IN_PROGRESS)
        return [
            self._event("response.created", response=response),
            self._event("response.in_progress", response=response),
        ]

    def feed(self, payload: Mapping[str, Any]) -> list[Event]:
        """The events of one chunk."""
        if self._over:
            return []
        chunk = read_chunk(payload)
        if chunk.error is not None:
            return self._fail(chunk.error)
        if chunk.usage is not None:
            self._usage = chunk.usage
        if not chunk.choices or chunk.index != 0:
            return []
        parts = self._splitter.feed(chunk)
        events = self._say(Thought, parts.thinking_text)
        events += self._say(Answer, parts.answer_text)
        if chunk.tool:
            for piece in payload["choices"][0]["delta"]["tool_calls"]:
                events += self._call(piece)
        self._finish_reason = chunk.finish_reason or self._finish_reason
        return events

    def finish(self) -> list[Event]:
        """The chat stream is over."""
        if self._over:
            return []
        self._over = True
        held = self._splitter.held
        thinks = self._splitter.phase is Phase.THINKING
        events = self._say(Thought if thinks else Answer, held)
        status = Status.INCOMPLETE if self._finish_reason in _INCOMPLETE else Status.COMPLETED
        events += self._close(status)
        return [*events, self._event(f"response.{status.value}", response=self.response())]

    def response(self) -> dict[str, Any]:
        """The response at its end."""
        incomplete = _INCOMPLETE.get(self._finish_reason or "")
        status = Status.COMPLETED if incomplete is None else Status.INCOMPLETE
        return self._response(status, usage=self._usage, incomplete=incomplete)

    def _fail(self, error: Mapping[str, Any]) -> list[Event]:
        self._over = True
        self.error = dict(error)
        for item in self._open():
            item.status = Status.INCOMPLETE
        response = self._response(Status.FAILED, usage=self._usage, error=response_error(error))
        return [self._event("response.failed", response=response)]

    def _response(self, status: Status, **more: Any) -> dict[str, Any]:
        return response_object(
            f"resp_{self._identity}",
            self._created_at,
            self._echo,
            status=status,
            output=self._items,
            **more,
        )

    def _say(self, kind: type[Thought] | type[Answer], text: str) -> list[Event]:
        if not text:
            return []
        events: list[Event] = []
        item = self._text
        if not isinstance(item, kind):
            events = self._close(Status.COMPLETED)
            prefix = "rs" if kind is Thought else "msg"
            item = self._text = kind(identity=self._name(prefix), index=len(self._items))
            events += [
                self._added(item),
                self._in_item("response.content_part.added", item, content_index=0, part=item.part),
            ]
        item.said += text.encode()
        events.append(self._text_event("delta", item, delta=text))
        return events

    def _call(self, piece: Mapping[str, Any]) -> list[Event]:
        function = piece.get("function") or {}
        place = piece.get("index") or 0
        call = self._calls.get(place)
        events: list[Event] = []
        if call is None:
            events = [] if self._calls else self._close(Status.COMPLETED)
            identity = self._name("fc")
            call = Call(
                identity=identity,
                index=len(self._items),
                call_id=piece.get("id") or identity,
                name=function.get("name") or "",
            )
            self._calls[place] = call
            events.append(self._added(call))
        else:
            call.name += function.get("name") or ""
        arguments = function.get("arguments")
        if arguments:
            call.said += arguments.encode()
            events.append(
                self._in_item("response.function_call_arguments.delta", call, delta=arguments)
            )
        return events

    def _close(self, last: Status) -> list[Event]:
        """All that is open is done; the last of it with this status."""
        items, events = self._open(), []
        for item in items:
            item.status = last if item is items[-1] else Status.COMPLETED
            if isinstance(item, Call):
                events.append(
                    self._in_item(
                        "response.function_call_arguments.done",
                        item,
                        name=item.name,
                        arguments=item.arguments,
                    )
                )
            else:
                events += self._close_text(item)
            events.append(
                self._event("response.output_item.done", output_index=item.index, item=item.show())
            )
        self._text = None
        self._calls.clear()
        return events

    def _close_text(self, item: Thought | Answer) -> list[Event]:
        part = item.part
        return [
            self._text_event("done", item, text=part["text"]),
            self._in_item("response.content_part.done", item, content_index=0, part=part),
        ]

    def _open(self) -> list[Thought | Answer | Call]:
        return [*([self._text] if self._text else []), *self._calls.values()]

    def _name(self, prefix: str) -> str:
        return f"{prefix}_{self._identity}_{len(self._items)}"

    def _added(self, item: Item) -> Event:
        self._items.append(item)
        return self._event("response.output_item.added", output_index=item.index, item=item.show())

    def _text_event(self, verb: str, item: Thought | Answer, **fields: Any) -> Event:
        if isinstance(item, Answer):
            fields["logprobs"] = []
        return self._in_item(f"response.{item.kind}.{verb}", item, content_index=0, **fields)

    def _in_item(self, kind: str, item: Item, **fields: Any) -> Event:
        return self._event(kind, item_id=item.identity, output_index=item.index, **fields)

    def _event(self, kind: str, **fields: Any) -> Event:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return event
