"""llm-d's SLO-aware law against its guide: thresholds, credit, clamp, dead band, and its hole."""

from itertools import pairwise

import pytest

from tests.unit.simulation.rivals.fleet_metrics import drift, fleet, scrape
from thinkscale.simulation.rivals.llmd_slo import SloLaw, desired, saturation, slos

UP, DOWN = 0.55, 0.40


def test_twice_the_threshold_doubles_the_pool() -> None:
    assert desired(1.1, 4, 4, UP, DOWN) == 8


def test_the_credit_counts_those_that_are_warming() -> None:
    # 4 of 8 ready: the signal is halved, and asks for nothing more.
    assert desired(1.1, 8, 4, UP, DOWN) == 8
    assert desired(2.0, 8, 4, UP, DOWN) == 15  # 8 + ceil(8 * (1 / 0.55 - 1)) = 8 + 7


def test_between_the_thresholds_nothing_moves() -> None:
    for signal in (0.40, 0.5, 0.55):
        assert desired(signal, 6, 6, UP, DOWN) == 6


def test_under_the_lower_one_it_sheds_what_is_too_much() -> None:
    assert desired(0.2, 6, 6, UP, DOWN) == 3
    assert desired(0.35, 6, 6, UP, DOWN) == 6  # 6 * 0.125 = 0.75, rounded down
    assert desired(0.0, 6, 6, UP, DOWN) == 0


def test_shedding_takes_no_credit() -> None:
    assert desired(0.38, 8, 2, UP, DOWN) == 8


def test_the_worse_ratio_counts_clamped_at_two() -> None:
    assert saturation(1.5, 0.09, 3.0, 0.1) == pytest.approx(0.9)
    assert saturation(60.0, 0.09, 3.0, 0.1) == 2.0
    assert saturation(None, None, 3.0, 0.1) == 0.0


def test_the_slos_are_those_of_the_intent() -> None:
    assert slos(drift().intent) == (10.0, 0.045)


def busy(at: float, seconds_per_token: float = 0.0405) -> dict[str, float]:
    """Counters of a fleet in steady work: 90 % of the SLO of 45 ms a token."""
    return {"at_seconds": at, "steps": int(at / seconds_per_token), "arrivals": int(8 * at)}


def test_a_pace_at_nine_tenths_of_its_slo_grows_the_pool_after_the_window() -> None:
    law, size, sizes = SloLaw(drift(), UP), 5, []
    for tick in range(1, 13):
        at = 15.0 * tick
        seen = scrape(running=80, **busy(at))  # type: ignore[arg-type]
        size = law.step(at, fleet(4, warming=size - 4), seen)
        sizes.append(size)
    # One scrape alone makes no rate, and no rate is no load: it begins by shedding one. Then 4 +
    # ceil(4 * (0.9 / 0.55 - 1)) = 7, once 30 s of samples agree; the credit asks for no more.
    assert sizes[:2] == [4, 4]
    assert sizes[5:] == [7] * 7


def test_it_drains_a_pod_in_two_minutes() -> None:
    law = SloLaw(drift(), UP)
    size, sizes = 8, []
    for tick in range(1, 41):
        at = 15.0 * tick
        size = law.step(at, fleet(size), scrape(at, running=0, arrivals=tick))
        sizes.append(size)
    # Ten minutes: one every 120 s.
    falls = [tick for tick, (a, b) in enumerate(pairwise([8, *sizes])) if b < a]
    assert [later - earlier for earlier, later in pairwise(falls)] == [8] * (len(falls) - 1)
    assert sizes[-1] == 8 - len(falls)
    assert len(falls) == 5


def test_lost_metrics_read_as_no_load_as_published() -> None:
    law, size = SloLaw(drift(), UP), 8
    for tick in range(1, 80):
        size = law.step(15.0 * tick, fleet(size), None)
    assert size < 4
