"""What the calibration makes of the engine's counters, on an engine whose step time is known."""

import itertools

import pytest

from e2e.fidelity import calibration
from e2e.fidelity.calibration import Look, Sample
from thinkscale.engines.vllm_metrics import EngineLoad
from thinkscale.model.step_time import StepTime

TRUE = StepTime(
    base_seconds=0.005,
    sequence_seconds=0.00015,
    context_token_seconds=7.5e-7,
    prompt_token_seconds=0.00014,
)
LOADS = (
    (3, 1200, 1.5), (16, 2500, 3.0), (16, 8300, 0.7), (8, 3500, 0.4), (15, 3400, 27.0),
    (6, 1100, 20.0), (16, 6000, 7.0), (10, 4000, 4.0),
)  # fmt: skip
"""Sequences, context tokens, prompt tokens a step."""


def looks(true: StepTime = TRUE, wobble: float = 0.0) -> list[Look]:
    """Three looks at each plateau of an engine that does what it says, or a little else."""
    made = []
    signs = itertools.cycle((1, -1, -1, 1))
    for plateau, (decoding, context, prompt) in enumerate(LOADS):
        steps = 0
        for number in range(3):
            seconds = true.seconds(decoding, context, prompt) * (1 + wobble * next(signs))
            steps += round(13.0 / seconds) if number else 0
            load = EngineLoad(
                running=decoding,
                waiting=0,
                kv_usage=0.1,
                kv_capacity_tokens=131_072,
                steps=steps,
                prompt_tokens=round(prompt * steps),
                generated_tokens=decoding * steps,
            )
            made.append(
                Look(
                    plateau=plateau,
                    at_seconds=plateau * 31.0 + number * 13.0,
                    load=load,
                    context_tokens=context,
                    mean_context_tokens=float(context),
                )
            )
    return made


def test_a_window_lies_within_one_plateau() -> None:
    found = calibration.samples(looks())
    assert len(found) == 2 * len(LOADS)
    assert found[0].decoding == 3
    assert found[0].context_tokens == 1200
    assert found[0].prompt_tokens == pytest.approx(1.5, rel=0.01)
    # 5 + 0.45 + 0.9 + 0.21 ms
    assert found[0].step_seconds == pytest.approx(0.00656, rel=0.01)


def test_least_squares_finds_the_coefficients_of_a_linear_engine() -> None:
    fit = calibration.least_squares(calibration.samples(looks()))
    for name, value in TRUE.model_dump().items():
        assert getattr(fit, name) == pytest.approx(value, rel=0.03), name


def test_least_squares_never_says_that_more_work_takes_less_time() -> None:
    flat = [
        Sample(
            step_seconds=0.01 - 0.0001 * b, decoding=b, context_tokens=100.0 * b, prompt_tokens=p
        )
        for b, p in ((2, 1), (4, 5), (8, 0), (12, 9), (16, 3))
    ]
    fit = calibration.least_squares(flat)
    assert min(fit.model_dump().values()) >= 0


def test_the_laws_calibration_mends_a_catalogue_that_is_a_quarter_wrong() -> None:
    learnt = calibration.learn(looks(wobble=0.02), pace_seconds=0.0056)
    before = calibration.r2(learnt.prior, learnt.samples)
    assert before < 0.9
    assert calibration.r2(learnt.law, learnt.samples) > 0.96
    assert learnt.accepted == len(learnt.samples)
    assert learnt.kv_tokens == 131_072


def test_r2_is_one_for_the_truth_and_not_for_the_mean_alone() -> None:
    found = calibration.samples(looks())
    assert calibration.r2(TRUE, found) == pytest.approx(1.0, abs=1e-4)
    mean = sum(sample.step_seconds for sample in found) / len(found)
    flat = StepTime(
        base_seconds=mean, sequence_seconds=0, context_token_seconds=0, prompt_token_seconds=0
    )
    assert calibration.r2(flat, found) == pytest.approx(0.0, abs=1e-9)
