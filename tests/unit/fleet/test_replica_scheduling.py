"""Who waits, who runs, who is preempted: stories with small numbers."""

from dataclasses import replace

import pytest

from thinkscale.fleet.profile import REFERENCE, Profile
from thinkscale.fleet.replica import Outcome, Replica, Step

SMALL = replace(
    REFERENCE,
    base_seconds=1.0,
    sequence_seconds=0.1,
    context_token_seconds=0.001,
    prompt_token_seconds=0.01,
    kv_tokens=100,
    seats=3,
    step_tokens=20,
)


def step(replica: Replica, now: float = 0.0) -> tuple[Step, Outcome]:
    begun = replica.next_step(now)
    assert begun is not None
    return begun, replica.advance()


def replica_of(profile: Profile = SMALL) -> Replica:
    return Replica(profile)


def test_an_idle_replica_has_no_step() -> None:
    assert replica_of().next_step(0.0) is None


def test_the_prefill_step_yields_the_first_token() -> None:
    replica = replica_of()
    replica.submit(1, prompt_tokens=15, output_tokens=2)
    begun, outcome = step(replica, now=10.0)
    assert begun.admitted == (1,)
    assert begun.ends_at == pytest.approx(10.0 + 1.0 + 15 * 0.01)
    assert outcome == Outcome(tokens=(1,), finished=())


def test_a_decode_step_pays_for_its_sequences_and_their_context() -> None:
    replica = replica_of()
    replica.submit(1, prompt_tokens=15, output_tokens=2)
    step(replica)
    begun, outcome = step(replica)
    assert (begun.decoding, begun.context_tokens, begun.prompt_tokens) == (1, 16, 0)
    assert begun.seconds == pytest.approx(1.0 + 0.1 + 16 * 0.001)
    assert outcome.finished == (1,)
    assert replica.next_step(0.0) is None


def test_a_long_prompt_is_prefilled_in_chunks_while_decodes_ride_along() -> None:
    replica = replica_of()
    replica.submit(1, prompt_tokens=5, output_tokens=50)
    step(replica)
    replica.submit(2, prompt_tokens=45, output_tokens=5)
    steps = [step(replica) for _ in range(3)]
    assert [begun.prompt_tokens for begun, _ in steps] == [19, 19, 7]
    assert [outcome.tokens for _, outcome in steps] == [(1,), (1,), (1, 2)]


def test_cached_tokens_need_no_prefill_but_one_always_does() -> None:
    replica = replica_of()
    replica.submit(1, prompt_tokens=18, output_tokens=2, cached_tokens=16)
    replica.submit(2, prompt_tokens=10, output_tokens=2, cached_tokens=10)
    begun, outcome = step(replica)
    assert begun.prompt_tokens == 2 + 1
    assert outcome.tokens == (1, 2)


def test_seats_are_never_exceeded_and_the_queue_moves_in_order() -> None:
    replica = replica_of()
    for sequence in range(1, 6):
        replica.submit(sequence, prompt_tokens=2, output_tokens=sequence)
    begun, outcome = step(replica)
    assert begun.admitted == (1, 2, 3)
    assert (replica.running, replica.waiting) == (2, 2)
    assert outcome.finished == (1,)
    assert step(replica)[0].admitted == (4,)


def test_a_prompt_that_does_not_fit_waits_and_holds_back_those_behind_it() -> None:
    replica = replica_of()
    replica.submit(1, prompt_tokens=60, output_tokens=9)
    replica.submit(2, prompt_tokens=50, output_tokens=9)
    replica.submit(3, prompt_tokens=1, output_tokens=9)
    for _ in range(3):
        step(replica)
    assert (replica.running, replica.waiting) == (1, 2)


def test_a_full_cache_preempts_the_latest_which_recomputes_what_it_had() -> None:
    replica = replica_of()
    replica.submit(1, prompt_tokens=10, output_tokens=60)
    replica.submit(2, prompt_tokens=10, output_tokens=60)
    got = {1: 0, 2: 0}
    preempted: Step | None = None
    while preempted is None:
        begun, outcome = step(replica)
        for sequence in outcome.tokens:
            got[sequence] += 1
        preempted = begun if begun.preempted else None
    assert preempted.preempted == (2,)
    assert preempted.admitted == ()
    assert replica.preemptions == 1
    assert (replica.running, replica.waiting) == (1, 1)
    before = got[2]
    while replica.running < 2:
        replica.next_step(0.0)
        for sequence in replica.advance().tokens:
            got[sequence] += 1
        if got[1] == 60:
            break
    begun, _ = step(replica)
    assert begun.admitted == (2,)
    # Its prompt and all it had generated, in chunks of at most a step's tokens.
    assert begun.prompt_tokens == 20
    assert got[2] == before
    total = begun.prompt_tokens
    while True:
        begun, outcome = step(replica)
        total += begun.prompt_tokens
        if outcome.tokens:
            break
    assert total == 10 + before


def test_a_cancelled_sequence_leaves_at_once_and_gets_nothing_from_the_step_under_way() -> None:
    replica = replica_of()
    replica.submit(1, prompt_tokens=5, output_tokens=9)
    replica.submit(2, prompt_tokens=5, output_tokens=9)
    assert replica.next_step(0.0) is not None
    assert replica.cancel(1)
    assert replica.running == 1
    assert replica.advance().tokens == (2,)
    assert not replica.cancel(1)


def test_a_waiting_sequence_can_be_cancelled() -> None:
    replica = replica_of()
    for sequence in range(1, 5):
        replica.submit(sequence, prompt_tokens=2, output_tokens=9)
    step(replica)
    assert replica.waiting == 1
    assert replica.cancel(4)
    assert replica.waiting == 0


def test_what_could_never_fit_is_refused() -> None:
    replica = replica_of()
    with pytest.raises(ValueError, match="exceed the KV cache"):
        replica.submit(1, prompt_tokens=60, output_tokens=41)
    replica.submit(1, prompt_tokens=60, output_tokens=40)
    with pytest.raises(ValueError, match="fresh id"):
        replica.submit(1, prompt_tokens=1, output_tokens=1)


def test_a_step_must_be_advanced_before_the_next() -> None:
    replica = replica_of()
    replica.submit(1, prompt_tokens=2, output_tokens=2)
    with pytest.raises(RuntimeError, match="no step"):
        replica.advance()
    replica.next_step(0.0)
    with pytest.raises(RuntimeError, match="not been advanced"):
        replica.next_step(0.0)
