"""One request's stream, from the engine's bytes to the client's: passes on, watches, cuts, goes on.

Sans-I/O: the relay feeds events and does what `turn` says. Stage 0 is the client's own request; its
events are passed on byte for byte but for what the gateway asked for itself (token ids, usage).
When a thought must end (or must not end yet), `turn` is set, nothing more is read from that stage,
and the next stage is a raw continuation on token ids whose text is written into the client's stream
under the one original id. No byte comes twice and none is lost: what is forwarded and what is fed
to the engine again are the same tokens. So a stage may also go on at another replica when its own
has failed (`trouble`, or the connection is gone): from the tokens that the client has.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

import orjson

from thinkscale.engines.dialect import (
    CLOSING,
    NUDGE,
    THINK_CLOSE,
    Chunk,
    Dialect,
    IdReader,
    Prompt,
    Reader,
    Tags,
)
from thinkscale.engines.text_reader import TextReader
from thinkscale.gateway.accounting import Basis, TokenAccount, measure
from thinkscale.gateway.budget import Action, BudgetMachine, Verdict
from thinkscale.gateway.request import ClientRequest
from thinkscale.gateway.shape import ChunkShape
from thinkscale.gateway.splitter import Parts, Phase, PhaseSplitter
from thinkscale.gateway.sse import DONE, SseEvent, encode
from thinkscale.gateway.strip import without_ids, without_usage

TOO_MANY: Final = 429
UNAVAILABLE: Final = 503


class Next(Enum):
    """What follows a stage that the gateway ended."""

    ANSWER = "answer"
    """Close the thought and let the answer come."""
    THINK = "think"
    """Let the thought go on."""
    RESUME = "resume"
    """Go on from what the client has, in the phase where that is."""
    END = "end"
    """Nothing: finish_reason is `length`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trim:
    """A chunk straddles the cut: only the text of these ids may go out."""

    ids: tuple[int, ...]
    text: str
    is_thinking: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The stage is over by the gateway's decision."""

    next: Next
    trim: Trim | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """The engine said that it cannot go on, or nothing that can be understood."""

    why: str
    raw: bytes
    """Its own words for the client, if nobody else can go on; empty: they are of no use."""
    is_full: bool = False
    """It has no room."""


class Exchange:
    """The state of one request's stream."""

    def __init__(
        self,
        request: ClientRequest,
        budget: BudgetMachine,
        tags: Tags,
        *,
        model: str,
        stops_when_exhausted: bool,
        keeps_ids: bool,
        reader: Reader | None = None,
    ) -> None:
        """`keeps_ids`: a continuation may become necessary, and can carry this request: remember
        what was generated. `reader`: None reads an engine that shows ids.
        """
        self.reader = reader or IdReader(tags)
        tags = self.reader.tags
        self.account = TokenAccount()
        self.splitter = PhaseSplitter(tags, Phase.THINKING if self.reader.opened else Phase.START)
        self.turn: Turn | None = None
        self.trouble: Trouble | None = None
        """Nothing more is read from this stage."""
        self.finish_reason: str | None = None
        self.error: dict[str, Any] | None = None
        self.done = False
        self.miscounted = False
        """The engine's usage tells of more tokens than came, or fewer."""
        self.began = False
        """A token of any kind has come."""
        self.answered = False
        """An answer token has come."""
        self._request = request
        self._budget = budget
        self._tags = tags
        self._shape = ChunkShape(request.route, model)
        self._stops = stops_when_exhausted
        self._keeps_ids = keeps_ids
        self._stage = 0
        self._prompt = array("I")
        self._generated = array("I")
        self._usage: dict[str, Any] | None = None
        self._ends_at = request.max_tokens if self.reader.overshoots else None
        self._is_complete = True
        """All that the client has is among the remembered ids."""

    def feed(self, event: SseEvent) -> bytes:
        """What the client gets for this event. Look at `turn`, `done` and `error` afterwards."""
        data = event.data
        if data is None:
            return event.raw
        if data == DONE:
            return self._feed_end()
        try:
            payload = orjson.loads(data)
            chunk = self.reader.read(payload)
        except (orjson.JSONDecodeError, AttributeError, TypeError):
            self.trouble = Trouble(why="the model server's stream is garbled", raw=b"")
            return b""
        if chunk.error is not None:
            return self._feed_error(chunk.error, event.raw)
        return self._feed_chunk(chunk, event.raw)

    def _feed_end(self) -> bytes:
        """Some TGIs swallow an error of a chat, and end it as if all were well."""
        if self.reader.own_ids or self.finish_reason or self.error:
            return self._end()
        self.trouble = Trouble(why="the model server ended the stream without a word", raw=b"")
        return b""

    def _feed_error(self, error: Mapping[str, Any], raw: bytes) -> bytes:
        if not self.reader.own_ids:  # the shape was another one
            raw = encode(orjson.dumps({"error": error}))
        code = error.get("code")
        if isinstance(code, int) and 400 <= code < 500 and code != TOO_MANY:
            self.error = dict(error)
            return raw
        why = f"the model server failed: {error.get('message')}"
        self.trouble = Trouble(why=why, raw=raw, is_full=code in (TOO_MANY, UNAVAILABLE))
        return b""

    def _feed_chunk(self, chunk: Chunk, raw: bytes) -> bytes:
        self._shape.adopt(chunk.identity, chunk.created)
        if chunk.prompt_token_ids and self._stage == 0:
            self._learn_prompt(chunk.prompt_token_ids)
        if not chunk.choices:
            return self._feed_usage(chunk, raw)
        if chunk.index != 0:
            self.account.add(Parts(answer_text=chunk.text, thinking_text=chunk.thinking))
            return self._clean(raw)
        if chunk.finish_reason == "abort":
            self.trouble = Trouble(why="the model server gave up", raw=self._clean(raw))
            return b""
        parts = self.splitter.feed(chunk)
        self._shape.spelling = self._shape.spelling or self.splitter.spelling
        if self._stage == 0 and self._intrudes(chunk, parts):
            self._budget.intruded()
            if self.resumable:
                return self._go_back(parts, chunk)
        verdict = self._judge(chunk, parts)
        if verdict.action is not Action.PASS:
            return self._act(verdict, chunk, parts)
        self._take(parts, chunk.token_ids)
        self._look_for_the_end(chunk)
        return self._clean(raw) if self._stage == 0 else self._rebuild(chunk, parts)

    def _learn_prompt(self, ids: Sequence[int]) -> None:
        if self.reader.own_ids:
            self.account.prompt = len(ids)
        if self._keeps_ids:
            self._prompt.extend(ids)

    def _look_for_the_end(self, chunk: Chunk) -> None:
        """The engine's, or ours where it would overshoot. Some tell the usage of a completion with
        its last token.
        """
        if chunk.finish_reason is not None:
            self.finish_reason = chunk.finish_reason
            if chunk.usage is not None and self._stage == 0 and not self.account.prompt:
                self.account.prompt = int(chunk.usage.get("prompt_tokens") or 0)
        elif self._ends_at is not None and self.account.completion >= self._ends_at:
            self.turn = Turn(next=Next.END)

    def _judge(self, chunk: Chunk, parts: Parts) -> Verdict:
        if not parts.counted and (parts.thinking_text or parts.answer_text):
            self._is_complete = False
            self._budget.estimate_only()  # without ids there is nothing to go on from
        elif self._keeps_ids and not self._prompt and parts.counted:
            self._budget.observe_only()
        thinking, answer = measure(parts)
        return self._budget.judge(
            thinking,
            answer,
            closed=parts.closed,
            finished=self.splitter.phase is Phase.THINKING
            and chunk.finish_reason == "stop"
            and chunk.stop_reason is None,  # else the client's own stop string ended it
        )

    def _take(self, parts: Parts, ids: Sequence[int] | None) -> None:
        self.account.add(parts)
        if parts.thinking or parts.thinking_text:
            self.began = True
        if parts.answer or parts.answer_text:
            self.began = self.answered = True
        if self._keeps_ids and ids:
            self._generated.extend(ids)

    @property
    def resumable(self) -> bool:
        """Another request can go on from what the client has."""
        return self._keeps_ids and self._is_complete and self.began and bool(self._prompt)

    def resume(self) -> bytes:
        """Go on elsewhere: `continuation` gives the request, unless `done`."""
        self.trouble = None
        self.turn = Turn(next=Next.RESUME)
        self._budget.disarm()
        return self.turned()

    def look_beyond(self, events: Sequence[SseEvent]) -> bool:
        """What the engine goes on to think behind our cut; False: there is no more to learn."""
        for event in events:
            if event.data is None or event.data == DONE:
                continue
            try:
                chunk = self.reader.read(orjson.loads(event.data))
            except (orjson.JSONDecodeError, AttributeError, TypeError):
                return False
            parts = self.splitter.feed(chunk)
            self._budget.beyond_cut(parts.thinking, closed=parts.closed)
            if self._budget.violation is not None or chunk.finish_reason is not None:
                return False
        return True

    def _intrudes(self, chunk: Chunk, parts: Parts) -> bool:
        """The native budget has put its closing tag into the answer."""
        if parts.counted:
            return parts.stray_at >= 0 and self._budget.native is not None
        ahead = self._budget.native is not None and self.answered
        return ahead and THINK_CLOSE in chunk.text

    def _go_back(self, parts: Parts, chunk: Chunk) -> bytes:
        """The answer goes on from before the tag, as if it had not been there."""
        kept = tuple(chunk.token_ids or ())[: parts.stray_at]
        trim = Trim(ids=kept, text=parts.answer_text, is_thinking=False) if kept else None
        self.turn = Turn(next=Next.RESUME, trim=trim)
        return b""

    def _act(self, verdict: Verdict, chunk: Chunk, parts: Parts) -> bytes:
        """End this stage: forward what the verdict keeps of the chunk."""
        ids = tuple(chunk.token_ids or ())
        match verdict.action:
            case Action.EXTEND:
                self.turn = Turn(next=Next.THINK)
                return self._keep_thinking(parts, ids, parts.thinking, parts.thinking_text)
            case Action.CUT:
                following = Next.END if self._stops else Next.ANSWER
                if verdict.keep == 0:
                    self.turn = Turn(next=following)
                    return b""
                trim = Trim(
                    ids=self._thinking_ids(ids, parts)[: verdict.keep],
                    text=parts.thinking_text,
                    is_thinking=True,
                )
                self.turn = Turn(next=following, trim=trim)
                return b""
        head = len(ids) - parts.end_tokens - parts.answer
        return self._stop_answer(parts, ids[head:][: verdict.keep], ids)

    def _stop_answer(self, parts: Parts, kept: tuple[int, ...], ids: tuple[int, ...]) -> bytes:
        out = b""
        if parts.thinking_text:
            out = self._keep_thinking(parts, ids, parts.thinking, parts.thinking_text)
        trim = Trim(ids=kept, text=parts.answer_text, is_thinking=False) if kept else None
        self.turn = Turn(next=Next.END, trim=trim)
        return out

    def _thinking_ids(self, ids: tuple[int, ...], parts: Parts) -> tuple[int, ...]:
        if self._tags.open_id is not None and self._tags.open_id in ids:
            ids = ids[ids.index(self._tags.open_id) + 1 :]
        return ids[: parts.thinking]

    def _keep_thinking(self, parts: Parts, ids: tuple[int, ...], tokens: int, text: str) -> bytes:
        kept = self._thinking_ids(ids, parts)
        self._take(Parts(thinking_text=text, thinking=tokens, counted=True), kept)
        return self._text(thinking=text, ids=kept) if text else b""

    def trimmed(self, text: str | None) -> bytes:
        """Go on from a `Trim`: the text of its ids, or None if it could not be told, in which case
        none of the chunk goes out (text and ids must agree).
        """
        turn = self.turn
        assert turn is not None
        assert turn.trim is not None
        trim = turn.trim
        if text is None or not text:
            return b""
        if isinstance(self.reader, TextReader):
            trim = replace(trim, ids=self.reader.handles(text, len(trim.ids)))
        if trim.is_thinking:
            kept = Parts(thinking_text=text, thinking=len(trim.ids), counted=True)
            self._take(kept, trim.ids)
            return self._text(thinking=text, ids=trim.ids)
        self._take(Parts(answer_text=text, answer=len(trim.ids), counted=True), trim.ids)
        return self._text(answer=text, ids=trim.ids)

    def turned(self) -> bytes:
        """Close the ended stage; afterwards `continuation` gives the next one, unless `done`."""
        turn, self.turn = self.turn, None
        assert turn is not None
        self._stage += 1
        out = b""
        if turn.next is Next.END:
            return self._end_early()
        if turn.next is Next.RESUME:
            # The first stage's bytes were passed on whole, with what the splitter held back.
            held = self.splitter.held if self._stage > 1 else ""
            self.splitter = PhaseSplitter(self._tags, self.splitter.phase, held)
        elif turn.next is Next.ANSWER:
            self._generated.extend(self._tags.closing_ids)
            self.account.control += len(self._tags.closing_ids)
            self.splitter = PhaseSplitter(self._tags, Phase.ANSWERING)
            if not self._shape.spelling:
                out = self._text(answer=CLOSING, ids=self._tags.closing_ids)
        else:
            self._generated.extend(self._tags.nudge_ids)
            self._budget.inject(len(self._tags.nudge_ids))
            self.account.thinking += len(self._tags.nudge_ids)
            self.splitter = PhaseSplitter(self._tags, Phase.THINKING)
            out = self._text(thinking=NUDGE, ids=self._tags.nudge_ids)
        if self._remaining() == 0:
            return out + self._end_early()
        return out

    @property
    def said(self) -> Sequence[int]:
        """All that was generated, or put in by us."""
        return self._generated

    def continuation(
        self, dialect: Dialect, model: str, prompt: Prompt | None = None
    ) -> dict[str, Any]:
        """The body of the next stage, for `/v1/completions`. `prompt`: where no ids were seen."""
        if prompt is not None:
            self.account.prompt = prompt.tokens
        return dialect.continuation_body(
            self._request.body,
            model=model,
            prompt=prompt.value if prompt else [*self._prompt, *self._generated],
            max_tokens=self._remaining(),
            generated=self.account.completion,
        )

    def fail(self, event: bytes) -> bytes:
        """End the client's stream with an error event."""
        self.done = True
        return encode(event)

    @property
    def tokens_so_far(self) -> int:
        """The prompt and all behind it."""
        prompt = len(self._prompt) if self.reader.own_ids else self.account.prompt
        return prompt + len(self._generated)

    def _remaining(self) -> int | None:
        limits = []
        if self._request.max_tokens is not None:
            limits.append(self._request.max_tokens - self.account.completion)
        if self._tags.context_tokens is not None:
            limits.append(self._tags.context_tokens - self.tokens_so_far)
        return max(0, min(limits)) if limits else None

    def _feed_usage(self, chunk: Chunk, raw: bytes) -> bytes:
        usage = chunk.usage
        if usage is None:
            return self._clean(raw)
        if self._stage == 0:
            counted = self.account.basis is Basis.IDS and self._request.judgeable
            self.miscounted = counted and usage.get("completion_tokens") not in (
                None,
                self.account.completion,
            )
            self.account.reconcile(usage)
            self._usage = dict(usage)
            if not self._request.wants_usage:
                return b""
            if self._tells_reasoning(usage):
                return raw if self._request.wants_ids else without_ids(raw)
            payload = orjson.loads(raw[6:])
            payload["usage"] = {
                **usage,
                "completion_tokens_details": {
                    **(usage.get("completion_tokens_details") or {}),
                    "reasoning_tokens": self.account.thinking,
                },
            }
            return encode(orjson.dumps(payload))
        return b""

    def _tells_reasoning(self, usage: Any) -> bool:
        details = usage.get("completion_tokens_details") or {}
        told = details.get("reasoning_tokens") or 0
        return bool(told) or not self.account.thinking or self.account.basis is not Basis.IDS

    def end(self) -> bytes:
        """The engine finished and left out the end mark, or that was lost."""
        usage = b""
        if self._stage == 0 and self._usage is None and self._request.wants_usage:
            usage = self._shape.usage(self._told_usage())
        return usage + self._end()

    def concede(self) -> bytes:
        """Nobody can go on: the engine's own words, if they are of use."""
        trouble, self.trouble = self.trouble, None
        if trouble is None or not trouble.raw:
            return b""
        return trouble.raw + self._end()

    def _end(self) -> bytes:
        self.done = True
        out = encode(DONE)
        if self._stage > 0 and self._request.wants_usage:
            out = self._shape.usage(self._told_usage()) + out
        return out

    def _told_usage(self) -> dict[str, Any]:
        """The usage, and why the thought was cut if we cut it."""
        usage = self.account.usage()
        if self._budget.cut:
            cause = "load" if self._budget.cut_by_load else "budget"
            usage["completion_tokens_details"]["thinking_cut_by"] = cause
        return usage

    def _end_early(self) -> bytes:
        self.finish_reason = "length"
        return self._text(finish_reason="length") + self._end()

    def _clean(self, raw: bytes) -> bytes:
        if self.reader.counts_by_usage and not self._request.wants_running_usage:
            raw = without_usage(raw)
        return raw if self._request.wants_ids else without_ids(raw)

    def _rebuild(self, chunk: Chunk, parts: Parts) -> bytes:
        text = parts.thinking_text or parts.answer_text
        if not text and chunk.finish_reason is None and not parts.closed:
            return b""
        answer = parts.answer_text
        if parts.closed and not self._shape.spelling:
            answer = "</think>" + answer
        return self._text(
            thinking=parts.thinking_text,
            answer=answer,
            finish_reason=chunk.finish_reason,
            stop_reason=chunk.stop_reason,
            ids=chunk.token_ids,
        )

    def _text(
        self,
        *,
        thinking: str = "",
        answer: str = "",
        finish_reason: str | None = None,
        stop_reason: int | str | None = None,
        ids: Sequence[int] | None = None,
    ) -> bytes:
        return self._shape.text(
            thinking=thinking,
            answer=answer,
            finish_reason=finish_reason,
            stop_reason=stop_reason,
            ids=ids if self._request.wants_ids and self.reader.own_ids else None,
            usage=self.account.usage() if self._request.wants_running_usage else None,
        )
