"""Intervals and tests against textbook values, brute force and simulation."""

import math
import random

import pytest

from thinkscale.quality import statistics
from thinkscale.quality.statistics import Pairs, interval, mcnemar, noninferior, share

RNG_SEED = 7


def compared(gained: int, lost: int, rows: int) -> Pairs:
    """Single answers, equal weights."""
    one = [[True]] * lost + [[False]] * gained + [[True]] * (rows - gained - lost)
    other = [[False]] * lost + [[True]] * gained + [[True]] * (rows - gained - lost)
    return statistics.pairs(one, other, [1.0] * rows)


def test_wilson_by_the_book():
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for right, count, low, high in (
        (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):  # fmt: skip
        assert interval(right / count, count) == pytest.approx((low, high), abs=5e-5)


def test_single_answers_are_worth_their_number():
    told = share([1.0] * 30 + [0.0] * 10, [1.0] * 40, [1] * 40)
    assert told.effective == pytest.approx(40)
    assert (told.low, told.high) == interval(0.75, 40)


def test_samples_that_repeat_themselves_are_worth_nothing_more():
    alike = share([1.0] * 30 + [0.0] * 10, [1.0] * 40, [8] * 40)
    assert alike.effective == pytest.approx(40)


def test_independent_samples_are_worth_nearly_their_number():
    rng = random.Random(RNG_SEED)
    scores = [sum(rng.random() < 0.6 for _ in range(8)) / 8 for _ in range(400)]
    told = share(scores, [1.0] * 400, [8] * 400)
    assert 0.8 * 3200 < told.effective <= 3200


def test_unequal_weights_cost_precision():
    scores = [1.0, 0.0] * 50
    assert share(scores, [1.0, 1.0, 9.0, 9.0] * 25, [1] * 100).effective < 70


def test_where_nothing_is_wrong_the_interval_is_still_honest():
    told = share([1.0] * 100, [1.0] * 100, [1] * 100)
    assert told.value == told.high == 1
    assert told.low == pytest.approx(0.963, abs=1e-3)


def test_mcnemar_is_the_exact_binomial():
    assert mcnemar(7, 1) == pytest.approx(2 * (1 + 8) / 2**8)
    assert mcnemar(0, 0) == mcnemar(5, 5) == 1.0
    assert mcnemar(1500, 1200) == pytest.approx(math.erfc(299 / math.sqrt(2 * 2700)), rel=0.05)


def test_pairs_count_what_was_gained_and_lost():
    told = statistics.pairs(
        [[True, True], [False, True], [False, False]],
        [[True, False], [True, True], [True, True]],
        [1.0, 1.0, 1.0],
    )
    assert (told.pairs_gained, told.pairs_lost) == (3, 1)
    assert (told.rows_gained, told.rows_lost) == (2, 1)
    assert told.difference == pytest.approx((-0.5 + 0.5 + 1) / 3)


def likeliest_statistic(gained: int, lost: int, rows: int, margin: float) -> float:
    """Tango's statistic with the constrained likelihood maximised by search."""

    def likelihood(g: float) -> float:
        rest = rows - gained - lost
        return gained * math.log(g) + lost * math.log(g + margin) + rest * math.log(
            1 - 2 * g - margin
        )  # fmt: skip

    low, high = 1e-12, (1 - margin) / 2 - 1e-12
    for _ in range(200):
        one, two = low + (high - low) / 3, high - (high - low) / 3
        low, high = (one, high) if likelihood(one) < likelihood(two) else (low, two)
    spread = 2 * low + margin - margin**2
    return (gained - lost + rows * margin) / math.sqrt(rows * spread)


@pytest.mark.parametrize(
    ("gained", "lost", "rows", "margin"),
    [(3, 5, 500, 0.01), (10, 30, 400, 0.05), (1, 4, 500, 0.02), (7, 1, 500, 0.01)],
)
def test_tangos_closed_form_is_the_likeliest(gained, lost, rows, margin):
    z = likeliest_statistic(gained, lost, rows, margin)
    expected = 0.5 * math.erfc(z / math.sqrt(2))
    assert noninferior(compared(gained, lost, rows), margin) == pytest.approx(expected, abs=1e-6)


def test_that_nothing_differed_in_a_few_rows_proves_little():
    assert noninferior(compared(0, 0, 100), 0.01) > 0.1
    assert noninferior(compared(0, 0, 500), 0.01) < 0.02


def test_just_at_the_margin_it_errs_in_five_of_a_hundred_cases():
    rng, margin, rows, errors, rounds = random.Random(RNG_SEED), 0.02, 600, 0, 1000
    for _ in range(rounds):
        draws = [rng.random() for _ in range(rows)]
        lost, gained = sum(d < 0.05 for d in draws), sum(0.05 <= d < 0.08 for d in draws)
        n = rows
        pairs = Pairs(
            gained=gained / n, lost=lost / n, effective=n, rows=n, rows_gained=gained,
            rows_lost=lost, pairs_gained=gained, pairs_lost=lost,
        )  # fmt: skip
        errors += noninferior(pairs, margin) < 0.05
    assert 0.03 < errors / rounds < 0.07


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (4, 6), (10, 11)])
def test_the_rows_that_are_called_needed_suffice_in_most_cases(gained, lost):
    seen = compared(gained, lost, 500)
    needed = statistics.needed_rows(seen, 0.01, 0.05)
    assert needed is not None
    rng, shown, rounds = random.Random(RNG_SEED), 0, 200
    for _ in range(rounds):
        up = _binomial(rng, needed, seen.gained)
        down = _binomial(rng, needed, seen.lost)
        pairs = Pairs(
            gained=up / needed, lost=down / needed, effective=needed, rows=needed, rows_gained=up,
            rows_lost=down, pairs_gained=up, pairs_lost=down,
        )  # fmt: skip
        shown += noninferior(pairs, 0.01) < 0.05
    assert shown / rounds > 0.7


def _binomial(rng: random.Random, count: int, share: float) -> int:
    """By its normal approximation; exact where nothing happens."""
    mean = count * share
    return max(0, round(rng.gauss(mean, math.sqrt(mean * (1 - share)))))


def test_a_difference_right_at_the_margin_would_take_for_ever():
    assert statistics.needed_rows(compared(0, 5, 500), 0.01, 0.05) is None
