"""One request's stream, from the engine's bytes to the client's: passes on, watches, cuts, goes on.

Sans-I/O: the relay feeds events and does what `turn` says. Stage 0 is the client's own request; its
events are passed on byte for byte but for what the gateway asked for itself (token ids, usage).
When a thought must end (or must not end yet), `turn` is set, nothing more is read from that stage,
and the next stage is a raw continuation on token ids whose text is written into the client's stream
under the one original id. No byte comes twice and none is lost: what is forwarded and what is fed
to the engine again are the same tokens. So a stage may also go on at another replica when its own
has failed (`trouble`, or the connection is gone): from the tokens that the client has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from thinkscale.engines.dialect import (
    CLOSING,
    THINK_CLOSE,
    Chunk,
    IdReader,
    Reader,
    Tags,
)
from thinkscale.engines.text_reader import TextReader
from thinkscale.gateway.accounting import Basis, TokenAccount, measure
from thinkscale.gateway.budget import Action, BudgetMachine, Verdict
from thinkscale.gateway.cut import before_stray_tag, cut_chunk
from thinkscale.gateway.plain import PlainEvents
from thinkscale.gateway.request import ClientRequest
from thinkscale.gateway.splitter import Parts, Phase, PhaseSplitter
from thinkscale.gateway.sse import DONE, SseEvent, encode
from thinkscale.gateway.transcript import Transcript
from thinkscale.gateway.turn import Next, Trouble, Turn, trouble_of
from thinkscale.gateway.wording import Wording


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
        self.transcript = Transcript(request, self.reader, self.account, keeps=keeps_ids)
        self._wording = Wording(request, self.reader, self.account, budget, model=model)
        self.plain = PlainEvents(
            tags, budget, self.account, self.transcript, wants_ids=request.wants_ids
        )
        self._stops = stops_when_exhausted
        self._stage = 0
        self._opening: bytes | None = b""
        """Events that only announce who will speak, until something is said; None: it was. Without
        them a request whose engine dies before its first token may still begin anew elsewhere.
        """
        self._announces = False
        self._has_usage = False
        self._learns = self.reader.own_ids and not self.reader.counts_by_usage
        self._ends_at = request.max_tokens if self.reader.overshoots else None

    def feed(self, event: SseEvent) -> bytes:
        """What the client gets for this event. Look at `turn`, `done` and `error` afterwards."""
        if self._opening is None:
            return self._feed(event)
        self._announces = False
        out = self._opening + self._feed(event)
        is_held = self._announces or self.trouble is not None
        self._opening = out if is_held else None
        return b"" if is_held else out

    def _feed(self, event: SseEvent) -> bytes:
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
        self.trouble = trouble_of(error, raw)
        if self.trouble is not None:
            return b""
        self.error = dict(error)
        return raw

    def _feed_chunk(self, chunk: Chunk, raw: bytes) -> bytes:
        self._wording.shape.adopt(chunk.identity, chunk.created)
        if chunk.prompt_token_ids and self._stage == 0:
            self.transcript.learn_prompt(chunk.prompt_token_ids)
        if not chunk.choices:
            return self._feed_usage(chunk, raw)
        if chunk.index != 0:
            self.account.add(Parts(answer_text=chunk.text, thinking_text=chunk.thinking))
            return self._wording.clean(raw)
        if chunk.finish_reason == "abort":
            self.trouble = Trouble(why="the model server gave up", raw=self._wording.clean(raw))
            return b""
        parts = self.splitter.feed(chunk)
        self._wording.shape.spelling = self._wording.shape.spelling or self.splitter.spelling
        if self._stage == 0 and self._intrudes(chunk, parts):
            self._budget.intruded()
            if self.resumable:
                self.turn = before_stray_tag(chunk.token_ids or (), parts)
                return b""
        verdict = self._judge(chunk, parts)
        if verdict.action is not Action.PASS:
            return self._act(verdict, chunk, parts)
        self._take(parts, chunk.token_ids)
        self._look_for_the_end(chunk)
        if self._stage > 0:
            return self._wording.rebuild(chunk, parts)
        is_first = self._opening is not None and self.turn is None
        self._announces = is_first and chunk.is_empty and b'"role":' in raw
        clean = self._wording.clean(raw)
        if self._learns and not self.splitter.held:
            self.plain.learn(chunk, parts, self.splitter.phase, raw, clean)
        return clean

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
            self.transcript.is_complete = False
            self._budget.estimate_only()  # without ids there is nothing to go on from
        elif parts.counted and self.transcript.keeps and not self.transcript.prompt:
            self._budget.observe_only()
        return self._budget.judge(
            *measure(parts),
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
        self.transcript.take(ids)

    @property
    def resumable(self) -> bool:
        """Another request can go on from what the client has."""
        return self.began and self.transcript.is_usable

    def resume(self) -> bytes:
        """Go on elsewhere: the transcript's `continuation` gives the request, unless `done`."""
        self.trouble = None
        self.turn = Turn(next=Next.RESUME)
        self._budget.disarm()
        return self.turned()

    def _intrudes(self, chunk: Chunk, parts: Parts) -> bool:
        """The native budget has put its closing tag into the answer."""
        if parts.counted:
            return parts.stray_at >= 0 and self._budget.native is not None
        ahead = self._budget.native is not None and self.answered
        return ahead and THINK_CLOSE in chunk.text

    def _act(self, verdict: Verdict, chunk: Chunk, parts: Parts) -> bytes:
        """End this stage: forward what the verdict keeps of the chunk."""
        ids = chunk.token_ids or ()
        cut = cut_chunk(verdict, ids, parts, open_id=self._tags.open_id, stops=self._stops)
        self.turn = cut.turn
        if cut.thinking is None:
            return b""
        self._take(cut.thinking, cut.thinking_ids)
        text = cut.thinking.thinking_text
        return self._wording.text(thinking=text, ids=cut.thinking_ids) if text else b""

    def trimmed(self, text: str | None) -> bytes:
        """Go on from a `Trim`: the text of its ids, or None if it could not be told, in which case
        none of the chunk goes out (text and ids must agree).
        """
        assert self.turn is not None
        trim = self.turn.trim
        assert trim is not None
        if not text:
            return b""
        if isinstance(self.reader, TextReader):
            trim = replace(trim, ids=self.reader.handles(text, len(trim.ids)))
        if trim.is_thinking:
            kept = Parts(thinking_text=text, thinking=len(trim.ids), counted=True)
            self._take(kept, trim.ids)
            return self._wording.text(thinking=text, ids=trim.ids)
        self._take(Parts(answer_text=text, answer=len(trim.ids), counted=True), trim.ids)
        return self._wording.text(answer=text, ids=trim.ids)

    def turned(self) -> bytes:
        """Close the ended stage; the transcript's continuation is the next one, unless `done`."""
        turn, self.turn = self.turn, None
        assert turn is not None
        self._stage += 1
        self.plain.forget()
        out = b""
        if turn.next is Next.END:
            return self._end_early()
        if turn.next is Next.RESUME:
            # The first stage's bytes were passed on whole, with what the splitter held back.
            held = self.splitter.held if self._stage > 1 else ""
            self.splitter = PhaseSplitter(self._tags, self.splitter.phase, held)
        elif turn.next is Next.ANSWER:
            self.transcript.put_in(self._tags.closing_ids)
            self.account.control += len(self._tags.closing_ids)
            self.splitter = PhaseSplitter(self._tags, Phase.ANSWERING)
            if not self._wording.shape.spelling:
                out = self._wording.text(answer=CLOSING, ids=self._tags.closing_ids)
        else:
            self.transcript.put_in(self._tags.nudge_ids)
            self._budget.inject(len(self._tags.nudge_ids))
            self.account.thinking += len(self._tags.nudge_ids)
            self.splitter = PhaseSplitter(self._tags, Phase.THINKING)
            out = self._wording.text(thinking=self._tags.nudge, ids=self._tags.nudge_ids)
        if self.transcript.room == 0:
            return out + self._end_early()
        return out

    def fail(self, event: bytes) -> bytes:
        """End the client's stream with an error event."""
        self.done = True
        return encode(event)

    def _feed_usage(self, chunk: Chunk, raw: bytes) -> bytes:
        usage = chunk.usage
        if usage is None:
            return self._wording.clean(raw)
        if self._stage > 0:
            return b""
        counted = self.account.basis is Basis.IDS and self._request.judgeable
        told = usage.get("completion_tokens")
        self.miscounted = counted and told not in (None, self.account.completion)
        self.account.reconcile(usage)
        self._has_usage = True
        return self._wording.engines_usage(usage, raw)

    def end(self) -> bytes:
        """The engine finished and left out the end mark, or that was lost."""
        lost = self._stage == 0 and not self._has_usage
        return (self._wording.usage() if lost else b"") + self._end()

    def concede(self) -> bytes:
        """Nobody can go on: the engine's own words, if they are of use."""
        trouble, self.trouble = self.trouble, None
        if trouble is None or not trouble.raw:
            return b""
        return (self._opening or b"") + trouble.raw + self._end()

    def _end(self) -> bytes:
        self.done = True
        return self._wording.end(of_continuation=self._stage > 0)

    def _end_early(self) -> bytes:
        self.finish_reason = "length"
        return self._wording.text(finish_reason="length") + self._end()
