"""What must hold for any workload: nothing is exceeded, nobody is lost, nothing is random."""

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from thinkscale.fleet.profile import REFERENCE
from thinkscale.fleet.replica import Replica

TIGHT = replace(REFERENCE, kv_tokens=120, seats=4, step_tokens=16)


@dataclass(frozen=True)
class Arrival:
    """One sequence: submitted before this step."""

    at_step: int
    prompt: int
    output: int
    cached: int
    cancel_after: int | None


ARRIVALS = st.lists(
    st.builds(
        Arrival,
        at_step=st.integers(0, 60),
        prompt=st.integers(1, 60),
        output=st.integers(1, 60),
        cached=st.integers(0, 60),
        cancel_after=st.none() | st.integers(0, 30),
    ),
    max_size=25,
)


@dataclass
class Run:
    """A finished run."""

    trace: list[tuple[object, ...]]
    tokens: dict[int, int]
    finished: dict[int, int]
    first_admissions: list[int]
    cancelled: set[int]


def play(arrivals: list[Arrival]) -> Run:
    """Drive a replica in virtual time until all is done, checking its limits at each step."""
    replica = Replica(TIGHT)
    run = Run([], {}, {}, [], set())
    now, number = 0.0, 0
    while True:
        for sequence, arrival in enumerate(arrivals):
            if arrival.at_step == number:
                replica.submit(sequence, arrival.prompt, arrival.output, arrival.cached)
                run.tokens[sequence] = 0
            due = arrival.cancel_after
            if due is not None and arrival.at_step + due == number and replica.cancel(sequence):
                run.cancelled.add(sequence)
        step = replica.next_step(now)
        number += 1
        if step is None:
            if all(a.at_step < number for a in arrivals):
                return run
            continue
        assert step.seconds > 0
        assert 0 <= replica.kv_used <= TIGHT.kv_tokens
        assert replica.running <= TIGHT.seats
        assert step.decoding + step.prompt_tokens <= TIGHT.step_tokens
        now = step.ends_at
        run.first_admissions += [s for s in step.admitted if s not in run.first_admissions]
        outcome = replica.advance()
        for sequence in outcome.tokens:
            run.tokens[sequence] += 1
        run.finished.update(dict.fromkeys(outcome.finished, number))
        run.trace.append((step, outcome))
        assert number < 20_000


@given(ARRIVALS)
def test_every_sequence_finishes_with_exactly_its_tokens_unless_it_was_cancelled(
    arrivals: list[Arrival],
) -> None:
    run = play(arrivals)
    for sequence, arrival in enumerate(arrivals):
        if sequence in run.cancelled:
            assert run.tokens[sequence] < arrival.output
            assert sequence not in run.finished
        else:
            assert run.tokens[sequence] == arrival.output
            assert sequence in run.finished


@given(ARRIVALS)
def test_sequences_are_first_admitted_in_the_order_of_their_arrival(
    arrivals: list[Arrival],
) -> None:
    admissions = play(arrivals).first_admissions
    assert admissions == sorted(admissions, key=lambda s: (arrivals[s].at_step, s))


@given(ARRIVALS)
def test_the_same_workload_gives_the_same_steps(arrivals: list[Arrival]) -> None:
    assert play(arrivals).trace == play(arrivals).trace


@given(ARRIVALS)
def test_an_empty_replica_holds_nothing(arrivals: list[Arrival]) -> None:
    replica = Replica(TIGHT)
    for sequence, arrival in enumerate(arrivals):
        replica.submit(sequence, arrival.prompt, arrival.output)
    while replica.next_step(0.0) is not None:
        replica.advance()
    assert (replica.kv_used, replica.running, replica.waiting) == (0, 0, 0)
