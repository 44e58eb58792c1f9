"""Takes apart a chunk at which the gateway ends a stage: what of it goes out now, and what follows.

Pure. A chunk may hold several tokens, so it can straddle the cut: ids are exact, and the text that
belongs to the kept ones is asked of the engine's tokenizer (`Trim`) unless all of it is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from thinkscale.gateway.budget import Action, Verdict
from thinkscale.gateway.splitter import Parts
from thinkscale.gateway.turn import Next, Trim, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The turn, and the thinking of the chunk that is kept whole."""

    turn: Turn
    thinking_ids: tuple[int, ...] = ()
    thinking: Parts | None = None
    """None: none of it."""


def cut_chunk(
    verdict: Verdict, ids: Sequence[int], parts: Parts, *, open_id: int | None, stops: bool
) -> Cut:
    """Cut a chunk by a verdict that does not let it pass. `open_id`: the opening tag, which belongs
    to no phase; `stops`: an exhausted thought ends the request.
    """
    ids = tuple(ids)
    thinking_ids = _behind(ids, open_id)[: parts.thinking]
    match verdict.action:
        case Action.EXTEND:
            return _keeping(Turn(next=Next.THINK), thinking_ids, parts)
        case Action.CUT:
            trim = Trim(
                ids=thinking_ids[: verdict.keep], text=parts.thinking_text, is_thinking=True
            )
            following = Next.END if stops else Next.ANSWER
            return Cut(turn=Turn(next=following, trim=trim if verdict.keep else None))
    head = len(ids) - parts.end_tokens - parts.answer
    turn = Turn(next=Next.END, trim=_of_answer(ids[head:][: verdict.keep], parts))
    return _keeping(turn, thinking_ids, parts) if parts.thinking_text else Cut(turn=turn)


def before_stray_tag(ids: Sequence[int], parts: Parts) -> Turn:
    """The answer goes on from before a closing tag in its middle, as if that had not been there."""
    return Turn(next=Next.RESUME, trim=_of_answer(tuple(ids)[: parts.stray_at], parts))


def _keeping(turn: Turn, ids: tuple[int, ...], parts: Parts) -> Cut:
    kept = Parts(thinking_text=parts.thinking_text, thinking=parts.thinking, counted=True)
    return Cut(turn=turn, thinking_ids=ids, thinking=kept)


def _of_answer(ids: tuple[int, ...], parts: Parts) -> Trim | None:
    return Trim(ids=ids, text=parts.answer_text, is_thinking=False) if ids else None


def _behind(ids: tuple[int, ...], open_id: int | None) -> tuple[int, ...]:
    return ids[ids.index(open_id) + 1 :] if open_id is not None and open_id in ids else ids
