"""The clairvoyant's plan: occupancy by hand, levels, valleys, and the best of several plans."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.fleet.profile import REFERENCE
from thinkscale.simulation.clairvoyance import (
    CELL_SECONDS,
    Levels,
    bridged,
    occupancy,
    plan,
    steps,
)
from thinkscale.simulation.stitching import Tried, stitch
from thinkscale.simulation.workload import Workload


def levels(*values: int) -> Levels:
    return np.array(values, dtype=np.int64)


def four_at_once() -> Workload:
    return Workload(
        name="four",
        at_seconds=np.zeros(4),
        prompt_tokens=np.full(4, 10_000),
        thinking_tokens=np.full(4, 900),
        answer_tokens=np.full(4, 100),
    )


def test_the_occupancy_grows_with_what_was_generated_and_ends_with_the_output() -> None:
    occupied = occupancy(four_at_once(), REFERENCE, 0.04, 100.0)
    assert occupied[0] == pytest.approx(40_000 / 290_000)
    assert occupied[2] == pytest.approx(42_000 / 290_000)
    assert occupied[3] == pytest.approx(43_000 / 290_000)
    assert occupied[4:] == pytest.approx(0)


def test_where_seats_are_scarcer_they_count() -> None:
    many = Workload(
        name="many",
        at_seconds=np.zeros(64),
        prompt_tokens=np.full(64, 10),
        thinking_tokens=np.full(64, 900),
        answer_tokens=np.full(64, 100),
    )
    assert occupancy(many, REFERENCE, 0.04, 100.0)[0] == 0.5


def test_the_plan_of_the_docstring() -> None:
    wanted = np.array([1.32, 1.32, 2.31])
    now = plan(wanted, 0.2, boot_seconds=0, look_seconds=0, limits=(1, 9))
    assert now.tolist() == [2, 2, 3]
    ahead = plan(wanted, 0.2, boot_seconds=0, look_seconds=10, limits=(1, 9))
    assert ahead.tolist() == [2, 3, 3]
    assert plan(wanted, 0.2, boot_seconds=0, look_seconds=0, limits=(1, 2)).tolist() == [
        2,
        2,
        2,
    ]


def test_valleys_shorter_than_a_boot_are_bridged_height_by_height() -> None:
    assert bridged(levels(3, 1, 2, 3), 4).tolist() == [3, 3, 3, 3]
    assert bridged(levels(3, 1, 2, 3), 2).tolist() == [3, 2, 2, 3]
    assert bridged(levels(3, 1, 2, 3), 1).tolist() == [3, 1, 2, 3]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=40), st.integers(0, 8))
def test_bridging_only_adds_and_leaves_no_short_valley(values: list[int], cells: int) -> None:
    before = levels(*values)
    after = bridged(before, cells)
    assert np.all(after >= before)
    assert after.max() == before.max()
    assert np.array_equal(bridged(after, cells), after)


def test_steps_are_where_the_level_changes() -> None:
    assert steps(levels(3, 3, 2)) == ((0.0, 20.0), (3, 2))
    assert steps(levels(1)) == ((0.0,), (1,))


def tried(values: Levels, *missed: float) -> Tried:
    return Tried(levels=values, missed=np.array(missed))


def test_each_block_comes_from_the_plan_that_is_cheap_enough_there() -> None:
    rich = tried(np.full(40, 3), 0, 0, 0, 0)
    poor = tried(np.full(40, 2), 0, 9, 50, 0)
    both = stitch([rich, poor], 10, first_cell=0, block_cells=10, boot_seconds=30)
    assert both is not None
    assert both.missed == 9
    assert both.levels.tolist() == [2] * 20 + [3] * 10 + [2] * 10


def test_a_change_that_costs_more_boots_than_it_saves_is_not_made() -> None:
    rich = tried(np.full(40, 3), 0, 0, 0, 0)
    poor = tried(np.full(40, 2), 50, 0, 50, 0)
    dear = stitch([rich, poor], 10, first_cell=0, block_cells=10, boot_seconds=150)
    assert dear is not None
    assert dear.levels.tolist() == [3] * 30 + [2] * 10


def test_where_no_plan_is_good_enough_there_is_none() -> None:
    assert (
        stitch([tried(np.full(20, 2), 5, 6)], 10, first_cell=0, block_cells=10, boot_seconds=1)
        is None
    )


def test_what_is_before_the_scored_time_goes_with_the_first_block() -> None:
    first, second = tried(np.full(25, 2), 0, 9), tried(np.full(25, 3), 0, 0)
    both = stitch([first, second], 0, first_cell=5, block_cells=10, boot_seconds=0)
    assert both is not None
    assert both.levels.tolist() == [2] * 15 + [3] * 10
    assert CELL_SECONDS == 10
