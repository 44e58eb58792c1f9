"""A replica's word: doubted at the first offence, tried again by one request at a time."""

import pytest

from thinkscale.gateway.verify import (
    LONGEST_RETRY_SECONDS,
    NativeTrust,
    Standing,
    Violation,
)


@pytest.mark.parametrize(
    ("cause", "standing"),
    [
        (Violation.IGNORED, Standing.DOUBTED),
        (Violation.OVERRUN, Standing.DOUBTED),
        (Violation.INJECTED, Standing.HARMFUL),
    ],
)
def test_one_offence_is_enough_and_touches_no_other_replica(
    cause: Violation, standing: Standing
) -> None:
    trust = NativeTrust(10)
    assert trust.standing("a", 0) is Standing.TRUSTED
    trust.broke("a", cause, 0)
    assert trust.standing("a", 9.9) is standing
    assert trust.standing("b", 9.9) is Standing.TRUSTED
    assert list(trust.doubted) == ["a"]


def test_when_the_time_is_up_one_request_tries_and_the_next_one_only_when_that_proved_nothing() -> (
    None
):
    trust = NativeTrust(10)
    trust.broke("a", Violation.IGNORED, 0)
    assert not trust.sends("a", 5)
    assert trust.standing("a", 10) is Standing.TRUSTED
    assert trust.sends("a", 10)
    assert trust.standing("a", 10) is Standing.DOUBTED
    assert not trust.sends("a", 11)
    trust.tried("a")
    assert trust.standing("a", 12) is Standing.TRUSTED
    assert trust.sends("a", 12)
    trust.held("a")
    assert trust.standing("a", 12) is Standing.TRUSTED
    assert not trust.doubted
    assert not trust.sends("a", 12)


def test_every_return_that_fails_doubles_the_time_up_to_an_hour() -> None:
    trust = NativeTrust(300)
    now, waits = 0.0, []
    trust.broke("a", Violation.OVERRUN, now)
    for _ in range(6):
        begun = now
        while trust.standing("a", now) is not Standing.TRUSTED:
            now += 100
        waits.append(now - begun)
        assert trust.sends("a", now)
        trust.broke("a", Violation.OVERRUN, now)
    assert waits == [300, 600, 1200, 2400, LONGEST_RETRY_SECONDS, LONGEST_RETRY_SECONDS]


def test_requests_that_were_under_way_at_the_first_offence_make_it_no_worse() -> None:
    trust = NativeTrust(10)
    for at in range(9):
        trust.broke("a", Violation.IGNORED, at)
    assert trust.standing("a", 10) is Standing.TRUSTED


def test_who_was_not_ready_starts_anew() -> None:
    trust = NativeTrust(10)
    for name in "ab":
        trust.broke(name, Violation.INJECTED, 0)
    for name in "cd":
        trust.refused(name)
    trust.keep({"a", "c"})
    standings = [trust.standing(name, 1) for name in "abcd"]
    assert standings == [Standing.HARMFUL, Standing.TRUSTED, Standing.ABSENT, Standing.TRUSTED]
