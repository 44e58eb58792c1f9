"""A plan is found again for the same question, and for no other."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from thinkscale.simulation import oracle_cache
from thinkscale.simulation.scenarios import make


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_a_plan_comes_back_as_it_was() -> None:
    levels = np.array([3, 3, 4, 4, 4, 2], dtype=np.int64)
    assert oracle_cache.load("k") is None
    oracle_cache.store("k", levels, {"scenario": "x"})
    again = oracle_cache.load("k")
    assert again is not None
    assert np.array_equal(again, levels)


def test_a_broken_file_is_no_plan(empty_cache: Path) -> None:
    oracle_cache.store("k", np.array([1, 2]), {})
    (path,) = (empty_cache / "thinkscale" / "oracle").iterdir()
    path.write_text('{"replicas": [1]}')
    assert oracle_cache.load("k") is None
    path.write_text("[")
    assert oracle_cache.load("k") is None


def test_a_cache_that_cannot_be_written_is_no_error(empty_cache: Path) -> None:
    (empty_cache / "thinkscale").write_text("a file where a directory should be")
    oracle_cache.store("k", np.array([1, 2]), {})
    assert oracle_cache.load("k") is None


def test_what_only_a_policy_knows_does_not_change_the_question() -> None:
    plain = oracle_cache.key(make("step", 1), "q")
    assert oracle_cache.key(make("step", 1, brownout=False), "q") == plain
    assert oracle_cache.key(make("step+priors1.25", 1), "q") == plain


def test_everything_else_does() -> None:
    scenario = make("step", 1)
    budget = dataclasses.replace(scenario.intent.budget, max_tokens=4096)
    others = [
        make("step", 2),
        make("step-seats", 1),
        make("step+boot60", 1),
        make("step+max9", 1),
        make("step+crash", 1),
        dataclasses.replace(scenario, intent=dataclasses.replace(scenario.intent, budget=budget)),
        dataclasses.replace(scenario, initial_replicas=scenario.initial_replicas + 1),
        dataclasses.replace(scenario, warm_up_seconds=900.0),
    ]
    keys = {oracle_cache.key(other, "q") for other in [scenario, *others]}
    keys.add(oracle_cache.key(scenario, "another"))
    assert len(keys) == len(others) + 2


def test_a_plan_is_found_anew_when_what_it_ran_through_has_changed() -> None:
    modules = oracle_cache.imported("thinkscale.simulation.oracle")
    assert {
        "thinkscale.simulation.oracle",
        "thinkscale.simulation.stitching",
        "thinkscale.simulation.run",
        "thinkscale.model.admission",
    } <= set(modules)
    assert "thinkscale.simulation.report" not in modules
    assert not any(name.startswith("thinkscale.cli") for name in modules)
    assert b"def stitch(" in modules["thinkscale.simulation.stitching"]
