"""One limit among several services: by hand, and what must hold for any of them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.scaling.sharing import KEEP, Grant, Member, share


def member(name: str, wished: int, rates: tuple[float, ...] = (), **fields: Any) -> Member:
    base: dict[str, Any] = {
        "priority": 100,
        "gpus_per_replica": 1,
        "min_replicas": 1,
        "held_replicas": 0,
    }
    return Member(name=name, wished_replicas=wished, late_rates=rates, **(base | fields))


def shares(limit: int, *members: Member) -> dict[str, int]:
    return {name: grant.share for name, grant in share(limit, members).items()}


A = member("a", 4, (2, 1.2, 0.5, 0.2, 0.1))
B = member("b", 3, (1, 0.6, 0.3, 0.1))


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (0, {"a": 0, "b": 0}),
        (1, {"a": 1, "b": 0}),
        (2, {"a": 1, "b": 1}),
        (3, {"a": 2, "b": 1}),
        (4, {"a": 3, "b": 1}),
        (5, {"a": 3, "b": 2}),
        (6, {"a": 3, "b": 3}),
        (7, {"a": 4, "b": 3}),
        (99, {"a": 4, "b": 3}),
    ],
)
def test_the_next_gpu_goes_where_most_requests_are_kept_from_being_late(
    limit: int, expected: dict[str, int]
) -> None:
    assert shares(limit, A, B) == expected


def test_a_late_request_weighs_as_much_as_its_priority() -> None:
    assert shares(3, A, replace(B, priority=240)) == {"a": 1, "b": 2}


def test_a_replica_of_four_gpus_must_be_worth_four() -> None:
    large = replace(A, gpus_per_replica=4)
    assert shares(4 + 1 + 4, large, B) == {"a": 1, "b": 3}, ".7 / 4 is less than .2"
    assert shares(4 + 3 + 4, large, B) == {"a": 2, "b": 3}
    assert shares(4 + 1 + 1, large, B) == {"a": 1, "b": 2}, "a smaller one takes what is left over"


def test_minimums_that_do_not_fit_go_by_priority_and_then_one_by_one() -> None:
    low, high = member("a", 3, min_replicas=3, priority=1), member("b", 3, min_replicas=3)
    assert shares(4, low, high) == {"a": 1, "b": 3}
    assert shares(4, replace(low, priority=100), high) == {"a": 2, "b": 2}


def test_two_replicas_that_only_help_together_are_worth_what_they_are_together() -> None:
    starving = member("s", 3, (9, 9, 8.9, 7))
    content = member("t", 3, (9, 0.8, 0.4, 0.2))
    assert shares(4, starving, content) == {"s": 3, "t": 1}, "1 a replica against .4"


def test_a_held_replica_moves_only_for_half_as_much_again() -> None:
    holder = member("h", 2, (1, 0.5, 0.1), held_replicas=2)
    for gain, moves in ((KEEP * 0.4 - 0.01, False), (KEEP * 0.4 + 0.01, True)):
        rival = member("r", 2, (1, 0.9, 0.9 - gain), held_replicas=1)
        assert (shares(3, holder, rival)["r"] == 2) is moves


def test_who_is_not_known_keeps_what_it_has_and_gets_more_only_where_nobody_gains() -> None:
    silent = member("z", 4, held_replicas=2)
    assert shares(5, A, silent) == {"a": 3, "z": 2}
    assert shares(6, A, silent) == {"a": 4, "z": 2}
    assert shares(7, A, silent) == {"a": 4, "z": 3}


def test_nobody_is_granted_what_another_still_holds() -> None:
    rival = replace(A, held_replicas=1)
    holder = member("h", 3, (1, 0.9, 0.89, 0.88), held_replicas=3)
    granted = share(4, (rival, holder))
    assert granted == {"a": Grant(now=1, share=3), "h": Grant(now=1, share=1)}
    halfway = share(4, (rival, replace(holder, held_replicas=2)))
    assert halfway["a"] == Grant(now=2, share=3)
    assert share(4, (rival, replace(holder, held_replicas=1)))["a"] == Grant(now=3, share=3)


def test_what_a_member_itself_is_letting_go_is_not_there_to_be_had_again() -> None:
    coming_back = replace(A, held_replicas=4, leaving_replicas=1)
    other = replace(B, wished_replicas=1)
    assert share(5, (coming_back, replace(other, held_replicas=1)))["a"] == Grant(now=3, share=4)
    assert share(5, (replace(A, held_replicas=3), other))["a"] == Grant(now=4, share=4)
    assert share(6, (coming_back, other))["a"] == Grant(now=4, share=4), "there is room for both"


def test_a_limit_that_was_lowered_is_reached_by_letting_go() -> None:
    granted = share(2, (replace(A, held_replicas=4), replace(B, held_replicas=3)))
    assert granted == {"a": Grant(now=1, share=1), "b": Grant(now=1, share=1)}


def test_a_member_without_gpus_costs_the_others_nothing() -> None:
    free = member("f", 9, gpus_per_replica=0)
    assert shares(3, A, B, free) == {"a": 2, "b": 1, "f": 9}


@st.composite
def pools(draw: st.DrawFn, sizes: tuple[int, ...] = (0, 1, 2, 4, 8)) -> list[Member]:
    made = []
    for name in draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=5)):
        least = draw(st.integers(0, 3))
        made.append(
            member(
                name,
                least + draw(st.integers(0, 6)),
                tuple(draw(st.lists(st.floats(0, 10), max_size=8))),
                priority=draw(st.sampled_from([1, 100, 250])),
                gpus_per_replica=draw(st.sampled_from(sizes)),
                min_replicas=least,
                held_replicas=(held := draw(st.integers(0, 8))),
                leaving_replicas=draw(st.integers(0, held)),
            )
        )
    return made


def gpus(members: list[Member], counts: dict[str, int]) -> int:
    return sum(counts[m.name] * m.gpus_per_replica for m in members)


@given(pools(), st.integers(0, 60))
def test_the_limit_holds_for_the_shares_and_on_the_way_to_them(
    members: list[Member], limit: int
) -> None:
    granted = share(limit, members)
    held = {m.name: m.held_replicas for m in members}
    assert gpus(members, {name: grant.share for name, grant in granted.items()}) <= limit
    leaving = {m.name: m.leaving_replicas for m in members}
    on_the_way = {
        name: max(held[name], leaving[name] + grant.now) for name, grant in granted.items()
    }
    assert gpus(members, on_the_way) <= max(limit, gpus(members, held))
    for m in members:
        assert 0 <= granted[m.name].now <= granted[m.name].share <= m.wished_replicas


@given(pools(), st.integers(0, 60))
def test_minimums_come_before_everything(members: list[Member], limit: int) -> None:
    granted = shares(limit, *members)
    least = {m.name: m.min_replicas for m in members}
    if gpus(members, least) <= limit:
        assert all(granted[name] >= count for name, count in least.items())


@given(pools(), st.integers(0, 60), st.randoms())
def test_the_order_of_the_members_changes_nothing(
    members: list[Member], limit: int, random: Any
) -> None:
    shuffled = random.sample(members, len(members))
    assert share(limit, shuffled) == share(limit, members)


@given(pools(), st.integers(0, 60))
def test_a_higher_limit_never_gives_fewer_gpus(members: list[Member], limit: int) -> None:
    assert gpus(members, shares(limit, *members)) <= gpus(members, shares(limit + 1, *members))


@given(pools(sizes=(2,)), st.integers(0, 60))
def test_with_replicas_of_one_size_a_higher_limit_takes_from_nobody(
    members: list[Member], limit: int
) -> None:
    lower, higher = shares(limit, *members), shares(limit + 1, *members)
    assert all(lower[name] <= higher[name] for name in lower)


@given(pools())
def test_with_room_for_all_everybody_gets_the_wish(members: list[Member]) -> None:
    assert shares(10_000, *members) == {m.name: m.wished_replicas for m in members}


@given(pools(), st.integers(0, 60))
def test_members_that_have_let_go_reach_their_shares(members: list[Member], limit: int) -> None:
    for _ in range(2):  # the first round frees, the second takes
        granted = share(limit, members)
        members = [
            replace(m, held_replicas=granted[m.name].now, leaving_replicas=0) for m in members
        ]
    settled = share(limit, members)
    assert {n: g.now for n, g in settled.items()} == {n: g.share for n, g in settled.items()}
