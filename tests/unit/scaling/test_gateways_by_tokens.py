"""Gateways come at once with the tokens that pass, and go slowly."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scaling.builders import at, make_fleet, make_signals, observe
from thinkscale.model.observation import MergedSignals, Observation
from thinkscale.model.reading import Absent, Failed, Reading
from thinkscale.scaling import gateways
from thinkscale.scaling.gateways import STEP_SECONDS, TOKENS_PER_SECOND, WINDOW_SECONDS, Passed

TICK_SECONDS = 15.0


def heard(tokens: float, *, complete: bool = True, epoch: str = "e") -> Observation:
    half = round(tokens / 2)
    signals = make_signals(tokens=half, answer_tokens=half)
    return observe(make_fleet(), signals, complete=complete, epoch=epoch)


def told(reading: Reading[MergedSignals]) -> Observation:
    return observe(make_fleet(), reading, epoch="e")


class Story:
    """One service's gateways, tick by tick."""

    def __init__(self, least: int = 1, most: int = 8) -> None:
        self.least, self.most = least, most
        self.size, self.passed = least, Passed()
        self.now, self.tokens = 0.0, 0.0

    def tick(self, rate: float, seconds: float = TICK_SECONDS, *, complete: bool = True) -> int:
        self.now += seconds
        self.tokens += rate * seconds
        return self.see(heard(self.tokens, complete=complete))

    def see(self, observation: Observation) -> int:
        self.size, self.passed = gateways.size(
            self.least, self.most, self.size, self.passed, observation, at(self.now)
        )
        return self.size

    def ticks(self, rates: Sequence[float]) -> list[int]:
        return [self.tick(rate) for rate in rates]


def test_they_come_with_the_rate_of_the_last_seconds() -> None:
    assert Story().ticks([0, 9_000, 26_000, 71_000, 500_000]) == [1, 1, 3, 8, 8]


def test_they_go_one_a_minute_five_minutes_after_the_last_that_needed_them() -> None:
    story = Story()
    story.ticks([0, 26_000])
    calm = story.ticks([5_000] * 40)
    changes = [number for number in range(1, 40) if calm[number] != calm[number - 1]]
    assert [calm[0], *(calm[number] for number in changes)] == [3, 2, 1]
    assert (changes[0] + 1) * TICK_SECONDS >= WINDOW_SECONDS
    assert (changes[1] - changes[0]) * TICK_SECONDS >= STEP_SECONDS


def test_a_peak_within_the_five_minutes_keeps_them() -> None:
    story = Story()
    assert min(story.ticks([0, 26_000, *([5_000] * 18 + [25_000]) * 4])[1:]) == 3


def test_a_process_that_has_just_started_shrinks_nothing_for_five_minutes() -> None:
    story = Story()
    story.size = 4
    sizes = story.ticks([1_000] * 40)
    assert sizes[: int(WINDOW_SECONDS / TICK_SECONDS)] == [4] * 20
    assert sizes[-1] == 1


@pytest.mark.parametrize(
    "reading", [Absent(reason="none yet"), Failed(error="silent", age_seconds=20, source="g")]
)
def test_what_was_not_heard_shrinks_nothing_and_the_wait_begins_anew(
    reading: Reading[MergedSignals],
) -> None:
    story = Story()
    story.ticks([0, 26_000, *[5_000] * 18])
    story.now += TICK_SECONDS
    assert story.see(told(reading)) == 3
    assert min(story.ticks([5_000] * 20)) == 3
    assert story.ticks([5_000] * 10)[-1] == 1


def test_a_part_of_the_gateways_is_a_lower_bound() -> None:
    story = Story()
    story.ticks([0, 26_000])
    assert [story.tick(5_000, complete=False) for _ in range(40)] == [3] * 40
    assert story.tick(45_000, complete=False) == 5


@pytest.mark.parametrize("what", ["another life of the operator", "fewer tokens than before"])
def test_totals_that_began_anew_are_no_rate(what: str) -> None:
    story = Story()
    story.ticks([0, 26_000])
    story.now += TICK_SECONDS
    anew = heard(9e9, epoch="f") if what.startswith("another") else heard(10)
    assert story.see(anew) == 3


def test_two_looks_close_together_are_no_rate() -> None:
    story = Story()
    story.ticks([0, 5_000])
    assert [story.tick(90_000, seconds=1.0) for _ in range(4)] == [1] * 4
    assert story.tick(90_000, seconds=1.0) == 8


RATES = st.lists(st.floats(0, 200_000), min_size=1, max_size=60)
LIMITS = st.tuples(st.integers(1, 4), st.integers(0, 8)).map(lambda each: (each[0], sum(each)))


@settings(max_examples=60, deadline=None)
@given(rates=RATES, limits=LIMITS)
def test_within_the_limits_never_less_than_the_rate_asks_for_and_never_two_at_once(
    rates: list[float], limits: tuple[int, int]
) -> None:
    story = Story(*limits)
    story.tick(0)
    sizes = story.ticks(rates)
    for before, (size, rate) in zip(
        [story.least, *sizes], zip(sizes, rates, strict=True), strict=False
    ):
        assert story.least <= size <= story.most
        assert size >= before - 1
        assert size >= min(story.most, (rate - 1) / TOKENS_PER_SECOND)


@settings(max_examples=40, deadline=None)
@given(rates=RATES, steady=st.floats(0, 100_000))
def test_a_steady_rate_ends_at_what_it_needs(rates: list[float], steady: float) -> None:
    story = Story()
    story.ticks(rates)
    size = story.ticks([steady] * 60)[-1]
    assert (size - 1) * TOKENS_PER_SECOND - 10 <= steady
    assert size == story.most or size * TOKENS_PER_SECOND + 10 >= steady


def test_equal_limits_are_the_size() -> None:
    story = Story(least=2, most=2)
    story.size = 5
    assert story.ticks([0, 90_000, 0]) == [2, 2, 2]
