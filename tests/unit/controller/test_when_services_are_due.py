"""The schedule: the earliest wish wins, a busy key waits, a burst becomes two ticks."""

import asyncio

import pytest

from thinkscale.controller.schedule import Schedule


@pytest.fixture
async def schedule() -> Schedule:
    return Schedule(asyncio.get_running_loop().time, gap_seconds=0.1)


async def due(schedule: Schedule, within: float = 1.0) -> str:
    async with asyncio.timeout(within):
        return await schedule.next()


async def test_keys_come_in_the_order_of_their_times(schedule: Schedule) -> None:
    schedule.want("late", 0.1)
    schedule.want("soon", 0.02)
    schedule.want("now")
    assert [await due(schedule) for _ in range(3)] == ["now", "soon", "late"]


async def test_an_earlier_wish_replaces_a_later_one_and_not_the_reverse(schedule: Schedule) -> None:
    schedule.want("a", 50)
    schedule.want("a", 0.02)
    schedule.want("a", 60)
    assert await due(schedule) == "a"
    with pytest.raises(TimeoutError):
        await due(schedule, 0.05)


async def test_an_event_wakes_a_waiting_loop(schedule: Schedule) -> None:
    schedule.want("later", 50)
    waiting = asyncio.create_task(due(schedule))
    await asyncio.sleep(0)
    schedule.want("now")
    assert await waiting == "now"


async def test_a_key_is_never_handed_out_twice_at_once(schedule: Schedule) -> None:
    schedule.want("a")
    assert await due(schedule) == "a"
    schedule.want("a")
    with pytest.raises(TimeoutError):
        await due(schedule, 0.05)
    schedule.done("a")
    assert await due(schedule) == "a"


async def test_a_busy_key_does_not_hold_up_another(schedule: Schedule) -> None:
    schedule.want("a")
    assert await due(schedule) == "a"
    schedule.want("a")
    schedule.want("b")
    assert await due(schedule) == "b"


async def test_a_burst_is_one_tick_now_and_one_after_the_gap(schedule: Schedule) -> None:
    clock = asyncio.get_running_loop().time
    schedule.want("a")
    assert await due(schedule) == "a"
    schedule.done("a")
    ended = clock()
    for _ in range(10):
        schedule.want("a")
    assert await due(schedule) == "a"
    assert clock() - ended >= 0.1
    schedule.done("a")
    with pytest.raises(TimeoutError):
        await due(schedule, 0.2)


async def test_what_is_forgotten_leaves_nothing_and_takes_no_wish_along(schedule: Schedule) -> None:
    for key in ("gone", "wanted"):
        schedule.want(key)
        assert await due(schedule) == key
    schedule.want("wanted")
    for key in ("gone", "wanted"):
        schedule.done(key)
        schedule.forget(key)
    assert await due(schedule) == "wanted"
    schedule.want("gone")
    assert await due(schedule, 0.05) == "gone", "no pause is remembered"
