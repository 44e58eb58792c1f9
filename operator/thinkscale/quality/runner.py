"""Asks an endpoint all that a plan wants to know, and survives what happens on the way.

Every reply is in the journal before anything is made of it. A few samples go first and alone, so
that an endpoint which cannot be measured costs a handful of requests. Whatever ends a sweep early
(a limit, a mistake, Ctrl-C), nothing new is sent and what is under way is waited for: it is paid.
A rate limit holds everybody back, for as long as the endpoint says; lost requests are sent again,
and counted again.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Final

from thinkscale.errors import ThinkscaleError
from thinkscale.quality.calls import Call, Reply
from thinkscale.quality.concurrency import Concurrency
from thinkscale.quality.dataset import Row
from thinkscale.quality.endpoint import Busy, Endpoint, EndpointError, Lost, Refused
from thinkscale.quality.external import GraderFailure
from thinkscale.quality.independent import Vigil
from thinkscale.quality.journal import Journal
from thinkscale.quality.judge import Judge
from thinkscale.quality.outcome import Answered
from thinkscale.quality.plan import Plan
from thinkscale.quality.settings import Method
from thinkscale.quality.spending import Spending

SCOUTS: Final = 2
"""Samples that go first, one after the other."""
ATTEMPTS: Final = 6
"""Of one request that gets lost."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 60.0
PATIENCE_SECONDS: Final = 900.0
"""How long an endpoint may be busy for everybody, unless it asks for a longer wait."""


class Ended(ThinkscaleError):
    """The sweep ended before its plan; the message says why, in one line."""


class Runner:
    """One run. `judge.graded`, `spending` and `pauses` are there to be watched."""

    def __init__(
        self,
        plan: Plan,
        endpoint: Endpoint,
        journal: Journal,
        spending: Spending,
        judge: Judge,
        concurrency: int,
    ) -> None:
        self.spending = spending
        self.judge = judge
        self.replies = 0
        """Of this run."""
        self.retries = 0
        self.paused = ""
        """Why everybody waits; empty: nobody does."""
        self._plan = plan
        self._endpoint = endpoint
        self._journal = journal
        self._seats = concurrency
        self._concurrency = Concurrency(concurrency)
        self._stop: ThinkscaleError | None = None
        self._resume_at = 0.0
        self._troubled_since: float | None = None
        """When the first request since the last reply failed; None: none has."""
        self._vigil = Vigil()
        self._settled = asyncio.Event()

    def stop(self, reason: str) -> None:
        """Send nothing new; `run` raises `Ended` when all under way is in."""
        self._end(Ended(reason))

    def _end(self, why: ThinkscaleError) -> None:
        self._stop = self._stop or why
        self._settled.set()

    async def run(self) -> None:
        """Until the plan is done. Ended, EndpointError, GraderFailure: it is not."""
        known = list(self._plan.known(self._journal.past.replies))
        await asyncio.gather(*(self._judge(row, answered) for row, answered in known))
        order = self._plan.order()
        for row, sample in order[:SCOUTS]:
            await self._sample(row, sample)
        todo = iter(order[SCOUTS:])

        async def work() -> None:
            for row, sample in todo:
                if self._stop is not None:
                    return
                await self._sample(row, sample)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._seats):
                group.create_task(work())
        if self._stop is not None:
            raise self._stop

    async def _sample(self, row: Row, sample: str) -> None:
        """All calls of one sample, and its verdicts."""
        known = self._journal.past.replies
        while self._stop is None:
            try:
                call = self._plan.next_call(row, sample, known)
            except ValueError:
                message = "the endpoint tells no token ids; run with --method independent"
                self._end(EndpointError(message))
                return
            if call is None or not await self._call(row, call):
                break
            answers = self._plan.answers(row, sample, known)
            self._watch(answers)
            for answered in answers:
                await self._judge(row, answered)

    async def _judge(self, row: Row, answered: Answered) -> None:
        try:
            await self.judge.judge(row, answered)
        except GraderFailure as error:
            self._end(GraderFailure(f"{error}; the answers are kept: mend it and run again"))

    async def _call(self, row: Row, call: Call) -> bool:
        """Send until there is a reply; False: there will be none."""
        attempt = 1
        while await self._may_send(call):
            try:
                await self._send(call)
            except Refused as error:
                self._end(EndpointError(f"{row.name}: the endpoint refused: {error}"))
            except Busy as error:
                if time.monotonic() >= self._resume_at:  # of one crowd the first speaks for all
                    self._concurrency.refused()
                self._pause(str(error), error.after_seconds, attempt)
                attempt += 1
            except Lost as error:
                if attempt >= ATTEMPTS:
                    self._end(
                        EndpointError(f"{row.name}: no answer after {attempt} times: {error}")
                    )
                self._pause(str(error), None, attempt, everybody=not error.processed)
                await asyncio.sleep(0 if not error.processed else _backoff(attempt))
                attempt += 1
            else:
                return True
        return False

    async def _may_send(self, call: Call) -> bool:
        while self._stop is None:
            wait = self._resume_at - time.monotonic()
            if wait > 0:
                await asyncio.sleep(min(wait, 1.0))
                continue
            self.paused = ""
            if not self._concurrency.has_room:
                self._settled.clear()
                await self._settled.wait()
                continue
            refusal = self.spending.refusal(call)
            if refusal is None:
                return True
            if not self.spending.under_way:
                self._end(Ended(refusal))
                return False
            self._settled.clear()  # what is under way may cost less than its most
            await self._settled.wait()
        return False

    async def _send(self, call: Call) -> Reply:
        self.spending.send(call)
        self._journal.sent(call)
        self._concurrency.sent()
        try:
            reply = await self._endpoint.ask(call, self._plan.settings.model)
        except (Refused, Busy) as error:
            self._lose(call, str(error), processed=False)
            raise
        except Lost as error:
            self._lose(call, str(error), processed=error.processed)
            raise
        finally:
            self._concurrency.ended()
            self._settled.set()
        self._concurrency.replied()
        self._journal.done(call, reply)
        self.spending.settle(call, reply)
        self.replies += 1
        self._troubled_since = None
        return reply

    def _lose(self, call: Call, reason: str, *, processed: bool) -> None:
        self.retries += 1
        self._journal.lost(call, reason, processed=processed)
        self.spending.lose(call, processed=processed)

    def _pause(
        self, why: str, after: float | None, attempt: int, *, everybody: bool = True
    ) -> None:
        now = time.monotonic()
        since = self._troubled_since = self._troubled_since or now
        if now - since > max(PATIENCE_SECONDS, after or 0.0):
            self._end(EndpointError(f"no answer for {(now - since) / 60:.0f} minutes: {why}"))
        if everybody:
            wait = max(_backoff(attempt), after or 0.0)
            self._resume_at = max(self._resume_at, now + wait)
            self.paused = why

    def _watch(self, answers: Sequence[Answered]) -> None:
        """Notice an endpoint that pays no attention to budgets."""
        if self._plan.settings.method is Method.INDEPENDENT and (
            complaint := self._vigil.see(answers)
        ):
            self._end(EndpointError(complaint))


def _backoff(attempt: int) -> float:
    """Seconds; spread, so that many do not come back at once."""
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(attempt - 1, 10))
    return longest * random.uniform(0.5, 1.0)
