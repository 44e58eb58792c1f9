"""Gives every answer its verdict once: pure graders at once, external ones through the journal."""

import asyncio
from typing import Final

from thinkscale.quality import external
from thinkscale.quality.dataset import Row
from thinkscale.quality.external import GraderFailure
from thinkscale.quality.graders import External
from thinkscale.quality.journal import Journal
from thinkscale.quality.levels import Level
from thinkscale.quality.outcome import Answered, Graded

ATTEMPTS: Final = 2
PROCESSES: Final = 4


class Judge:
    """`graded` grows."""

    def __init__(self, journal: Journal) -> None:
        self.graded: dict[tuple[str, Level], Graded] = {}
        self._journal = journal
        self._seats = asyncio.Semaphore(PROCESSES)

    async def judge(self, row: Row, answered: Answered) -> None:
        """Grade one answer, unless it is. GraderFailure."""
        key = (answered.sample, answered.level)
        if key not in self.graded:
            right = await self._right(row, answered.text)
            self.graded[key] = Graded(answered=answered, right=right)

    async def _right(self, row: Row, text: str) -> bool:
        grader = row.grader
        if not text:
            return False
        if not isinstance(grader, External):
            return grader.right(text, row.answer)
        key = external.verdict_key(grader, row, text)
        known = self._journal.past.verdicts.get(key)
        if known is not None:
            return known
        async with self._seats:
            right = await self._asked(grader, row, text)
        self._journal.judged(key, right=right)
        return right

    async def _asked(self, grader: External, row: Row, text: str) -> bool:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await external.grade(grader, row, text)
            except GraderFailure:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")
