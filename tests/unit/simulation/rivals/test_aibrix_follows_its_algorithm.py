"""AIBrix's APA: its algorithm, and what it does as coded where that differs."""

from tests.unit.simulation.rivals.fleet_metrics import drift, fleet, scrape
from thinkscale.simulation.rivals.aibrix import ApaLaw, Cooldown, apa


def test_the_ratio_multiplies_within_a_factor_of_two() -> None:
    assert apa(0.6, 0.5, 4) == 5  # ceil(4.8)
    assert apa(0.9, 0.5, 4) == 8  # ceil(7.2)
    assert apa(1.0, 0.3, 4) == 8  # no more than double
    assert apa(0.1, 0.5, 4) == 2  # no less than half
    assert apa(0.4, 0.5, 10) == 8


def test_within_a_tenth_of_the_target_the_size_stays() -> None:
    assert [apa(mean, 0.5, 4) for mean in (0.46, 0.5, 0.54)] == [4, 4, 4]


def test_a_mended_cooldown_remembers_the_most_and_the_coded_one_the_least() -> None:
    for as_coded, size in ((False, 7), (True, 3)):
        cooldown = Cooldown(as_coded=as_coded)
        cooldown.stabilized(0.0, 8, 3)
        cooldown.stabilized(100.0, 8, 7)
        assert cooldown.stabilized(200.0, 8, 5) == size


def test_growing_waits_for_nothing() -> None:
    cooldown = Cooldown(as_coded=False)
    cooldown.stabilized(0.0, 4, 2)
    assert cooldown.stabilized(10.0, 4, 9) == 9


def test_as_coded_it_multiplies_what_is_warming() -> None:
    # 4 ready at twice the target, 4 warming: as coded 16 ("replica leakage"), mended 8.
    for as_coded, size in ((True, 16), (False, 8)):
        law = ApaLaw(drift(), 0.5, as_coded=as_coded)
        assert law.step(0.0, fleet(4, warming=4), scrape(0.0, kv_usage=1.0)) == size


def test_the_metric_is_a_mean_over_three_minutes() -> None:
    law = ApaLaw(drift(), 0.5, as_coded=False)
    sizes = [law.step(10.0 * t, fleet(4), scrape(10.0 * t, kv_usage=0.5)) for t in range(17)]
    assert set(sizes) == {4}
    # One sample of 1.0 among 18 lifts the mean to 0.528: within the tolerance.
    assert law.step(170.0, fleet(4), scrape(170.0, kv_usage=1.0)) == 4


def test_lost_scrapes_leave_the_size_once_the_window_is_empty() -> None:
    law = ApaLaw(drift(), 0.5, as_coded=False)
    law.step(0.0, fleet(4), scrape(0.0, kv_usage=0.9))
    assert law.step(170.0, fleet(8), None) >= 8
    assert law.step(190.0, fleet(8), None) == 8
