"""The rate of arrivals: its memory, its change-point, its trend."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinkscale.scaling import arrivals
from thinkscale.scaling.arrivals import Arrivals

HORIZON = 255.0


def fed(
    rates: list[tuple[float, float]], *, step: float = 15.0, seed: int | None = None
) -> tuple[Arrivals, list[float]]:
    """Arrivals of (seconds, rate) after each other; Poisson with a seed, even without. Returns what
    is known, and the rate after each look.
    """
    rng = random.Random(seed)
    known, now, total, seen = Arrivals(), 0.0, 0.0, []
    known = arrivals.observe(known, now, 0, HORIZON)
    for seconds, rate in rates:
        end = now + seconds
        while now < end - 1e-9:
            now += step
            mean = rate * step
            total += mean if seed is None else max(0.0, round(rng.gauss(mean, mean**0.5)))
            known = arrivals.observe(known, now, round(total), HORIZON)
            seen.append(arrivals.rate(known) or 0.0)
    return known, seen


def test_the_rate_is_what_came_over_the_time_both_discounted():
    known = Arrivals(at=0.0, base_seconds=50.0, base_count=300.0, samples=((15.0, 100.0),))
    assert arrivals.rate(known) == pytest.approx(6.15, abs=0.01)
    assert arrivals.rate(Arrivals()) is None
    assert arrivals.rate(Arrivals(at=0.0, open=(7.9, 40.0))) is None
    assert arrivals.rate(Arrivals(at=0.0, open=(8.0, 40.0))) == 5.0


def test_how_well_a_rate_is_known_is_a_matter_of_how_many_came():
    known = Arrivals(at=0.0, base_seconds=50.0, base_count=300.0, samples=((15.0, 100.0),))
    assert arrivals.relative_variance(known) == pytest.approx(1 / 400)
    clumped = Arrivals(at=0.0, base_seconds=50.0, base_count=400.0, dispersion=4.0)
    assert arrivals.relative_variance(clumped) == pytest.approx(1 / 100)
    assert arrivals.relative_variance(Arrivals()) == 1.0


def test_a_steady_rate_is_known_to_a_few_percent():
    _, seen = fed([(3600.0, 8.0)], seed=3)
    late = seen[60:]
    assert sum(late) / len(late) == pytest.approx(8.0, rel=0.01)
    assert max(abs(rate - 8.0) for rate in late) < 1.0


def test_a_step_is_seen_whole_after_one_sample_and_marked():
    known, seen = fed([(1800.0, 3.0), (15.0, 15.0)])
    assert seen[-1] == pytest.approx(15.0, rel=0.01)
    assert known.jumped_at == 1815.0
    known, seen = fed([(1800.0, 15.0), (30.0, 3.0)])
    assert seen[-1] == pytest.approx(3.0, rel=0.01)
    assert known.jumped_at is None


def test_a_step_out_of_silence_is_seen():
    _, seen = fed([(1800.0, 0.0), (15.0, 3.0)])
    assert seen[-1] == pytest.approx(3.0, rel=0.01)


def test_the_surprise_of_a_count_is_a_likelihood_ratio():
    assert arrivals.surprise(225, 45, 1.0) == pytest.approx(182, abs=1)
    assert arrivals.surprise(60, 45, 1.0) == pytest.approx(2.3, abs=0.1)
    assert arrivals.surprise(0, 45, 1.0) == 45
    assert arrivals.surprise(225, 45, 4.0) == pytest.approx(11.4, abs=0.05)


def test_poisson_noise_is_taken_for_a_change_a_few_times_a_day_at_most():
    rng, changes = random.Random(11), 0
    known, total = arrivals.observe(Arrivals(), 0.0, 0, HORIZON), 0
    for i in range(1, 5760):
        total += max(0, round(rng.gauss(90, 90**0.5)))
        known = arrivals.observe(known, 15.0 * i, total, HORIZON)
        changes += (
            known.base_seconds == 0.0
            and i > 20
            and len(known.samples) <= 8
            and (known.trend == 0.0)
        )
    assert changes <= 5


def test_clumps_raise_the_dispersion_and_are_no_change():
    rng = random.Random(2)
    known, total = arrivals.observe(Arrivals(), 0.0, 0, HORIZON), 0
    for i in range(1, 800):
        total += max(0, round(rng.gauss(90, 3 * 90**0.5)))
        known = arrivals.observe(known, 15.0 * i, total, HORIZON)
    assert known.dispersion > 2.5


def test_a_trend_is_followed_by_seven_tenths_and_bounded():
    known = Arrivals(at=0.0, samples=((100.0, 800.0),), trend=0.01)
    assert arrivals.forecast(known, 200.0) == pytest.approx(9.4)
    steep = Arrivals(at=0.0, samples=((100.0, 600.0),), trend=5.0)
    assert arrivals.forecast(steep, 100.0) == pytest.approx(6 + 0.7 * 0.01 * 100)
    falling = Arrivals(at=0.0, samples=((100.0, 600.0),), trend=-5.0)
    assert arrivals.forecast(falling, 100.0) == pytest.approx(6 - 0.7 * 0.005 * 100)
    assert arrivals.forecast(falling, 1e9) == 0.0
    assert arrivals.forecast(Arrivals(), 10.0) is None


def test_a_ramp_is_learnt_as_a_trend():
    known = arrivals.observe(Arrivals(), 0.0, 0, HORIZON)
    total = 0.0
    for i in range(1, 241):
        total += 15.0 * (5.0 + 0.001 * 15 * i)
        known = arrivals.observe(known, 15.0 * i, round(total), HORIZON)
    assert known.trend == pytest.approx(0.001, rel=0.1)


def test_a_fleet_that_starts_quickly_forgets_quickly():
    assert arrivals.time_scale(255.0) == 1.0
    assert arrivals.time_scale(35.0) == pytest.approx(0.137, abs=0.001)
    assert arrivals.time_scale(1.0) == 0.1
    assert arrivals.time_scale(9999.0) == 1.0


def test_a_gap_or_a_fall_of_the_total_is_a_new_beginning_and_forgets_nothing():
    known, _ = fed([(600.0, 8.0)])
    for at, total in ((known.at + 300.0, 99_999), (known.at + 15.0, 3)):
        again = arrivals.observe(known, at, total, HORIZON)
        assert arrivals.rate(again) == arrivals.rate(known)
        assert again.counted == total
    assert arrivals.observe(known, known.at - 1.0, 5, HORIZON) is known


@settings(max_examples=30, deadline=None)
@given(
    rates=st.lists(st.floats(0.1, 30.0), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_how_often_one_looks_hardly_matters(rates: list[float], seed: int):
    phases = [(900.0, rate) for rate in rates]
    seldom, _ = fed(phases, step=15.0)
    often, _ = fed(phases, step=1.0)
    assert arrivals.rate(often) == pytest.approx(arrivals.rate(seldom), rel=0.06, abs=0.05)


def test_a_half_life_later_old_samples_and_the_base_count_half():
    """Ten samples of 15 s lie one half-life apart: what was 120 in each counts 60 now."""
    known = Arrivals(at=0.0, counted=0, base_seconds=100.0, base_count=800.0)
    total = 0
    for i in range(1, 11):
        total += 120
        known = arrivals.observe(known, 15.0 * i, total, HORIZON)
    assert known.half_life_seconds == 150.0
    assert len(known.samples) == arrivals.KEPT
    weights = [0.5 ** (15.0 * age / 150.0) for age in range(10)]
    assert known.base_seconds == pytest.approx(50.0 + 15 * (weights[8] + weights[9]), rel=1e-3)
    assert known.base_count == pytest.approx(400.0 + 120 * (weights[8] + weights[9]), rel=1e-3)
    newer = arrivals.observe(known, 165.0, total + 90, HORIZON)
    count = 90 + sum(weights[1:8]) * 120 + 0.5**0.1 * known.base_count + 120 * 0.5**0.8
    seconds = sum(weights[0:8]) * 15 + 0.5**0.1 * known.base_seconds + 15 * 0.5**0.8
    assert arrivals.rate(newer) == pytest.approx(count / seconds, rel=1e-3)


@pytest.mark.parametrize(("count", "changed"), [(163, False), (166, False), (167, True)])
def test_a_change_is_what_exceeds_eight(count: int, changed: bool):
    """120 are expected: ln(166/120)·166 - 46 = 7.9 is none, ln(167/120)·167 - 47 = 8.2 is one."""
    known, _ = fed([(1800.0, 8.0)])
    after = arrivals.observe(known, known.at + 15.0, known.counted + count, HORIZON)
    assert (arrivals.surprise(count, 120, 1.0) > 8) == changed
    assert (after.base_seconds == 0.0) == changed


def test_a_quick_fleet_learns_of_a_jump_although_little_of_its_past_still_counts():
    """One in two seconds, then six in five: that takes two samples to tell from chance, and of the
    31 s that a fleet of 22 s boot remembers less than 20 are older than they.
    """
    known, total = arrivals.observe(Arrivals(), 0.0, 0, 37.0), 0
    for second in range(1, 61):
        total += second % 2
        known = arrivals.observe(known, float(second), total, 37.0)
    for second in range(61, 91):
        total += 1 + (second % 5 == 0)
        known = arrivals.observe(known, float(second), total, 37.0)
    assert known.jumped_at is not None
    assert arrivals.rate(known) == pytest.approx(1.2, abs=0.1)


def test_the_open_sample_counts_for_the_rate_and_for_the_test():
    known, _ = fed([(1800.0, 8.0)])
    open_one = arrivals.observe(known, known.at + 5.0, known.counted + 200, HORIZON)
    assert open_one.samples == ()
    assert open_one.open == (5.0, 200.0)
    assert open_one.jumped_at == known.at + 5.0
    closed = arrivals.observe(open_one, known.at + 15.0, known.counted + 600, HORIZON)
    assert arrivals.rate(closed) == pytest.approx(40.0)


def test_a_change_seen_in_the_open_sample_keeps_the_closed_ones_that_belong_to_it():
    """100 a minute for minutes, then two samples that are each half a change, and an open one."""
    known, _ = fed([(1800.0, 8.0)])
    for _ in range(2):
        known = arrivals.observe(known, known.at + 15.0, known.counted + 145, HORIZON)
        assert known.base_seconds > 0.0
    changed = arrivals.observe(known, known.at + 11.0, known.counted + 120, HORIZON)
    assert changed.base_seconds == 0.0
    assert changed.samples == ((15.0, 145.0), (15.0, 145.0))
    assert changed.open == (11.0, 120.0)
    assert changed.level == pytest.approx(410 / 41, rel=1e-6)


def test_too_short_a_past_is_no_reference():
    known = arrivals.observe(Arrivals(), 0.0, 0, HORIZON)
    known = arrivals.observe(known, 15.0, 10, HORIZON)
    known = arrivals.observe(known, 30.0, 1000, HORIZON)
    assert known.samples == ((15.0, 10.0), (15.0, 990.0))
    known = arrivals.observe(known, 45.0, 2000, HORIZON)
    assert known.samples == ((15.0, 1000.0),)


def test_the_dispersion_moves_by_a_two_hundredth_of_each_surprise():
    known, _ = fed([(1800.0, 8.0)])
    before = known.dispersion
    quiet = arrivals.observe(known, known.at + 15.0, known.counted + 90, HORIZON)
    assert quiet.dispersion == pytest.approx(before + 0.005 * (30**2 / 120 - before), rel=1e-3)
    loud = arrivals.observe(known, known.at + 15.0, known.counted + 195, HORIZON)
    assert loud.dispersion == pytest.approx(before + 0.005 * (16 - before), rel=1e-3)
