"""Who is at a replica in virtual time, and what they hold: exact, by sequence and by gateway.

It counts in steps and knows no clock: a counter V of steps done stands for all ages (a decoding
sequence has `V - since` tokens), and two heaps say at which V the next one has all its tokens or
begins its answer. An entry that is no longer true is left in its heap and passed over when it
comes up. What a step costs, and when it ends, is `VirtualReplica`'s.
"""

from collections import deque
from collections.abc import Callable
from heapq import heappush

from thinkscale.simulation.flight import Flight

Heap = list[tuple[int, int, Flight]]
Listener = Callable[[Flight, float], None]


class Prefill:
    """A sequence whose tokens are being computed."""

    __slots__ = ("chunk", "flight", "left")

    def __init__(self, flight: Flight, left: int, chunk: int) -> None:
        self.flight = flight
        self.left = left
        self.chunk = chunk
        """Of the step under way."""


def ignore(flight: Flight, now: float) -> None:
    """Nobody listens."""


class Batch:
    """The queue, the batch and the KV cache of one replica of `gateways` gateways."""

    __slots__ = (
        "_counter", "_ends", "_on_answer", "_on_first_token", "_prefill", "_thoughts", "ages",
        "context", "counts", "decoding", "decoding_counts", "kv_used", "pending_tokens",
        "preemptions", "running", "steps", "waiting",
    )  # fmt: skip

    def __init__(self, gateways: int, on_first_token: Listener, on_answer: Listener) -> None:
        self._on_first_token = on_first_token
        self._on_answer = on_answer
        self.steps = 0
        """V."""
        self.decoding = 0
        """b."""
        self.context = 0
        """K at the last border: KV tokens of the decoding sequences."""
        self.kv_used = 0
        """K, and what the sequences hold that are prefilled."""
        self.running: dict[Flight, None] = {}
        """In order of admission."""
        self.waiting: deque[Flight] = deque()
        """Without a seat, the preempted included."""
        self._prefill: list[Prefill] = []
        self._ends: Heap = []
        self._thoughts: Heap = []
        self._counter = 0
        self.preemptions = 0
        self.counts = [0] * gateways
        """Requests here, by gateway."""
        self.decoding_counts = [0] * gateways
        self.ages = [0] * gateways
        """Sum of `prompt - since` over the decoding ones: with V it gives their context."""
        self.pending_tokens = [0] * gateways
        """Of those that do not decode: their prompts and tokens so far."""

    def generated(self, flight: Flight) -> int:
        """Tokens of a flight up to the last border: call the replica's `sync` before."""
        return self.steps - flight.since if flight.decoding else flight.generated

    def _join(self, flight: Flight, now: float) -> None:
        gateway, steps = flight.gateway, self.steps
        held = flight.prompt + flight.generated
        self.pending_tokens[gateway] -= held
        flight.generated += 1
        flight.decoding = True
        flight.since = steps - flight.generated
        self.decoding += 1
        self.context += held
        self.decoding_counts[gateway] += 1
        self.ages[gateway] += flight.prompt - flight.since
        if flight.first_token < 0:
            flight.first_token = now
            self._on_first_token(flight, now)
        self._expect(flight)
        if flight.first_answer < 0 and flight.answer:
            if flight.generated > flight.thinking:
                self._answer_begins(flight, now)
            else:
                self._expect_answer(flight)

    def _expect(self, flight: Flight) -> None:
        """It will have all its tokens when V is so far."""
        flight.last_step = flight.since + flight.output
        self._counter += 1
        heappush(self._ends, (flight.last_step, self._counter, flight))

    def _expect_answer(self, flight: Flight) -> None:
        """It will begin its answer when V is so far."""
        self._counter += 1
        at = flight.since + flight.thinking + 1
        heappush(self._thoughts, (at, self._counter, flight))

    def _leave_batch(self, flight: Flight) -> None:
        """It gives up its KV, and its seat; counts stay exact."""
        del self.running[flight]
        gateway = flight.gateway
        if flight.decoding:
            flight.generated = self.steps - flight.since
            flight.decoding = False
            flight.last_step = -1
            held = flight.prompt + flight.generated - 1
            self.decoding -= 1
            self.context -= held
            self.kv_used -= held
            self.decoding_counts[gateway] -= 1
            self.ages[gateway] -= flight.prompt - flight.since
            self.pending_tokens[gateway] += flight.prompt + flight.generated
        else:
            self.kv_used -= flight.prompt + flight.generated
            self._prefill = [entry for entry in self._prefill if entry.flight is not flight]

    def _preempt_latest(self) -> None:
        flight = next(reversed(self.running))
        self._leave_batch(flight)
        self.waiting.appendleft(flight)
        self.preemptions += 1

    def _finish(self, flight: Flight) -> None:
        self._leave_batch(flight)
        self._count(flight, -1)
        flight.replica = None

    def _count(self, flight: Flight, change: int) -> None:
        self.counts[flight.gateway] += change
        self.pending_tokens[flight.gateway] += change * (flight.prompt + flight.generated)

    def _answer_begins(self, flight: Flight, now: float) -> None:
        flight.first_answer = now
        self._on_answer(flight, now)

    def _close(self, flight: Flight, finished: list[Flight], *, costs_prefill: bool) -> None:
        """Its thought ends now: its answer follows, if it has one."""
        if not flight.answer:
            if flight in self.running:
                self._finish(flight)
            else:
                self.waiting.remove(flight)
                self._count(flight, -1)
                flight.replica = None
            finished.append(flight)
            return
        if flight.decoding and costs_prefill:
            self._leave_batch(flight)
            self.waiting.append(flight)
        elif flight.decoding:
            self._expect(flight)
            self._expect_answer(flight)
