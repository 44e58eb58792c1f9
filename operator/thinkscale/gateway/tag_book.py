"""How the model behind each replica writes the tags: asked once, kept, and asked again where a
question was lost.

Half an answer is never believed for good. An engine of which a question is lost says nothing at all
at first, and the next request asks again. One that fails to tell time and again (a route that
always answers 5xx, or never, or 404) would cost every request that round trip, so then what it did
tell is used for a while, to count by, and nothing is continued: what was lost may be what a
continuation needs. Its budgets are native or observed then, which clients are told. The while
doubles, up to about a minute.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from thinkscale.engines.dialect import Dialect, Question, Tags
from thinkscale.gateway.routing import Replica

logger = logging.getLogger(__name__)

PATIENCE: Final = 3
"""Times that an engine may fail to tell before requests no longer ask."""
AGAIN_SECONDS: Final = 1.0
MOST_DOUBLINGS: Final = 6


@dataclass(frozen=True, slots=True)
class Lost:
    """A question that got no answer. `answered`: the engine did say something, but ill (5xx)."""

    answered: bool


@dataclass(slots=True)
class _Entry:
    nudge: str
    task: asyncio.Task[Tags]
    misses: int = 0
    """Times that it did not tell."""
    fallback: Tags | None = None
    until: float = 0.0
    """The fallback is used so long."""


class TagBook:
    """What one gateway knows of its replicas' tags."""

    def __init__(
        self,
        ask: Callable[[Replica, Question], Awaitable[Any]],
        clock: Callable[[], float],
    ) -> None:
        """`ask`: the answer, None where the engine has none, or `Lost`."""
        self._ask = ask
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    @property
    def asked(self) -> set[str]:
        """Replicas whose tags were asked for."""
        return set(self._entries)

    def forget(self, names: Sequence[str]) -> None:
        """These replicas are gone."""
        for name in names:
            self._entries.pop(name, None)  # not cancelled: a request may be waiting for it

    def close(self) -> None:
        """Ask no more."""
        for entry in self._entries.values():
            entry.task.cancel()

    def known(self, name: str, nudge: str) -> Tags | None:
        """A replica's tags, and the ids of this nudge, if they were told already."""
        entry = self._entries.get(name)
        if entry is None or entry.nudge != nudge or not entry.task.done():
            return None
        return entry.task.result() if _known(entry.task) else None

    async def tags(self, replica: Replica, dialect: Dialect, model: str, nudge: str) -> Tags:
        """The tags, and the ids of this nudge."""
        entry = self._entries.get(replica.name)
        if entry is None or entry.nudge != nudge:
            task = asyncio.create_task(self._learn(replica, dialect, model, nudge))
            entry = self._entries[replica.name] = _Entry(nudge, task)
        elif entry.task.done() and not _known(entry.task):
            if entry.fallback is not None and self._clock() < entry.until:
                return entry.fallback
            entry.task = asyncio.create_task(self._learn(replica, dialect, model, nudge))
        return await asyncio.shield(entry.task)

    async def _learn(self, replica: Replica, dialect: Dialect, model: str, nudge: str) -> Tags:
        questions = dialect.tag_questions(model, nudge)
        answers = await asyncio.gather(*(self._ask(replica, asked) for asked in questions))
        lost = [answer for answer in answers if isinstance(answer, Lost)]
        told = dialect.tags([None if isinstance(a, Lost) else a for a in answers])
        tags = replace(told, nudge=nudge)
        if not lost and tags.closing_ids:
            return tags
        if len(lost) < len(answers) or any(answer.answered for answer in lost):  # else it is away
            self._missed(replica.name, nudge, replace(tags, closing_ids=(), nudge_ids=()))
        return Tags() if lost else tags

    def _missed(self, name: str, nudge: str, known: Tags) -> None:
        entry = self._entries.get(name)
        if entry is None or entry.nudge != nudge:
            return
        entry.misses += 1
        more = entry.misses - PATIENCE
        if more < 0:
            return
        if more == 0:
            logger.warning("Cannot force budgets: does not tell its tags replica=%s", name)
        entry.fallback = known
        entry.until = self._clock() + AGAIN_SECONDS * 2 ** min(more, MOST_DOUBLINGS)


def _known(task: asyncio.Task[Tags]) -> bool:
    return not task.cancelled() and task.exception() is None and bool(task.result().closing_ids)
