"""Two services under one GPU limit in one virtual time, by the operator's own rule."""

import json
import math
import random
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.unit.simulation.engine.small_fleets import Arrival, scenario
from thinkscale.cli.main import main
from thinkscale.simulation import ours, shared_limit, shared_run
from thinkscale.simulation.run import run
from thinkscale.simulation.scenario import Boot
from thinkscale.simulation.shared_limit import EVENING, MORNING, Shared
from thinkscale.simulation.shared_run import Division, Together

SECONDS = 900.0
BOOT = Boot(mean_seconds=20.0, deviation_seconds=2.0)
LIMIT = 8
"""Two for each replica: four replicas, where both together need about five at times."""


def wave(seed: int, peak: float, seconds: float) -> list[Arrival]:
    """From nobody to four requests in five seconds and back."""
    generator, at, made = random.Random(seed), 0.0, []
    while (at := at + generator.expovariate(0.8)) < seconds:
        if generator.random() < math.cos(math.pi * (at - peak) / seconds) ** 4:
            thought = min(16_000, int(generator.lognormvariate(6.86, 0.94)))
            made.append((at, 500, thought, max(1, int(generator.expovariate(1 / 400)))))
    return made


def pair(
    seed: int,
    *,
    gpus: int = LIMIT,
    seconds: float = SECONDS,
    peaks: tuple[float, float] = (0.25, 0.75),
    **priorities: int,
) -> Shared:
    """Two services whose peaks are half the time apart."""
    services = {}
    for number, (name, peak) in enumerate(zip((MORNING, EVENING), peaks, strict=True)):
        rows = wave(10 * seed + number, seconds * peak, seconds)
        one = scenario(rows, duration_seconds=seconds, replicas=2, seed=seed, boot=BOOT)
        services[name] = replace(one, intent=replace(one.intent, service=f"small/{name}"))
    weighs = {MORNING: 100, EVENING: 100} | priorities
    return Shared(name="small", seed=seed, services=services, gpus=gpus, priorities=weighs)


@cache
def ran(division: Division) -> Together:
    return shared_run.run(pair(1), division)


def attained(run: Together) -> float:
    return float(run.blocks.good.sum() / run.blocks.arrived.sum())


def test_the_limit_holds_at_every_instant_and_both_have_at_times_more_than_half() -> None:
    held = ran(Division.SHARED).held_gpus
    assert len(ran(Division.SHARED).held_at_seconds) > 4
    assert sum(held.values()).max() == LIMIT
    assert [gpus.max() for gpus in held.values()] == [6, 6]
    assert min(gpus[:-1].min() for gpus in held.values()) >= 2, "nobody goes below its minimum"
    assert ran(Division.UNLIMITED).peak_gpus > LIMIT, "it binds"


def test_gpus_are_held_from_order_to_removal() -> None:
    for division in Division:
        one = ran(division)
        inside = one.held_at_seconds < SECONDS
        lasts = np.diff(np.append(one.held_at_seconds[inside], SECONDS))
        for name, outcome in one.outcomes.items():
            hours = float((one.held_gpus[name][inside] * lasts).sum()) / 3600
            assert hours == pytest.approx(outcome.gpu_hours)


def test_sharing_keeps_more_requests_in_time_than_an_even_split() -> None:
    even = ran(Division.EVEN)
    assert [gpus.max() for gpus in even.held_gpus.values()] == [4, 4]
    assert attained(ran(Division.SHARED)) > attained(even) + 0.01
    assert attained(ran(Division.UNLIMITED)) > attained(ran(Division.SHARED))


def test_without_a_limit_each_is_the_run_that_it_is_alone() -> None:
    alone = run(pair(1).services[EVENING], ours.thinkscale, policy="thinkscale")
    beside = ran(Division.UNLIMITED).outcomes[EVENING]
    np.testing.assert_array_equal(alone.requests.end_seconds, beside.requests.end_seconds)
    np.testing.assert_array_equal(alone.timeline.billed, beside.timeline.billed)


def test_of_two_that_need_the_gpus_at_once_the_urgent_one_gets_them() -> None:
    at_once = pair(1, seconds=480.0, peaks=(0.5, 0.5), **{EVENING: 2000})
    made = shared_run.run(at_once, Division.SHARED)
    assert made.peak_gpus == LIMIT
    assert made.held_gpus[EVENING].max() == LIMIT - 2, "all but the other's minimum"
    assert made.outcomes[EVENING].gpu_hours > made.outcomes[MORNING].gpu_hours
    assert made.outcomes[EVENING].attainment > made.outcomes[MORNING].attainment + 0.1


def test_the_same_seed_gives_the_same_runs_bit_for_bit() -> None:
    first, again = (shared_run.run(pair(2, seconds=240.0), Division.SHARED) for _ in range(2))
    np.testing.assert_array_equal(first.held_at_seconds, again.held_at_seconds)
    for name, outcome in first.outcomes.items():
        np.testing.assert_array_equal(first.held_gpus[name], again.held_gpus[name])
        other = again.outcomes[name]
        np.testing.assert_array_equal(outcome.requests.end_seconds, other.requests.end_seconds)


def test_an_even_split_gives_what_is_left_over_to_the_first() -> None:
    parts = shared_run.split(pair(1, gpus=7, seconds=10.0))
    assert [one.intent.max_replicas for one in parts.values()] == [2, 1]
    assert [one.initial_replicas for one in parts.values()] == [2, 1]


def test_the_priority_of_the_morning_is_part_of_the_name() -> None:
    shared = shared_limit.make("two-services+priority4", 1)
    assert shared.name == "two-services+priority4"
    assert shared.priorities == {MORNING: 400, EVENING: 100}


def test_the_command_shows_writes_and_draws_all_three(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = pair(3, seconds=120.0)
    monkeypatch.setattr(shared_limit, "two_services", lambda seed, brownout: short)
    written, drawn = tmp_path / "two.json", tmp_path / "two.png"

    said = main(
        ["simulate", "--scenario", "two-services", "--json", str(written), "--plot", str(drawn)]
    )

    assert said == 0
    text = capsys.readouterr().out
    for word in ("shared", "even split", "no limit", "most GPUs held", "evening: worst hour"):
        assert word in text
    made = json.loads(written.read_text())
    assert made["limit_gpus"] == LIMIT
    assert list(made["divisions"]) == ["shared", "even_split", "no_limit"]
    shared = made["divisions"]["shared"]
    assert shared["peak_gpus"] <= LIMIT
    assert shared["gpu_hours"] == pytest.approx(
        sum(one["gpu_hours"] for one in shared["services"].values())
    )
    assert shared["requests"] == sum(one["requests"] for one in shared["services"].values())
    assert drawn.read_bytes().startswith(b"\x89PNG")
