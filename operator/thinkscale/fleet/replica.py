"""One replica's scheduler as a pure state machine: who waits, who runs, who holds how much KV.

The same core runs in real time (the emulator sleeps until a step's end) and in virtual time (a
simulator sets its clock to it), so it knows no clock: `next_step(now)` says what the step that
begins now does and when it ends, `advance()` carries it out.

Semantics of vLLM's V1 scheduler: first come, first served; a sequence is admitted when a seat is
free and its prompt fits in free KV (nothing is reserved for what it will generate); prompts are
prefilled in chunks and decodes ride along; the last chunk yields the first token; KV grows by one
token a step. When it is full, the *latest admitted* sequence loses its KV, goes back to the head of
the queue and computes prompt and generated tokens anew. A step that preempts admits nobody.
"""

from collections import deque
from dataclasses import dataclass

from thinkscale.fleet.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step does; seconds on the caller's clock."""

    begins_at: float
    ends_at: float
    decoding: int
    context_tokens: int
    """KV tokens resident for the decoding sequences."""
    prompt_tokens: int
    """Prefilled in this step, recomputation included."""
    admitted: tuple[int, ...]
    preempted: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.ends_at - self.begins_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a finished step brought."""

    tokens: tuple[int, ...]
    """Sequences that got one token each, in order of admission."""
    finished: tuple[int, ...]
    """Those of them that have all their tokens now, and left."""


@dataclass(slots=True, kw_only=True)
class _Sequence:
    id: int
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    generated: int = 0
    target: int = 0
    """Tokens whose KV must be there before it can decode: set at admission."""
    computed: int = 0
    held: int = 0
    """KV tokens that it occupies."""
    chunk: int = 0
    """Prompt tokens that the step under way computes."""
    gone: bool = False


class Replica:
    """The queue, the batch and the KV cache of one replica."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.preemptions = 0
        self.kv_used = 0
        self._sequences: dict[int, _Sequence] = {}
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []
        self._decoding: list[_Sequence] | None = None
        self._prefilling: list[_Sequence] = []

    @property
    def running(self) -> int:
        """Sequences that hold a seat."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Sequences without a seat, the preempted included."""
        return len(self._waiting)

    @property
    def kv_usage(self) -> float:
        """Share of the KV cache in use, 0 to 1."""
        return self.kv_used / self.profile.kv_tokens

    def submit(
        self, sequence: int, prompt_tokens: int, output_tokens: int, cached_tokens: int = 0
    ) -> None:
        """Put a sequence at the end of the queue.

        `output_tokens` is when it ends by itself; `cached_tokens` of the prompt need no prefill at
        the first admission (at least one always does). ValueError: it could never fit.
        """
        if prompt_tokens < 1 or output_tokens < 1 or sequence in self._sequences:
            raise ValueError("a new sequence has a fresh id and at least one token of each kind")
        if prompt_tokens + output_tokens > self.profile.kv_tokens:
            raise ValueError("prompt and output exceed the KV cache of a whole replica")
        new = _Sequence(
            id=sequence,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            cached_tokens=min(cached_tokens, prompt_tokens - 1),
        )
        self._sequences[sequence] = new
        self._waiting.append(new)

    def cancel(self, sequence: int) -> bool:
        """Take a sequence out at once; False: it is not here (any more).

        A step under way takes as long as it does; the sequence just gets no token from it.
        """
        found = self._sequences.pop(sequence, None)
        if found is None:
            return False
        found.gone = True
        if found.held:
            self._running.remove(found)
            self._release(found)
        else:
            self._waiting.remove(found)
        return True

    def next_step(self, now: float) -> Step | None:
        """Begin a step; None: there is nothing to do. Each begun step is ended by `advance`."""
        if self._decoding is not None:
            raise RuntimeError("the step under way has not been advanced")
        if not self._sequences:
            return None
        preempted = self._grow()
        decoding = [s for s in self._running if s.computed == s.target]
        budget = self.profile.step_tokens - len(decoding)
        prefilling = [s for s in self._running if s.computed < s.target]
        for sequence in prefilling:
            sequence.chunk = min(sequence.target - sequence.computed, max(0, budget))
            budget -= sequence.chunk
        admitted = [] if preempted else self._admit(budget)
        self._decoding, self._prefilling = decoding, prefilling + admitted
        context = sum(s.held for s in decoding)
        prompt = sum(s.chunk for s in self._prefilling)
        return Step(
            begins_at=now,
            ends_at=now + self.profile.step_seconds(len(decoding), context, prompt),
            decoding=len(decoding),
            context_tokens=context,
            prompt_tokens=prompt,
            admitted=tuple(s.id for s in admitted),
            preempted=tuple(preempted),
        )

    def advance(self) -> Outcome:
        """End the step under way: hand out its tokens, let the finished leave."""
        if self._decoding is None:
            raise RuntimeError("no step is under way")
        ready = [s for s in self._decoding if not s.gone]
        for sequence in self._prefilling:
            sequence.computed += sequence.chunk
            sequence.chunk = 0
            if sequence.computed == sequence.target and not sequence.gone:
                ready.append(sequence)
        self._decoding, self._prefilling = None, []
        finished = []
        for sequence in ready:
            sequence.generated += 1
            if sequence.generated == sequence.output_tokens:
                finished.append(sequence.id)
                self.cancel(sequence.id)
        return Outcome(tokens=tuple(s.id for s in ready), finished=tuple(finished))

    def _grow(self) -> list[int]:
        """One KV token more for each decoding sequence, preempting the latest while it is full."""
        preempted: list[int] = []
        for sequence in tuple(self._running):
            if sequence.computed < sequence.target or not sequence.held:
                continue
            while self.kv_used >= self.profile.kv_tokens:
                preempted.append(self._preempt_latest())
                if not sequence.held:
                    break
            else:
                sequence.held += 1
                sequence.computed = sequence.target = sequence.held
                self.kv_used += 1
        return preempted

    def _preempt_latest(self) -> int:
        victim = self._running.pop()
        self._release(victim)
        victim.cached_tokens = 0
        self._waiting.appendleft(victim)
        self.preemptions += 1
        return victim.id

    def _admit(self, budget: int) -> list[_Sequence]:
        admitted: list[_Sequence] = []
        while self._waiting and budget > 0 and len(self._running) < self.profile.seats:
            head = self._waiting[0]
            target = head.prompt_tokens + head.generated
            if self.kv_used + target > self.profile.kv_tokens:
                break
            self._waiting.popleft()
            head.target = head.held = target
            head.computed = head.cached_tokens
            self.kv_used += target
            head.chunk = min(target - head.computed, budget)
            budget -= head.chunk
            self._running.append(head)
            admitted.append(head)
        return admitted

    def _release(self, sequence: _Sequence) -> None:
        self.kv_used -= sequence.held
        sequence.held = sequence.target = sequence.computed = 0
