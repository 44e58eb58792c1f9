"""Knative's KPA, told as time-lines."""

from tests.unit.simulation.rivals.fleet_metrics import drift, fleet, scrape
from thinkscale.simulation.rivals.kpa import ConcurrencyLaw, Kpa, Settings


def run(kpa: Kpa, begin: float, seconds: float, concurrency: float, ready: int) -> list[int]:
    sizes = []
    for tick in range(int(seconds / 2)):
        now = begin + 2 * tick
        kpa.sample(now, concurrency)
        wanted = kpa.step(now, ready)
        assert wanted is not None
        sizes.append(wanted)
    return sizes


def test_the_worked_comment_of_the_source_needs_three_pods() -> None:
    # "MSUR=1.1, OCC=3, RPC=2, TV=1 => OCC/TV=3, MSU=2.2 => DSPC=2, while we definitely need 3".
    kpa = Kpa(Settings(target=1.0, up_rate=1.1, panic_threshold=100.0), ready=1, now=0.0)
    assert run(kpa, 0.0, 60.0, 3.0, ready=2)[-1] == 3


def test_concurrency_is_divided_whatever_the_number_of_pods() -> None:
    kpa = Kpa(Settings(target=10.0), ready=1, now=0.0)
    assert run(kpa, 0.0, 60.0, 51.0, ready=5)[-1] == 6


def test_it_falls_to_half_at_most() -> None:
    kpa = Kpa(Settings(target=10.0), ready=1, now=0.0)
    assert run(kpa, 0.0, 60.0, 5.0, ready=9)[-1] == 4


def test_a_burst_makes_it_panic_and_it_does_not_shrink_for_a_stable_window() -> None:
    kpa = Kpa(Settings(target=10.0), ready=1, now=0.0)
    run(kpa, 0.0, 60.0, 40.0, ready=4)
    # Sixfold for six seconds: the panic window sees 240 / 10 = 24, six times what is ready.
    assert run(kpa, 60.0, 6.0, 240.0, ready=4)[-1] == 24
    # The burst is over, and the panic goes on: a minute without an excess has not passed.
    calm = run(kpa, 66.0, 60.0, 40.0, ready=24)
    assert set(calm) == {24}
    # It has; four pods are enough, and the fall is to half at most.
    assert run(kpa, 126.0, 20.0, 40.0, ready=24)[-1] == 12


def test_it_begins_in_a_panic_so_that_a_restart_does_not_shrink() -> None:
    kpa = Kpa(Settings(target=10.0), ready=8, now=0.0)
    assert set(run(kpa, 0.0, 60.0, 10.0, ready=8)) == {8}
    assert run(kpa, 60.0, 10.0, 10.0, ready=8)[-1] == 4


def test_a_delay_takes_the_most_of_its_window() -> None:
    kpa = Kpa(Settings(target=10.0, delay_seconds=120.0), ready=1, now=0.0)
    run(kpa, 0.0, 60.0, 80.0, ready=8)
    assert run(kpa, 60.0, 110.0, 40.0, ready=8)[-1] == 8
    assert run(kpa, 170.0, 130.0, 40.0, ready=8)[-1] == 4


def test_limits_hold() -> None:
    kpa = Kpa(Settings(target=10.0, least=3, most=6), ready=1, now=0.0)
    assert run(kpa, 0.0, 60.0, 500.0, ready=1)[-1] == 6
    assert run(kpa, 200.0, 200.0, 0.0, ready=6)[-1] == 3


def test_without_samples_it_decides_nothing() -> None:
    kpa = Kpa(Settings(target=10.0), ready=4, now=0.0)
    assert kpa.step(0.0, ready=4) is None


def test_lost_scrapes_leave_the_size_once_the_window_is_empty() -> None:
    law = ConcurrencyLaw(drift(), target=10.0, delay_seconds=0.0)
    assert law.step(0.0, fleet(1), scrape(0.0, pods=1, running=40)) == 4
    assert law.step(70.0, fleet(4), None) == 4
    assert law.step(72.0, fleet(4), scrape(72.0, running=1)) == 2
