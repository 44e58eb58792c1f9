"""The search: whole grids, reproducible, resumable; what it chooses; equal attainment by hand."""

import math

import pytest

from thinkscale.simulation import tuning
from thinkscale.simulation.scenarios import make
from thinkscale.simulation.tuning import Point, Trial, choose, equal_attainment, search, trials


def point(setting: str, scenario: str, attainment: float, hours: float, seed: int = 1) -> Point:
    trial = Trial(family="kpa", setting=setting, scenario=scenario, seed=seed)
    return Point(trial=trial, attainment=attainment, gpu_hours=hours)


def made_up(trial: Trial) -> Point:
    """Leaner settings cost less and miss more; a module's function, so that processes can."""
    share = float(trial.setting)
    return Point(trial=trial, attainment=1.0 - 0.01 * share * trial.seed, gpu_hours=100.0 / share)


def test_a_search_runs_every_setting_in_every_scenario_with_every_seed() -> None:
    wanted = trials({"kpa": (0.5, 0.7), "static": (4,)}, ["step", "drift"], [1, 2])
    assert len(wanted) == 3 * 2 * 2
    assert wanted[0].policy == "kpa:0.5"
    assert {trial.scenario for trial in wanted[:6]} == {"step"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_points_come_in_the_order_of_the_trials(jobs: int) -> None:
    wanted = trials({"kpa": (0.5, 0.7, 0.9)}, ["step"], [1, 2])
    seen: list[int] = []
    found = search(
        wanted, jobs=jobs, evaluate=made_up, progress=lambda done, of, _: seen.append(done)
    )
    assert [each.trial for each in found] == wanted
    assert seen == [1, 2, 3, 4, 5, 6]


def test_known_points_are_not_run_again() -> None:
    wanted = trials({"kpa": (0.5, 0.7)}, ["step"], [1])
    ran: list[Trial] = []

    def evaluate(trial: Trial) -> Point:
        ran.append(trial)
        return made_up(trial)

    known = [made_up(wanted[0])]
    assert search(wanted, known=known, evaluate=evaluate) == [made_up(t) for t in wanted]
    assert ran == wanted[1:]


def test_a_failing_run_is_not_swallowed() -> None:
    def fails(trial: Trial) -> Point:
        raise RuntimeError(trial.policy)

    with pytest.raises(RuntimeError, match=r"kpa:0\.5"):
        search(trials({"kpa": (0.5,)}, ["step"], [1]), evaluate=fails)


def test_the_single_setting_keeps_the_target_in_the_most_scenarios() -> None:
    points = [
        point("0.5", "step", 0.992, 60), point("0.5", "drift", 1.0, 130),
        point("0.6", "step", 0.97, 50), point("0.6", "drift", 1.0, 112),
        point("0.7", "step", 0.95, 48), point("0.7", "drift", 0.83, 105),
    ]  # fmt: skip
    chosen = choose(points)["kpa"]
    assert chosen.single == "0.5"
    assert chosen.kept == ("step", "drift")
    assert chosen.best == {"step": "0.5", "drift": "0.6"}


def test_of_those_that_keep_as_many_the_cheapest_is_taken() -> None:
    points = [
        point("0.5", "drift", 1.0, 130),
        point("0.6", "drift", 0.995, 112),
        point("0.7", "drift", 0.989, 105),
    ]
    assert choose(points)["kpa"].single == "0.6"


def test_where_nothing_keeps_it_the_nearest_is_taken_not_the_cheapest() -> None:
    points = [point("1", "step", 0.6, 200), point("5", "step", 0.5, 100)]
    chosen = choose(points)["kpa"]
    assert chosen.single == "1"
    assert chosen.kept == ()
    assert chosen.best == {"step": None}
    assert chosen.equal_gpu_hours == {"step": None}


def test_seeds_are_averaged_before_they_are_judged() -> None:
    points = [
        point("0.6", "drift", 0.985, 100, seed=1), point("0.6", "drift", 0.997, 104, seed=2),
        point("0.7", "drift", 0.98, 90, seed=1), point("0.7", "drift", 0.97, 92, seed=2),
    ]  # fmt: skip
    chosen = choose(points)["kpa"]
    assert chosen.best == {"drift": "0.6"}


def test_equal_attainment_lies_between_by_the_logarithm_of_misses() -> None:
    assert equal_attainment([(100, 0.98), (110, 0.995)], 0.99) == pytest.approx(105.0)


def test_equal_attainment_takes_the_cheapest_way() -> None:
    # A dear setting that misses, and a dear one that does not, say nothing.
    points = [(100, 0.98), (110, 0.995), (150, 0.97), (170, 1.0)]
    assert equal_attainment(points, 0.99) == pytest.approx(105.0)


def test_of_two_cheaper_ones_the_better_is_the_neighbour() -> None:
    points = [(80, 0.9), (100, 0.98), (110, 0.995)]
    assert equal_attainment(points, 0.99) == pytest.approx(105.0)


def test_all_kept_counts_as_a_miss_in_ten_thousand() -> None:
    found = equal_attainment([(100, 0.98), (120, 1.0)], 0.99)
    share = math.log(0.02 / 0.01) / math.log(0.02 / 1e-4)
    assert found == pytest.approx(100 + 20 * share)


def test_with_nothing_below_the_target_the_cheapest_stands() -> None:
    assert equal_attainment([(120, 0.999), (130, 1.0)], 0.99) == 120


def test_with_nothing_that_reaches_it_there_is_no_number() -> None:
    assert equal_attainment([(100, 0.98)], 0.99) is None
    assert equal_attainment([], 0.99) is None


def test_the_target_is_the_scenarios_own() -> None:
    assert {o.objective for o in make("step", 1).intent.objectives} == {tuning.TARGET}
