"""The engine loop: `fleet`'s replica in real time, one token to each choice at each step's end.

Steps have absolute deadlines: a step that ends late is followed on schedule, so load on the machine
never slows the emulated fleet down in silence; it shows as lag. One loop serves all requests and
hands tokens to their sinks directly, so a token wakes no task of its own.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from thinkscale.emulator.choice import Choice, Piece
from thinkscale.emulator.lag import Lag
from thinkscale.emulator.metrics import Metrics
from thinkscale.emulator.prefix_cache import PrefixCache
from thinkscale.fleet.profile import Profile
from thinkscale.fleet.replica import Outcome, Replica, Step

Sink = Callable[[Choice, Piece], None]
"""Called with each piece; the last one has a finish reason."""


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One choice at work."""

    choice: Choice
    prompt: Sequence[int]
    max_tokens: int
    choices: int
    round_tokens: int = 0
    """TGI's: it goes back to the queue whenever it has had so many tokens; 0: it never does."""
    later_tokens: int = 0
    """Tokens of the rounds after this one."""
    sink: Sink
    submitted_at: float = 0.0
    admitted_at: float = 0.0
    first_token_at: float = 0.0
    last_token_at: float = 0.0
    cached_tokens: int = 0
    id: int = 0
    output: list[int] = field(default_factory=list)


class Engine:
    """Jobs of one emulated replica."""

    def __init__(self, profile: Profile, metrics: Metrics) -> None:
        self.replica = Replica(profile)
        self.metrics = metrics
        self.lag = Lag()
        self._cache = PrefixCache(profile.kv_tokens)
        self._jobs: dict[int, Job] = {}
        self._next_id = 1
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._frozen = False

    @property
    def in_flight(self) -> int:
        """Choices waiting or running."""
        return len(self._jobs)

    def submit(self, job: Job, now: float) -> None:
        """Queue a job; its sink gets everything until its end."""
        job.id, self._next_id = self._next_id, self._next_id + 1
        job.submitted_at = now
        cached = min(self._cache.lookup(job.prompt), len(job.prompt) - 1)
        job.cached_tokens = cached
        self.replica.submit(job.id, len(job.prompt), job.max_tokens, cached)
        self._jobs[job.id] = job
        self._idle.clear()
        self._work.set()

    def cancel(self, job: Job) -> None:
        """The client is gone. Nothing is said of it in the request metrics, as in the original."""
        if self._jobs.pop(job.id, None) is not None:
            self.replica.cancel(job.id)
            self.metrics.aborted += 1
            self._settle()

    def abort_all(self) -> None:
        """End every job now, with finish_reason `abort`."""
        for job in tuple(self._jobs.values()):
            self.cancel(job)
            job.sink(job.choice, job.choice.abort())

    def freeze(self) -> None:
        """Say nothing more, ever: what vLLM's clients see when its engine is killed first."""
        self._frozen = True

    async def drained(self) -> None:
        """Wait until there is no job."""
        await self._idle.wait()

    async def run(self) -> None:
        """Step for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._work.wait()
            self._work.clear()
            now = loop.time()
            while (step := self.replica.next_step(now)) is not None:
                self._admit(step)
                now = step.ends_at
                await _sleep_until(loop, now)
                ended = loop.time()
                if self._frozen:
                    return
                self.lag.add(ended - now, step.seconds)
                self._deliver(step, self.replica.advance(), ended)

    def _admit(self, step: Step) -> None:
        for job_id in step.admitted:
            job = self._jobs[job_id]
            job.admitted_at = job.admitted_at or step.begins_at

    def _deliver(self, step: Step, outcome: Outcome, now: float) -> None:
        self.metrics.iteration_tokens.observe(step.prompt_tokens + step.decoding)
        self.metrics.generation_tokens += len(outcome.tokens)
        finished = set(outcome.finished)
        for job_id in outcome.tokens:
            job = self._jobs.get(job_id)
            if job is None:  # an earlier sink of this step cancelled it
                continue
            self._observe_token(job, now)
            again = job_id in finished and job.later_tokens > 0
            piece = job.choice.take(last=job_id in finished and not again)
            if again and job.choice.finish_reason is None:
                self._queue_again(job, piece)
            if piece is None:
                continue
            if not again:
                job.output += piece.token_ids
            if piece.finish_reason is not None:
                self._finish(job, piece.finish_reason, now)
            job.sink(job.choice, piece)

    def _queue_again(self, job: Job, piece: Piece | None) -> None:
        """A round is over: what was said is prompt now, at the end of the queue."""
        job.output += piece.token_ids if piece else ()
        said = [*job.prompt, *job.output]
        self._cache.insert(said)
        del self._jobs[job.id]
        job.id, self._next_id = self._next_id, self._next_id + 1
        tokens = min(job.round_tokens, job.later_tokens)
        job.later_tokens -= tokens
        self.replica.submit(job.id, len(said), tokens, min(self._cache.lookup(said), len(said) - 1))
        self._jobs[job.id] = job
        self.metrics.rounds += 1

    def _observe_token(self, job: Job, now: float) -> None:
        if job.first_token_at:
            self.metrics.inter_token.observe(now - job.last_token_at)
        else:
            job.first_token_at = now
            self.metrics.time_to_first_token.observe(now - job.submitted_at)
            self.metrics.prompt_tokens += len(job.prompt)
            self.metrics.cached_tokens += job.cached_tokens
            self._cache.insert(job.prompt)
        job.last_token_at = now

    def _finish(self, job: Job, reason: str, now: float) -> None:
        del self._jobs[job.id]
        self.replica.cancel(job.id)
        self._cache.insert([*job.prompt, *job.output])
        self.metrics.successes[reason] += 1
        decode = now - job.first_token_at
        values = {
            "request_time_per_output_token_seconds": decode / max(1, job.choice.generated - 1),
            "e2e_request_latency_seconds": now - job.submitted_at,
            "request_queue_time_seconds": job.admitted_at - job.submitted_at,
            "request_inference_time_seconds": now - job.admitted_at,
            "request_prefill_time_seconds": job.first_token_at - job.admitted_at,
            "request_decode_time_seconds": decode,
            "request_prompt_tokens": len(job.prompt),
            "request_generation_tokens": job.choice.generated,
            "request_max_num_generation_tokens": job.max_tokens,
            "request_params_n": job.choices,
            "request_params_max_tokens": job.max_tokens,
        }
        for name, value in values.items():
            self.metrics.finished[name].observe(value)
        self._settle()

    def _settle(self) -> None:
        if not self._jobs:
            self._idle.set()


async def _sleep_until(loop: asyncio.AbstractEventLoop, deadline: float) -> None:
    """Sleep until an instant of the loop's clock; a deadline in the past still yields once."""
    done: asyncio.Future[None] = loop.create_future()
    handle = loop.call_at(deadline, _wake, done)
    try:
        await done
    finally:
        handle.cancel()


def _wake(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
