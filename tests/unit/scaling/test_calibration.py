"""The step time is learnt from the engines' counters, whatever the prior said."""

import dataclasses
import random

import pytest

from tests.unit.scaling.builders import make_signals
from thinkscale.fleet.profile import REFERENCE
from thinkscale.model.observation import MergedSignals
from thinkscale.model.signals import EngineSignals, PhaseCounts, ReplicaSignals
from thinkscale.model.step_time import StepTime
from thinkscale.scaling import calibrate
from thinkscale.scaling.calibrate import Calibration

TRUE = REFERENCE.step_time


def scaled(factor: float) -> StepTime:
    return StepTime(**{name: value * factor for name, value in TRUE})


class Engines:
    """Replicas of the true profile under a load that wanders; counters as engines keep them."""

    def __init__(self, count: int, seed: int = 1, truth: StepTime = TRUE) -> None:
        self.rng, self.truth, self.now = random.Random(seed), truth, 0.0
        self.counters = [[0.0, 0.0, 0.0] for _ in range(count)]
        self.loads = [(60.0, 150_000.0) for _ in range(count)]

    def pass_time(self, seconds: float = 15.0) -> MergedSignals:
        """Run for a while; the signals then."""
        self.now += seconds
        replicas = {}
        for i, counters in enumerate(self.counters):
            sequences = min(97.0, max(10.0, self.loads[i][0] + self.rng.gauss(0, 6)))
            context = sequences * self.rng.uniform(2400, 3000)
            prompts = sequences * 0.5 * self.rng.uniform(0.3, 1.7)
            step = self.truth.seconds(sequences, context, prompts) * self.rng.gauss(1, 0.01)
            self.loads[i] = (sequences, context)
            steps = seconds / step
            counters[0] += steps
            counters[1] += steps * sequences
            counters[2] += steps * prompts
            replicas[f"r-{i}"] = self._signals(counters, sequences, context)
        return dataclasses.replace(make_signals(), replicas=replicas)

    def _signals(self, counters: list[float], sequences: float, context: float) -> ReplicaSignals:
        steps, generated, prompts = (round(c) for c in counters)
        engine = EngineSignals(
            running=round(sequences),
            waiting=0,
            kv_usage=0.5,
            kv_capacity_tokens=290_000,
            steps=steps,
            generated_tokens=generated,
            prompt_tokens=prompts,
            age_seconds=0.0,
        )
        return ReplicaSignals(
            ready=True,
            cordoned=False,
            phases=PhaseCounts(thinking=round(sequences)),
            context_tokens=round(context),
            engine=engine,
        )


def learnt(
    prior: StepTime | None, minutes: int, *, replicas: int = 4, pace: float | None = None
) -> Calibration:
    engines, known = Engines(replicas), Calibration()
    for _ in range(minutes * 4):
        signals = engines.pass_time()
        known = calibrate.observe(known, engines.now, signals, prior, pace)
    return known


def at_design(step: StepTime | None) -> float:
    assert step is not None
    return step.seconds(90, 90 * 2800, 40)


@pytest.mark.parametrize("factor", [0.75, 1.0, 1.25])
def test_priors_that_are_a_quarter_off_are_mended_within_minutes(factor: float):
    known = learnt(scaled(factor), 10)
    assert at_design(calibrate.step_time(known)) == pytest.approx(at_design(TRUE), rel=0.02)
    assert known.kv_tokens == 290_000


def test_hardware_that_no_catalogue_knows_is_learnt_from_the_pace_of_a_token():
    known = learnt(None, 20, pace=0.035)
    assert at_design(calibrate.step_time(known)) == pytest.approx(at_design(TRUE), rel=0.05)


def test_before_anything_is_known_there_is_no_step_time():
    assert calibrate.step_time(Calibration()) is None
    idle = calibrate.observe(Calibration(), 0.0, make_signals(), None, 0.03)
    assert calibrate.step_time(idle) is None
    assert (
        calibrate.step_time(calibrate.observe(Calibration(), 0.0, make_signals(), TRUE, None))
        == TRUE
    )
    assert calibrate.observe(Calibration(), 0.0, make_signals(), None, None).prior is None


def test_an_update_moves_nearly_all_the_way_when_the_prior_is_in_doubt():
    known = Calibration(
        prior=calibrate.observe(Calibration(), 0.0, make_signals(), TRUE, None).prior
    )
    after = calibrate.learn(known, 0.045, (1.0, 97.0, 290_000.0, 20.0))
    assert calibrate.step_time(after).seconds(97, 290_000, 20) == pytest.approx(0.0448, abs=1e-4)


def test_outliers_are_rejected_until_there_are_too_many_of_them():
    known = learnt(TRUE, 20)
    before = known.multiples
    for _ in range(calibrate.MOST_REJECTIONS):
        known = calibrate.learn(known, 0.5, (1.0, 60.0, 150_000.0, 20.0))
        assert known.multiples == before
    known = calibrate.learn(known, 0.5, (1.0, 60.0, 150_000.0, 20.0))
    assert known.multiples != before
    assert all(calibrate.LEAST <= m <= calibrate.MOST for m in known.multiples)


@pytest.mark.parametrize(("factor", "learnt_from"), [(1.13, 1), (1.14, 0), (0.90, 1), (0.89, 0)])
def test_a_step_three_deviations_off_is_an_outlier(factor: float, learnt_from: int):
    """With no doubt left about the coefficients only the noise counts, 4 % of a step: 1.136 times
    as long as expected is (1 - 1/1.136)/.04 = 3 deviations, and so is .893 times.
    """
    sure = dataclasses.replace(
        calibrate.observe(Calibration(), 0.0, make_signals(), TRUE, None),
        covariance=((0.0,) * 4,) * 4,
    )
    expected = TRUE.seconds(60, 150_000, 20)
    after = calibrate.learn(sure, factor * expected, (1.0, 60.0, 150_000.0, 20.0))
    assert (after.samples, after.rejections) == (learnt_from, 1 - learnt_from)


def test_a_restarted_or_idle_engine_teaches_nothing():
    engines, known = Engines(1), Calibration()
    known = calibrate.observe(known, 15.0, engines.pass_time(), TRUE, None)
    known = calibrate.observe(known, 30.0, engines.pass_time(), TRUE, None)
    assert known.samples == 1
    engines.counters[0] = [0.0, 0.0, 0.0]
    known = calibrate.observe(known, 45.0, engines.pass_time(), TRUE, None)
    assert known.samples == 1
    idle = engines.pass_time()
    seen = idle.replicas["r-0"]
    quiet = seen.model_copy(update={"engine": seen.engine.model_copy(update={"running": 1})})
    known = calibrate.observe(
        known, 60.0, dataclasses.replace(idle, replicas={"r-0": quiet}), TRUE, None
    )
    assert known.samples == 1


def test_looking_every_second_learns_from_whole_intervals_all_the_same():
    engines, known = Engines(2), Calibration()
    for _ in range(300):
        known = calibrate.observe(known, engines.now + 1, engines.pass_time(1.0), TRUE, None)
    assert 40 <= known.samples <= 50


def test_another_catalogue_entry_starts_all_over():
    known = learnt(TRUE, 5)
    assert known.samples > 10
    other = calibrate.observe(known, 9999.0, make_signals(), scaled(2.0), None)
    assert other.samples == 0
    assert calibrate.step_time(other) == scaled(2.0)
    none = calibrate.observe(known, 9999.0, make_signals(), None, None)
    assert none.prior is None


def test_only_a_few_replicas_are_remembered_and_the_same_ones():
    engines, known = Engines(30), Calibration()
    for _ in range(4):
        known = calibrate.observe(known, engines.now + 15, engines.pass_time(), TRUE, None)
    assert len(known.baselines) == calibrate.KEPT
    assert known.samples == 3 * calibrate.KEPT
