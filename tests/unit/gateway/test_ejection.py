"""A replica that fails is left alone and comes back by single requests; a cold one is spared."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.gateway.health import (
    FAILURES,
    LONGEST_OUT_SECONDS,
    OUT_SECONDS,
    SLOW_START_SECONDS,
    Health,
)
from thinkscale.gateway.routing import Replica, Router
from thinkscale.model.admission import Ceiling


@dataclass(frozen=True)
class Asked:
    """A request's handle."""

    number: int
    prompt_tokens: int = 100
    conversation: None = None


def fleet(**ready: bool) -> list[Replica]:
    return [Replica(name=name, url=f"http://{name}", ready=yes) for name, yes in ready.items()]


def router_of(*, seats: int | None = None, now: float = 0.0, **ready: bool) -> Router[Asked]:
    ceiling = None if seats is None else Ceiling(seats=seats)
    router: Router[Asked] = Router(ceiling=ceiling, work=lambda name: 0.0)
    router.locate(fleet(**ready), now)
    return router


def places(router: Router[Asked], count: int, now: float) -> str:
    """Where so many requests go, each gone before the next one comes."""
    names = ""
    for number in range(count):
        placed = router.submit(Asked(number), now)
        assert placed is not None
        names += placed.replica.name
        router.release(placed.replica.name, 100)
    return names


def eject(router: Router[Asked], name: str, now: float) -> None:
    assert [router.failed(name, now) for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]


def test_failures_in_a_row_put_a_replica_out_and_one_success_between_them_does_not() -> None:
    router = router_of(a=True, b=True)
    for _ in range(3):
        for _ in range(FAILURES - 1):
            assert not router.failed("a", 100)
        router.succeeded("a")
    assert places(router, 2, 100) == "aa"
    eject(router, "a", 100)
    assert places(router, 2, 100) == "bb"
    assert router.out(100) == ["a"]
    assert not router.another("b", 100)


def test_one_request_tries_a_replica_whose_time_is_up_and_decides() -> None:
    router = router_of(a=True, b=True)
    eject(router, "a", 100)
    back = 100 + OUT_SECONDS
    trying = router.submit(Asked(1), back)
    assert trying is not None
    assert trying.replica.name == "a"
    assert places(router, 3, back) == "bbb"
    assert router.succeeded("a")
    assert not router.succeeded("a")
    router.release("a", 100)
    assert places(router, 1, back) == "a"


def test_a_trial_that_decides_nothing_is_followed_by_another_one() -> None:
    router = router_of(a=True, b=True)
    eject(router, "a", 100)
    for _ in range(2):
        trying = router.submit(Asked(1), 100 + OUT_SECONDS)
        assert trying is not None
        assert trying.replica.name == "a"
        router.release("a", 100)  # its client hung up


def test_every_trial_that_fails_doubles_the_time() -> None:
    health, now, waits = Health(), 0.0, []
    for _ in range(FAILURES):
        health.failed(now)
    for _ in range(6):
        begun = now
        while not health.admits(now):
            now += 1.0
        waits.append(now - begun)
        health.sent()
        assert not health.admits(now)
        assert health.failed(now)
    assert waits == [5, 10, 20, 40, 80, LONGEST_OUT_SECONDS]
    while not health.admits(now):
        now += 1.0
    assert health.succeeded()
    assert health == Health()


@given(st.lists(st.sampled_from(["fail", "succeed", "send", "release", "wait"]), max_size=60))
def test_it_is_never_out_for_good_and_never_out_after_a_success(happens: list[str]) -> None:
    health, now = Health(), 0.0
    for what in happens:
        now += 1.0
        if what == "fail":
            health.failed(now)
        elif what == "succeed":
            health.succeeded()
            assert health.admits(now)
        elif what == "send":
            health.sent()
        elif what == "release":
            health.released()
        else:
            now += OUT_SECONDS
    health.released()
    assert health.admits(now + LONGEST_OUT_SECONDS)


def test_a_fleet_that_fails_as_a_whole_is_tried_all_the_same() -> None:
    router = router_of(a=True, b=True)
    eject(router, "a", 100)
    eject(router, "b", 100)
    assert places(router, 2, 100) == "aa"
    assert router.another("a", 100)


def test_who_is_out_gets_nothing_even_when_the_others_are_full() -> None:
    router = router_of(a=True, b=True, seats=1)
    eject(router, "a", 100)
    assert router.submit(Asked(1), 100) is not None
    assert router.submit(Asked(2), 100) is None
    assert [a.replica.name for a in router.assign(100 + OUT_SECONDS)] == ["a"]


def test_a_replica_that_became_ready_again_starts_anew() -> None:
    router = router_of(a=True, b=True)
    eject(router, "a", 100)
    router.locate(fleet(a=False, b=True), 101)
    router.locate(fleet(a=True, b=True), 102)
    assert router.out(102) == []


@pytest.mark.parametrize(
    ("seconds", "cold"), [(0.0, 2), (SLOW_START_SECONDS / 2, 4), (SLOW_START_SECONDS, 6)]
)
def test_a_cold_replica_gets_a_part_of_its_share_that_grows(seconds: float, cold: int) -> None:
    router = router_of(a=True, seats=64)
    router.locate(fleet(a=True, b=True), 1000)
    placed = [router.submit(Asked(n), 1000 + seconds) for n in range(12)]
    assert sum(p is not None and p.replica.name == "b" for p in placed) == cold


def test_nobody_waits_for_a_cold_replica_to_be_warm() -> None:
    router = router_of(a=True, seats=2)
    router.locate(fleet(a=True, b=True), 1000)
    placed = [router.submit(Asked(n), 1000) for n in range(4)]
    assert sorted(p.replica.name for p in placed if p is not None) == ["a", "a", "b", "b"]


def test_a_fleet_that_is_cold_as_a_whole_shares_evenly() -> None:
    router = router_of(now=1000, seats=64, a=True, b=True, c=True)
    placed = [router.submit(Asked(n), 1000) for n in range(9)]
    names = [p.replica.name for p in placed if p is not None]
    assert {name: names.count(name) for name in "abc"} == {"a": 3, "b": 3, "c": 3}
