"""The admission ceiling: seats, KV cache and pace hold, whatever arrives in whatever order."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.model.admission import (
    KV_FILL,
    Ceiling,
    Held,
    Seen,
    admits,
    admits_of_several,
    decayed,
    everybodys,
    fullness,
    shared,
)
from thinkscale.model.step_time import StepTime

STEP = StepTime(
    base_seconds=0.0155,
    sequence_seconds=27e-6,
    context_token_seconds=0.076e-6,
    prompt_token_seconds=51e-6,
)
REFERENCE = Ceiling(seats=128, kv_tokens=290_000, step_time=STEP, step_limit_seconds=0.04275)
prompts = st.lists(st.integers(1, 60_000), max_size=200)


def held(running: int, context: float, stall: float = 0.0) -> Held:
    return Held(running=running, context_tokens=context, stall_seconds=stall)


def test_the_worked_example_is_admitted_and_a_little_more_of_anything_is_not() -> None:
    assert admits(REFERENCE, held(90, 270_000), 1000)
    assert not admits(REFERENCE, held(90, 281_000), 1000)  # 0.97 of the cache is 281,300
    assert not admits(REFERENCE, held(128, 10_000), 1000)
    assert not admits(REFERENCE, held(90, 270_000, stall=3.0), 1000)


def test_an_empty_replica_admits_whatever_comes() -> None:
    assert admits(REFERENCE, held(0, 0, stall=100), 10_000_000)


def test_what_is_not_known_is_no_bound() -> None:
    seats = Ceiling(seats=4)
    assert admits(seats, held(3, 1e9, stall=1e9), 10**9)
    assert not admits(seats, held(4, 0), 1)
    unpaced = Ceiling(seats=4, step_time=STEP)
    assert admits(unpaced, held(3, 1e9, stall=1e9), 10**9)


@given(prompts)
def test_what_is_admitted_one_by_one_keeps_every_bound(sizes: list[int]) -> None:
    running, context, stall = 0, 0, 0.0
    for size in sizes:
        if not admits(REFERENCE, held(running, context, stall), size):
            continue
        running, context = running + 1, context + size
        stall += STEP.prompt_token_seconds * size
        if running > 1:
            assert running <= REFERENCE.seats
            assert context <= KV_FILL * 290_000
            share = min(0.6, stall / 20)
            assert STEP.seconds(running, context) <= 0.04275 * (1 - share)


@given(
    st.integers(1, 200), st.floats(0, 3e5), st.floats(0, 30), st.integers(0, 50_000),
    st.integers(0, 50), st.floats(0, 1e5), st.floats(0, 10), st.integers(0, 10_000),
)  # fmt: skip
def test_more_of_anything_never_opens_a_closed_replica(
    running: int, context: float, stall: float, prompt: int,
    more_running: int, more_context: float, more_stall: float, more_prompt: int,
) -> None:  # fmt: skip
    fuller = held(running + more_running, context + more_context, stall + more_stall)
    if admits(REFERENCE, fuller, prompt + more_prompt):
        assert admits(REFERENCE, held(running, context, stall), prompt)


@given(st.integers(1, 8), st.integers(1, 30), st.integers(100, 9000), st.integers(1, 4000))
def test_gateways_that_hold_equal_parts_keep_the_bound_of_the_whole(
    gateways: int, each: int, context_each: int, prompt: int
) -> None:
    """If one of several with equal parts admits, the sum of all parts keeps cache and pace."""
    part = shared(REFERENCE, gateways)
    if not admits(part, held(each, each * context_each), prompt):
        return
    running, context = gateways * each + 1, gateways * each * context_each + prompt
    assert running <= REFERENCE.seats + gateways
    assert context <= KV_FILL * 290_000
    assert STEP.seconds(running, context) <= 0.04275


@pytest.mark.parametrize(("gateways", "seats", "kv"), [(1, 128, 290_000), (3, 43, 96_666)])
def test_each_gateway_has_its_part_and_one_alone_the_whole(
    gateways: int, seats: int, kv: int
) -> None:
    part = shared(REFERENCE, gateways)
    assert (part.seats, part.kv_tokens) == (seats, kv)
    assert part.step_time is not None
    assert part.step_time.base_seconds == STEP.base_seconds
    assert part.step_time.sequence_seconds == pytest.approx(gateways * STEP.sequence_seconds)
    assert shared(Ceiling(seats=1), 5) == Ceiling(seats=1)


def seen(running: int, context: float, own: int, own_context: float) -> Seen:
    return Seen(
        at=0.0,
        running=running,
        context_tokens=context,
        own_running=own,
        own_context_tokens=own_context,
    )


def test_the_others_have_what_they_had_and_have_sent_as_much_as_this_one() -> None:
    looked = seen(30, 90_000, 10, 30_000)
    now = everybodys(held(12, 36_000, stall=0.5), looked, 3, usual_stall_seconds=0.4)
    assert now == held(12 + 20 + 4, 36_000 + 60_000 + 12_000, stall=0.5 + 0.8)
    fewer = everybodys(held(8, 24_000), looked, 3, usual_stall_seconds=0.0)
    assert fewer == held(28, 84_000)


def test_one_of_several_takes_the_room_that_the_others_leave() -> None:
    """Four gateways, 128 seats: 40 are more than a part of 32, and 60 in all leave room."""
    mine = held(40, 80_000)
    assert not admits_of_several(REFERENCE, mine, None, 1000, 4, 0.0)
    assert admits_of_several(REFERENCE, mine, seen(60, 120_000, 40, 80_000), 1000, 4, 0.0)
    assert not admits_of_several(REFERENCE, mine, seen(128, 120_000, 40, 80_000), 1000, 4, 0.0)
    assert not admits_of_several(REFERENCE, mine, seen(90, 281_000, 40, 80_000), 1000, 4, 0.0)


def test_half_of_its_part_is_a_gateways_own_however_full_the_others_make_the_replica() -> None:
    full = seen(140, 285_000, 10, 20_000)
    assert admits_of_several(REFERENCE, held(10, 20_000), full, 1000, 4, 0.0)
    assert not admits_of_several(REFERENCE, held(17, 34_000), full, 1000, 4, 0.0)


def test_a_gateways_own_prefill_counts_for_that_of_all_who_share_the_replica() -> None:
    """20 with 40,000 tokens are 20.7 ms of a step to each of 2 gateways, within 42.75 ms less the
    share that prefill takes: 4 s of 20 s leave 34.2 ms, twice as much 25.6, and thrice as much no
    room.
    """
    part = held(20, 40_000, stall=4.0)
    assert admits(shared(REFERENCE, 2), part, 1000)
    assert admits_of_several(REFERENCE, part, None, 1000, 2, 0.0)
    stalled = held(20, 40_000, stall=5.5)
    assert admits(shared(REFERENCE, 2), stalled, 1000)
    assert not admits_of_several(REFERENCE, stalled, None, 1000, 2, 0.0)


@given(st.integers(0, 140), st.floats(0, 3e5), st.floats(0, 5), st.integers(1, 20_000))
def test_a_gateway_alone_goes_by_its_own_books(
    running: int, context: float, stall: float, prompt: int
) -> None:
    mine = held(running, context, stall)
    strangers = seen(running + 100, context + 2e5, running, context)
    for looked in (None, seen(running, context, running, context), strangers):
        assert admits_of_several(REFERENCE, mine, looked, prompt, 1, stall) == admits(
            REFERENCE, mine, prompt
        )


def test_the_scarcer_of_seats_and_cache_says_how_full_a_replica_is() -> None:
    assert fullness(REFERENCE, held(64, 29_000)) == 0.5
    assert fullness(REFERENCE, held(64, 290_000)) == 1.0
    assert fullness(Ceiling(seats=8), held(2, 1e9)) == 0.25


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100))
def test_prefill_fades_in_any_number_of_steps_alike(stall: float, one: float, two: float) -> None:
    assert decayed(decayed(stall, one), two) == pytest.approx(decayed(stall, one + two))
    assert decayed(1.0, 20.0) == pytest.approx(math.exp(-1))
