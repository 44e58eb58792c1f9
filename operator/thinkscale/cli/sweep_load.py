"""The other side of a sweep: latencies and GPUs of every level under one load.

The load's arrivals come from a rate or a trace; every arrival is one of the sweep's samples, the
same one at every level, so that levels differ by their thinking alone. The fleet is reckoned as
`whatif` does it, without `maxReplicas`: what is asked is what would be needed.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from thinkscale.cli import inputs
from thinkscale.quality.analysis import Case
from thinkscale.quality.outcome import Answered
from thinkscale.quality.trade import RECOMMENDED, LoadPoint, Trade
from thinkscale.simulation import fluid, scenarios, trace
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.statistics import quantiles
from thinkscale.simulation.workload import Workload

LONGEST_SECONDS, SHORTEST_SECONDS = 3 * 3600.0, 3600.0
ENOUGH_REQUESTS: Final = 300_000
"""A steady load is as long as it takes to see the tails, between these bounds."""
PLENTY: Final = 100_000
"""Replicas; what the resource allows is told beside."""
Seconds = npt.NDArray[np.float64]


def check(options: argparse.Namespace) -> None:
    """Before anything is paid for: what says the load and the fleet can be read. Misuse,
    TraceError.
    """
    if options.trace is not None:
        trace.read(options.trace)
    if options.spec is not None:
        inputs.service(options.spec)


def trade_of(
    cases: Sequence[Case], options: argparse.Namespace, *, concluded: bool
) -> Trade | None:
    """All levels under the load; None: no load was asked for. Misuse, TraceError."""
    if (options.rate is None and options.trace is None) or not cases:
        return None
    generator = np.random.default_rng(options.seed)
    if options.trace is not None:
        at, words = trace.read(options.trace).at_seconds, f"Arrivals of {options.trace.name}"
    else:
        wanted = ENOUGH_REQUESTS / options.rate
        seconds = min(LONGEST_SECONDS, max(SHORTEST_SECONDS, wanted))
        count = max(1, int(generator.poisson(options.rate * seconds)))
        at = np.sort(generator.uniform(0, seconds, count))
        words = f"{options.rate:g} requests a second"
    first = cases[0]
    rows = next(iter(first.answered.values()))
    drawn = generator.integers(len(rows), size=len(at))
    lines: dict[str, tuple[Sequence[Answered], float]] = {
        point.level.name: (first.answered[point.level], point.accuracy.value)
        for point in first.points
    }
    if concluded and (mix := _recommended(cases)) is not None:
        lines[RECOMMENDED] = mix
    points, scenario = [], None
    for name, (answered, accuracy) in lines.items():
        scenario = _scenario(_workload(at, drawn, answered), options)
        points.append(_point(name, scenario, accuracy))
    assert scenario is not None
    declared = None if options.spec is None else inputs.service(options.spec)
    allowed = None if declared is None else declared.spec.scaling.max_replicas
    serves = scenario.profile.name if declared is None else declared.metadata.name
    return Trade(load=f"{words} on {serves}", points=tuple(points), max_replicas=allowed)


def _recommended(cases: Sequence[Case]) -> tuple[Sequence[Answered], float] | None:
    """Every sample at its own use case's recommendation, in the order of all rows; None: some use
    case has none, or there is only one.
    """
    own = list(cases[1:])
    if not own or any(case.recommended is None for case in own):
        return None
    best: Mapping[str, Answered] = {
        answered.sample: answered
        for case in own
        if case.recommended is not None
        for answered in case.answered[case.recommended.level]
    }
    order = [answered.sample for answered in next(iter(cases[0].answered.values()))]
    if any(sample not in best for sample in order):
        return None
    counts = [(case.weight, case.recommended.accuracy.value) for case in own if case.recommended]
    accuracy = sum(weight * value for weight, value in counts) / sum(weight for weight, _ in counts)
    return [best[sample] for sample in order], accuracy


def _workload(at: Seconds, drawn: npt.NDArray[np.int64], answered: Sequence[Answered]) -> Workload:
    prompts = np.array([max(1, one.prompt_tokens) for one in answered], dtype=np.int64)
    thinking = np.array([one.thinking_tokens for one in answered], dtype=np.int64)
    answers = np.array([max(1, one.answer_tokens) for one in answered], dtype=np.int64)
    return Workload(
        name="sweep",
        at_seconds=at,
        prompt_tokens=prompts[drawn],
        thinking_tokens=thinking[drawn],
        answer_tokens=answers[drawn],
    )


def _scenario(workload: Workload, options: argparse.Namespace) -> Scenario:
    made = scenarios.replay(workload, options.seed, brownout=False)
    made = inputs.on_fleet(made, options, brownout=False)
    intent = replace(made.intent, max_replicas=PLENTY)
    return replace(made, workload=workload, intent=intent)  # the level is the budget


def _point(name: str, scenario: Scenario, accuracy: float) -> LoadPoint:
    predicted = fluid.predict(scenario)
    answered = ~np.isnan(predicted.first_answer_seconds)
    return LoadPoint(
        name=name,
        ttfa_seconds=_three(predicted.first_answer_seconds[answered]),
        e2e_seconds=_three(predicted.end_seconds),
        replicas=predicted.peak_replicas,
        replicas_mean=predicted.wanted_mean_replicas,
        gpus=predicted.peak_replicas * scenario.intent.gpus_per_replica,
        gpu_hours=predicted.gpu_hours,
        accuracy=accuracy,
    )


def _three(values: Seconds) -> tuple[float, float, float]:
    low, middle, high = quantiles(values)
    return low, middle, high
