"""One replica in virtual time: what `fleet.Replica` does step by step, in a few events a request.

All decoding sequences advance by one token a step, so a counter V of steps done stands for all
their ages, and a stretch of steps in which nobody joins or leaves is one closed form: step j of it
ends at `t0 + c*j + d*j*(j+1)/2`, with `c = a0 + a1*b + a2*K` and `d = a2*b`, which is quadratic and
can be inverted. Only steps that prefill, preempt or admit are carried out one by one. So the times
are those of the literal loop, but for rounding.

The caller owns the clock: `begin` says when the stretch under way ends, `end` carries it out.
Whatever comes while one is under way (`submit`, `close`) shortens it to the next step's border.
Who is in the batch and what they hold is `Batch`'s.
"""

import math
from collections.abc import Iterable
from heapq import heappop

from thinkscale.fleet.profile import Profile
from thinkscale.simulation.batch import Batch, Listener, Prefill, ignore
from thinkscale.simulation.flight import Flight


class VirtualReplica(Batch):
    """A batch whose steps take time."""

    __slots__ = (
        "_c", "_closing", "_cost_prefill", "_d", "_profile", "_step_prompt", "ends_at",
        "generated_tokens", "m", "prompt_tokens", "t0",
    )  # fmt: skip

    def __init__(
        self,
        profile: Profile,
        *,
        gateways: int = 1,
        on_first_token: Listener = ignore,
        on_answer: Listener = ignore,
    ) -> None:
        """`on_first_token`, `on_answer`: told of each first token, and each first token of an
        answer, with its time, once the replica's own time has passed it.
        """
        super().__init__(gateways, on_first_token, on_answer)
        self._profile = profile
        self.t0 = 0.0
        """The border at which the stretch under way began."""
        self.ends_at = math.inf
        """The border at which it ends; inf: none is under way."""
        self.m = 0
        """Its steps; 0: none is under way."""
        self._c = 0.0
        self._d = 0.0
        self._step_prompt = 0
        self._closing: list[Flight] = []
        self._cost_prefill = False
        self.prompt_tokens = 0
        self.generated_tokens = 0

    # What it holds.

    @property
    def profile(self) -> Profile:
        """What it can do."""
        return self._profile

    def held_tokens(self, gateway: int, now: float) -> float:
        """Prompts and generated tokens of a gateway's requests here; linear within a stretch."""
        steps: float = self.steps
        if self.m:
            steps += self.m * (now - self.t0) / (self.ends_at - self.t0)
        return (
            self.ages[gateway]
            + self.decoding_counts[gateway] * steps
            + self.pending_tokens[gateway]
        )

    def kv_at(self, now: float) -> float:
        """KV tokens in use; linear within a stretch."""
        if not self.m:
            return self.kv_used
        grown = self.decoding * self.m * (now - self.t0) / (self.ends_at - self.t0)
        return self.kv_used + grown

    # What comes from outside.

    def submit(self, flight: Flight, now: float) -> bool:
        """Put a request at the end of the queue. True: nothing is under way, call `begin`."""
        flight.replica = self
        self._count(flight, 1)
        if not self.waiting and len(self.running) < self._profile.seats:
            self._shorten(now)
        self.waiting.append(flight)
        return not self.m

    def close(self, flights: Iterable[Flight], now: float, *, costs_prefill: bool) -> bool:
        """End the thoughts of these at the next border: their answers follow. `costs_prefill`: they
        come back as new prompts, of all that they hold. True: as with `submit`.
        """
        self._closing.extend(flights)
        self._cost_prefill = costs_prefill
        self._shorten(now)
        return not self.m

    def crash(self) -> list[Flight]:
        """All its requests, in order of arrival; nothing of them is kept."""
        lost = [*self.running, *self.waiting]
        self.running, self._prefill, self._closing = {}, [], []
        self.waiting.clear()
        self.m, self.ends_at = 0, math.inf
        return sorted(lost, key=lambda flight: flight.index)

    # The stretch under way.

    def begin(self, now: float) -> float:
        """Begin what comes next; returns when it ends, inf: there is nothing to do."""
        self.t0 = now
        if not self.running and not self.waiting:
            self.ends_at = math.inf
            return math.inf
        profile = self._profile
        preempted = False
        while profile.kv_tokens - self.kv_used < self.decoding:
            self._preempt_latest()
            preempted = True
        tokens = self._chunks(profile.step_tokens - self.decoding, admit=not preempted)
        b = self.decoding
        self._c = (
            profile.base_seconds
            + profile.sequence_seconds * b
            + profile.context_token_seconds * self.context
            + profile.prompt_token_seconds * tokens
        )
        self._d = profile.context_token_seconds * b
        self._step_prompt = tokens
        if self._prefill or (preempted and self.waiting):
            self.m = 1
        else:
            self.m = self._stretch()
        self.ends_at = now + self._c * self.m + self._d * self.m * (self.m + 1) / 2
        return self.ends_at

    def end(self) -> list[Flight]:
        """Carry out the stretch; returns those that have all their tokens, and left."""
        steps, now = self.m, self.ends_at
        last = self.steps + steps
        if self._thoughts and self._thoughts[0][0] <= last:
            self._answers_begin(last)
        self.steps = last
        grown = self.decoding * steps
        self.context += grown
        self.kv_used += grown
        self.generated_tokens += grown
        self.prompt_tokens += self._step_prompt
        self.m, self.t0, self.ends_at = 0, now, math.inf
        finished: list[Flight] = []
        if self._prefill:
            self._prefilled(now, finished)
        ends = self._ends
        while ends and ends[0][0] <= last:
            at, _, flight = heappop(ends)
            if flight.last_step == at and flight.replica is self:
                self._finish(flight)
                finished.append(flight)
        if self._closing:
            self._close_all(now, finished)
        return finished

    def sync(self, now: float) -> None:
        """Bring counters and ages up to the last border; changes nothing that is to come."""
        if self.m <= 1:
            return
        j = min(self._steps_by(now), self.m - 1)
        if j <= 0:
            return
        if self._thoughts and self._thoughts[0][0] <= self.steps + j:
            self._answers_begin(self.steps + j)
        self.t0 += self._c * j + self._d * j * (j + 1) / 2
        self._c += self._d * j
        self.steps += j
        self.m -= j
        grown = self.decoding * j
        self.context += grown
        self.kv_used += grown
        self.generated_tokens += grown

    def _steps_by(self, now: float) -> int:
        """Steps of the stretch that have ended by now."""
        passed = now - self.t0
        if passed <= 0:
            return 0
        c, d = self._c, self._d
        half = c + d / 2
        j = int((math.sqrt(half * half + 2 * d * passed) - half) / d) if d > 0 else int(passed / c)
        while c * (j + 1) + d * (j + 1) * (j + 2) / 2 <= passed:
            j += 1
        while j > 0 and c * j + d * j * (j + 1) / 2 > passed:
            j -= 1
        return j

    def _shorten(self, now: float) -> None:
        """To the first border from now on."""
        if self.m <= 1:
            return
        j = self._steps_by(now)
        if self.t0 + self._c * j + self._d * j * (j + 1) / 2 < now or j == 0:
            j += 1
        if j < self.m:
            self.m = j
            self.ends_at = self.t0 + self._c * j + self._d * j * (j + 1) / 2

    def _stretch(self) -> int:
        """Steps until somebody finishes or the KV cache is full."""
        ends = self._ends
        while ends and (ends[0][2].last_step != ends[0][0] or ends[0][2].replica is not self):
            heappop(ends)
        room = (self._profile.kv_tokens - self.kv_used) // self.decoding
        return min(ends[0][0] - self.steps, room)

    # One step.

    def _chunks(self, budget: int, *, admit: bool) -> int:
        """Share out the step's tokens to those being prefilled, then admit; returns the prompt
        tokens of the step.
        """
        tokens = 0
        for entry in self._prefill:
            entry.chunk = min(entry.left, max(0, budget - tokens))
            tokens += entry.chunk
        if admit and self.waiting and budget > tokens:
            tokens = self._admit(budget, tokens)
        return tokens

    def _admit(self, budget: int, tokens: int) -> int:
        seats, capacity = self._profile.seats, self._profile.kv_tokens
        while self.waiting and tokens < budget and len(self.running) < seats:
            flight = self.waiting[0]
            target = flight.prompt + flight.generated
            # All who decode have grown by one token when the engine looks.
            if self.kv_used + self.decoding + target > capacity:
                break
            self.waiting.popleft()
            self.kv_used += target
            chunk = min(target, budget - tokens)
            tokens += chunk
            self.running[flight] = None
            self._prefill.append(Prefill(flight, target, chunk))
            if flight.admitted < 0:
                flight.admitted = self.t0
        return tokens

    def _prefilled(self, now: float, finished: list[Flight]) -> None:
        """The step's chunks are computed; who has all of his decodes from now on."""
        still: list[Prefill] = []
        for entry in self._prefill:
            entry.left -= entry.chunk
            if entry.left:
                still.append(entry)
                continue
            flight = entry.flight
            self._join(flight, now)
            self.generated_tokens += 1
            if flight.generated >= flight.output:
                self._finish(flight)
                finished.append(flight)
        self._prefill = still

    # Thoughts.

    def _answers_begin(self, last: int) -> None:
        """First answer tokens up to V = last, which lies within the stretch under way."""
        thoughts = self._thoughts
        while thoughts and thoughts[0][0] <= last:
            at, _, flight = heappop(thoughts)
            if flight.first_answer >= 0 or not flight.decoding or flight.replica is not self:
                continue
            if at == flight.since + flight.thinking + 1:
                j = at - self.steps
                self._answer_begins(flight, self.t0 + self._c * j + self._d * j * (j + 1) / 2)

    def _close_all(self, now: float, finished: list[Flight]) -> None:
        closing, self._closing = self._closing, []
        for flight in closing:
            if flight.replica is not self or flight.first_answer >= 0:
                continue
            age = self.generated(flight)
            if age >= flight.thinking:
                continue
            flight.cut, flight.cut_at = True, age
            flight.withheld = flight.thinking - age
            flight.thinking = age
            self._close(flight, finished, costs_prefill=self._cost_prefill)
