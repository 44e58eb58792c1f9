"""The budget machine: never over the maximum, a natural end at it is one, the minimum is held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.gateway.budget import MAX_NUDGES, Action, BudgetMachine, Verdict
from thinkscale.gateway.verify import OVERRUN_TOKENS, Violation

chunks = st.lists(st.integers(1, 5), min_size=1, max_size=30)


@given(limit=st.integers(0, 40), sizes=chunks)
def test_no_thought_is_ever_longer_than_its_limit_whatever_the_chunks(
    limit: int, sizes: list[int]
) -> None:
    machine = BudgetMachine(limit=limit)
    sent = 0
    for size in sizes:
        verdict = machine.judge(size, 0, closed=False, finished=False)
        if verdict.action is Action.CUT:
            sent += verdict.keep
            break
        sent += size
    assert sent == min(limit, sum(sizes))
    assert machine.cut == (sum(sizes) > limit)


@given(limit=st.integers(1, 40))
def test_a_natural_end_exactly_at_the_limit_is_natural(limit: int) -> None:
    machine = BudgetMachine(limit=limit)
    for _ in range(limit):
        assert machine.judge(1, 0, closed=False, finished=False).action is Action.PASS
    assert machine.judge(0, 0, closed=True, finished=False).action is Action.PASS
    assert machine.ended
    assert not machine.cut


@given(sizes=chunks, at=st.integers(0, 20), lowered=st.integers(0, 40))
def test_a_budget_lowered_in_flight_cuts_at_the_next_token_and_never_under_the_minimum(
    sizes: list[int], at: int, lowered: int
) -> None:
    machine = BudgetMachine(limit=1000, minimum=3)
    sent, lowers = 0, False
    for index, size in enumerate(sizes):
        if index == at:
            lowers = machine.closable
            assert lowers == (sent >= 3)
            machine.lower(lowered)
        verdict = machine.judge(size, 0, closed=False, finished=False)
        if verdict.action is Action.CUT:
            sent += verdict.keep
            assert machine.cut_by_load
            assert machine.withheld_tokens == 1000 - sent
            assert not machine.closable
            break
        sent += size
    before = sum(sizes[:at])
    assert sent == (min(sum(sizes), max(before, 3, lowered)) if lowers else sum(sizes))


def test_a_lowered_thought_that_ends_by_itself_with_the_next_token_is_not_cut() -> None:
    machine = BudgetMachine(limit=1000)
    machine.judge(500, 0, closed=False, finished=False)
    machine.lower(400)
    assert machine.judge(2, 0, closed=True, finished=False).action is Action.PASS
    assert machine.ended
    assert not machine.cut
    assert not machine.cut_by_load


def test_a_cut_at_the_declared_budget_is_not_put_down_to_load() -> None:
    machine = BudgetMachine(limit=10)
    machine.lower(700)
    machine.judge(20, 0, closed=False, finished=False)
    assert machine.cut
    assert not machine.cut_by_load
    assert machine.withheld_tokens == 0


def test_load_closes_no_thought_whose_answer_would_not_follow() -> None:
    assert not BudgetMachine(limit=10, stops=True).closable
    assert not BudgetMachine(limit=10, can_force=False).closable
    assert not BudgetMachine(limit=None).closable
    blind = BudgetMachine(limit=10)
    assert blind.closable
    blind.observe_only()
    assert not blind.closable


@given(minimum=st.integers(1, 30), ends=st.lists(st.integers(1, 10), min_size=8, max_size=8))
def test_a_thought_that_ends_too_early_goes_on_until_the_minimum_or_until_it_insists(
    minimum: int, ends: list[int]
) -> None:
    machine = BudgetMachine(limit=None, minimum=minimum)
    thought = rounds = 0
    for size in ends:
        thought += size
        verdict = machine.judge(size, 0, closed=True, finished=False)
        if verdict.action is not Action.EXTEND:
            break
        rounds += 1
    assert thought >= minimum or rounds == MAX_NUDGES
    assert thought - size < minimum
    assert machine.ended


@pytest.mark.parametrize(("used", "cut"), [(38, False), (39, True), (40, True)])
def test_an_end_at_a_native_budget_is_a_cut_even_one_early(used: int, cut: bool) -> None:
    machine = BudgetMachine(limit=40, native=40)
    machine.judge(used, 0, closed=False, finished=False)
    machine.judge(0, 0, closed=True, finished=False)
    assert (machine.cut, machine.ended) == (cut, not cut)
    assert not machine.violated


def test_an_engine_that_overruns_its_native_budget_is_told_on() -> None:
    machine = BudgetMachine(limit=10, native=10, can_force=False)
    assert machine.judge(12, 0, closed=False, finished=False).action is Action.PASS
    assert machine.violated


@given(excess=st.integers(1, 60), forced=st.booleans(), sizes=st.lists(st.integers(1, 4)))
def test_how_a_native_budget_failed_is_told_by_where_the_thought_ends_whoever_cuts(
    excess: int, forced: bool, sizes: list[int]
) -> None:
    """Chunks of these sizes up to the end, which the engine puts `excess` tokens late."""
    machine = BudgetMachine(limit=10, native=10, can_force=forced)
    left, by_us = 10 + excess, False
    for size in [*sizes, left]:
        size = min(size, left)
        left -= size
        if by_us:
            machine.beyond_cut(size, closed=left == 0)
        else:
            verdict = machine.judge(size, 0, closed=left == 0, finished=False)
            by_us = verdict.action is Action.CUT
        if left == 0:
            break
    machine.conclude(machine.thinking)
    assert machine.violated
    late = excess <= OVERRUN_TOKENS
    assert machine.violation is (Violation.OVERRUN if late else Violation.IGNORED)
    assert not machine.held
    assert by_us == forced


def test_estimated_tokens_prove_nothing_and_the_engines_own_count_at_the_end_does() -> None:
    machine = BudgetMachine(limit=10, native=10)
    machine.estimate_only()
    machine.judge(70, 0, closed=False, finished=False)
    machine.judge(0, 1, closed=True, finished=False)
    machine.conclude(None)
    assert not machine.violated
    machine.conclude(10)
    assert not machine.violated
    machine.conclude(11)
    assert machine.violation is Violation.OVERRUN


def test_only_a_thought_that_the_engine_ended_at_its_budget_shows_that_it_holds() -> None:
    held = {}
    for used in range(4, 11):
        machine = BudgetMachine(limit=10, native=10)
        machine.judge(used, 0, closed=False, finished=False)
        machine.judge(0, 0, closed=True, finished=False)
        machine.conclude(used)
        held[used] = machine.held
    assert [used for used, holds in held.items() if holds] == [9, 10]
    by_load = BudgetMachine(limit=10, native=10)
    by_load.judge(9, 0, closed=False, finished=False)
    by_load.lower(9)
    by_load.judge(1, 0, closed=False, finished=False)
    assert by_load.cut_by_load
    assert not by_load.held


def test_a_thought_that_was_made_to_go_on_owes_nothing_to_the_native_budget() -> None:
    machine = BudgetMachine(limit=10, native=10, minimum=8, nudge_tokens=2)
    assert machine.judge(5, 0, closed=True, finished=False).action is Action.EXTEND
    machine.inject(2)
    assert machine.judge(9, 0, closed=False, finished=False) == Verdict(Action.CUT, 3)
    machine.conclude(10)
    assert not machine.violated


@pytest.mark.parametrize(("used", "extended"), [(8, True), (9, False)])
def test_a_nudge_never_makes_a_thought_longer_than_its_maximum(used: int, extended: bool) -> None:
    machine = BudgetMachine(limit=10, minimum=10, nudge_tokens=2)
    verdict = machine.judge(used, 0, closed=True, finished=False)
    assert (verdict.action is Action.EXTEND) == extended


@given(limit=st.integers(0, 20), sizes=chunks)
def test_an_answer_is_stopped_at_its_maximum(limit: int, sizes: list[int]) -> None:
    machine = BudgetMachine(limit=None, answer_limit=limit)
    sent = 0
    for size in sizes:
        verdict = machine.judge(0, size, closed=False, finished=False)
        sent += verdict.keep if verdict.action is Action.STOP else size
        if verdict.action is Action.STOP:
            break
    assert sent == min(limit, sum(sizes))


def test_a_request_that_cannot_be_continued_is_watched_and_not_cut() -> None:
    machine = BudgetMachine(limit=2, can_force=False)
    assert machine.judge(9, 0, closed=False, finished=False).action is Action.PASS


def test_load_does_not_lower_what_cannot_be_cut() -> None:
    """Else the engine's own cut, at the declared budget, would be put down to load."""
    machine = BudgetMachine(limit=40, native=40, can_force=False)
    machine.lower(10)
    machine.judge(40, 0, closed=True, finished=False)
    assert machine.cut
    assert not machine.cut_by_load


def test_a_thought_that_stops_needs_no_continuation() -> None:
    machine = BudgetMachine(limit=5, can_force=False, stops=True)
    machine.observe_only()
    assert machine.judge(8, 0, closed=False, finished=False) == Verdict(Action.CUT, 5)
