"""The same search for everybody: each setting of each family, on training seeds, in several
scenarios; and what is chosen from it.

A comparison with an untuned rival proves nothing, nor does one in which ours alone was tuned, nor
one operating point of each. So every family gets its grid searched on seeds that the evaluation
does not use. Its *single* setting is the one that keeps the target in the most scenarios, and of
those the cheapest; its own best in a scenario is the cheapest that keeps the target there. At equal
attainment, GPU-hours are interpolated between settings.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

from thinkscale.simulation import contestants, scenarios

TARGET: Final = 0.99
LEAST_MISS: Final = 1e-4
"""For the interpolation: an attainment of one counts as one miss in ten thousand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run of the search."""

    family: str
    setting: str
    scenario: str
    seed: int

    @property
    def policy(self) -> str:
        """As a user types it."""
        return f"{self.family}:{self.setting}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a trial came to."""

    trial: Trial
    attainment: float
    gpu_hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """One setting in one scenario, over its seeds."""

    setting: str
    attainment: float
    gpu_hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What the search says of one family."""

    family: str
    single: str
    """The one setting for all scenarios."""
    kept: tuple[str, ...]
    """Scenarios in which it keeps the target."""
    best: Mapping[str, str | None]
    """By scenario: its own best setting there. None: no setting keeps the target."""
    equal_gpu_hours: Mapping[str, float | None]
    """By scenario: GPU-hours at exactly the target, interpolated."""


Progress = Callable[[int, int, Point], None]
"""Trials done, of how many, and the last of them: to keep."""


def trials(
    families: Mapping[str, Sequence[object]], names: Sequence[str], seeds: Sequence[int]
) -> list[Trial]:
    """All of a search, by scenario and seed, so that a stopped one has whole comparisons."""
    return [
        Trial(family=family, setting=str(setting), scenario=name, seed=seed)
        for name in names
        for seed in seeds
        for family, settings in families.items()
        for setting in settings
    ]


def simulated(trial: Trial) -> Point:
    """Run it. This is what a worker process does."""
    (contestant,) = contestants.parse(trial.policy)
    outcome = contestants.simulate(contestant, scenarios.make(trial.scenario, trial.seed))
    return Point(trial=trial, attainment=outcome.attainment, gpu_hours=outcome.gpu_hours)


def search(
    wanted: Sequence[Trial],
    *,
    jobs: int = 1,
    progress: Progress | None = None,
    known: Iterable[Point] = (),
    evaluate: Callable[[Trial], Point] = simulated,
) -> list[Point]:
    """All points, in the order of the trials whatever order they finish in.

    `known`: points of an earlier search; their trials are not run again.
    """
    found = {point.trial: point for point in known}
    missing = [trial for trial in wanted if trial not in found]
    for point in _evaluated(missing, jobs, evaluate):
        found[point.trial] = point
        if progress is not None:
            progress(sum(trial in found for trial in wanted), len(wanted), point)
    return [found[trial] for trial in wanted]


def _evaluated(
    missing: Sequence[Trial], jobs: int, evaluate: Callable[[Trial], Point]
) -> Iterable[Point]:
    if jobs <= 1:
        yield from map(evaluate, missing)
        return
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(evaluate, trial) for trial in missing]):
            yield future.result()


def choose(points: Sequence[Point], target: float = TARGET) -> dict[str, Chosen]:
    """By family, from all points of a search."""
    families = dict.fromkeys(point.trial.family for point in points)
    return {
        family: _chosen(family, [p for p in points if p.trial.family == family], target)
        for family in families
    }


def _chosen(family: str, points: Sequence[Point], target: float) -> Chosen:
    names = list(dict.fromkeys(point.trial.scenario for point in points))
    table = {name: _means([p for p in points if p.trial.scenario == name]) for name in names}
    single = single_best(table, target)
    return Chosen(
        family=family,
        single=single,
        kept=tuple(
            name
            for name, means in table.items()
            if any(m.setting == single and m.attainment >= target for m in means)
        ),
        best={name: _cheapest(means, target) for name, means in table.items()},
        equal_gpu_hours={
            name: equal_attainment([(m.gpu_hours, m.attainment) for m in means], target)
            for name, means in table.items()
        },
    )


def _means(points: Sequence[Point]) -> list[Mean]:
    settings = dict.fromkeys(point.trial.setting for point in points)
    result = []
    for setting in settings:
        mine = [point for point in points if point.trial.setting == setting]
        result.append(
            Mean(
                setting=setting,
                attainment=sum(p.attainment for p in mine) / len(mine),
                gpu_hours=sum(p.gpu_hours for p in mine) / len(mine),
            )
        )
    return result


def single_best(table: Mapping[str, Sequence[Mean]], target: float = TARGET) -> str:
    """The setting that keeps the target in the most scenarios; of several, that with the least
    GPU-hours, each scenario's relative to the cheapest setting there. Where none keeps it anywhere,
    the one that falls short by the least.
    """
    settings = list(dict.fromkeys(mean.setting for means in table.values() for mean in means))

    def rank(setting: str) -> tuple[int, float, float]:
        kept, short, cost = 0, 0.0, 0.0
        for means in table.values():
            (mine,) = (mean for mean in means if mean.setting == setting)
            kept += mine.attainment >= target
            short += max(0.0, target - mine.attainment)
            cost += mine.gpu_hours / min(mean.gpu_hours for mean in means)
        return -kept, (0.0 if kept else short), cost

    return min(settings, key=rank)


def _cheapest(means: Sequence[Mean], target: float) -> str | None:
    kept = [mean for mean in means if mean.attainment >= target]
    return min(kept, key=lambda mean: mean.gpu_hours).setting if kept else None


def equal_attainment(points: Sequence[tuple[float, float]], target: float) -> float | None:
    """GPU-hours at exactly the target, from (GPU-hours, attainment) of several settings.

    Between the cheapest point that reaches it and the best cheaper one that does not, by the
    logarithm of the share of misses: more replicas divide misses, they do not subtract them. With
    nothing below the target, that cheapest point itself. None: no point reaches it.

    98 % at 100 and 99.5 % at 110: ln(2 / 1) / ln(2 / 0.5) is half the way: 105 at 99 %.
    """
    reaching = [point for point in points if point[1] >= target]
    if not reaching:
        return None
    above = min(reaching)
    cheaper = [point for point in points if point[1] < target and point[0] < above[0]]
    if not cheaper:
        return above[0]
    below = max(cheaper, key=lambda point: (point[1], -point[0]))
    far, near, wanted = (_log_miss(value) for value in (below[1], above[1], target))
    share = min(1.0, (far - wanted) / (far - near)) if far > near else 1.0
    return below[0] + share * (above[0] - below[0])


def _log_miss(attainment: float) -> float:
    return math.log(max(LEAST_MISS, 1 - attainment))
