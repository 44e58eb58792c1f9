"""Records, tables and reports, made from runs whose figures are known."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.simulation.outcomes import outcome
from thinkscale.simulation import record, report, results, scenarios
from thinkscale.simulation.outcome import Outcome
from thinkscale.simulation.workload import Workload


def _scenario():
    load = Workload(
        name="smooth",
        at_seconds=np.array([0.0, 1.0]),
        prompt_tokens=np.array([100, 100]),
        thinking_tokens=np.array([100, 100]),
        answer_tokens=np.array([10, 10]),
    )
    return replace(scenarios.replay(load, 1), warm_up_seconds=1800.0)


def _record(made: Outcome, *, family: str = "", setting: str = "", searched: bool = False):
    return {
        **record.record_of(made, _scenario(), lower_bound_gpu_hours=40.0),
        "family": family or made.policy,
        "setting": setting,
        "searched": searched,
        "target": 0.99,
        "fingerprint": "abc",
    }


def _records():
    """Ours, a rival at three settings and the oracle, two seeds."""
    made = []
    for seed in (1, 2):
        oracle = _record(outcome(seed=seed, hours=6, policy="oracle", replicas=4, late_share=0.01))
        runs = [
            oracle,
            _record(outcome(seed=seed, hours=6, policy="thinkscale", replicas=4, late_share=0.004)),
        ]
        for setting, replicas, late in (("0.5", 8, 0.002), ("0.7", 6, 0.006), ("0.9", 5, 0.03)):
            run = outcome(
                seed=seed, hours=6, policy=f"kpa:{setting}", replicas=replicas, late_share=late
            )
            runs.append(_record(run, family="kpa", setting=setting, searched=True))
        chosen = outcome(seed=seed, hours=6, policy="kpa", replicas=6, late_share=0.006)
        runs.append(_record(chosen, family="kpa", setting="0.7"))
        made += [record.with_oracle(r, oracle["gpu_hours"]) for r in runs]
    return made


ISSUE_KEYS = {
    "policy", "scenario", "seed", "attainment", "attainment_by_slo", "attainment_worst_hour",
    "gpu_hours", "gpu_hours_to_oracle", "gpu_hours_to_lower_bound", "truncated_share",
    "withheld_tokens", "reversals_per_day", "preemptions", "queue_seconds", "ttfa_seconds",
    "tpot_seconds", "e2e_seconds",
}  # fmt: skip


def test_a_record_holds_what_is_promised_and_is_plain_json():
    made = _record(outcome(seed=1, hours=3))
    assert set(made) >= ISSUE_KEYS
    for name in ("queue_seconds", "ttfa_seconds", "tpot_seconds", "e2e_seconds"):
        assert set(made[name]) == {"p50", "p95", "p99"}
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_a_record_agrees_with_the_run():
    run = outcome(seed=1, hours=3)
    made = _record(run)
    assert made["attainment"] == pytest.approx(run.requests.met["wait"].mean())
    assert made["attainment_clean"] == pytest.approx(
        (run.requests.met["wait"] & ~run.requests.cut).mean()
    )
    assert made["gpu_hours"] == pytest.approx(4 * 3 * 2)
    assert made["gpu_hours_to_lower_bound"] == pytest.approx(24 / 40)
    assert made["reversals_per_day"] == pytest.approx(5 * 8)
    assert made["mean_replicas"] == pytest.approx(4)
    assert made["e2e_seconds"]["p50"] == pytest.approx(
        np.median(run.requests.end_seconds), rel=0.01
    )


def test_what_never_finished_has_no_percentile_to_show():
    run = outcome(seed=1, hours=3)
    ends = run.requests.end_seconds.copy()
    ends[: len(ends) // 30] = math.nan
    made = _record(replace(run, requests=replace(run.requests, end_seconds=ends)))
    assert made["e2e_seconds"]["p50"] is not None
    assert made["e2e_seconds"]["p99"] is None


def test_blocks_survive_the_file():
    made = _record(outcome(seed=1, hours=3))
    blocks = record.blocks_in(json.loads(json.dumps(made)))
    assert blocks.arrived.sum() == made["requests"]
    assert blocks.gpu_hours.sum() == pytest.approx(made["gpu_hours"], abs=1e-4)


def test_a_row_sums_its_seeds_and_is_paired_with_ours():
    table = results.rows(_records())
    kpa = next(row for row in table if row.policy == "kpa")
    ours = next(row for row in table if row.policy == "thinkscale")
    assert kpa.seeds == (1, 2)
    assert kpa.gpu_hours_to_oracle == pytest.approx(6 / 4)
    ratio = kpa.gpu_hours_to_thinkscale
    assert (ratio.low, ratio.estimate, ratio.high) == pytest.approx((1.5, 1.5, 1.5))
    difference = kpa.attainment_minus_thinkscale
    assert difference.low < difference.estimate < difference.high
    assert difference.estimate == pytest.approx(kpa.attainment - ours.attainment)
    assert kpa.attainment_lower_95 < kpa.attainment
    assert ours.gpu_hours_to_thinkscale is None


def test_ours_comes_after_the_oracle_and_before_the_rivals():
    families = [row.family for row in results.rows(_records())]
    assert families[:2] == ["oracle", "thinkscale"]
    assert set(families[2:]) == {"kpa"}


def test_at_equal_attainment_a_rival_is_interpolated_between_its_settings():
    equal = {e.family: e for e in results.at_equal_attainment(results.rows(_records()))}
    assert 60 < equal["kpa"].gpu_hours < 72  # between 5 and 6 replicas, of two GPUs, for 6 hours
    assert equal["thinkscale"].gpu_hours == pytest.approx(48)
    assert equal["kpa"].gpu_hours_to_thinkscale == pytest.approx(equal["kpa"].gpu_hours / 48)
    assert equal["kpa"].settings == 4


def test_a_policy_that_never_reaches_the_target_has_no_figure():
    equal = results.at_equal_attainment(results.rows(_records()), target=0.9999)
    assert all(e.gpu_hours is None for e in equal)


def test_a_seed_that_only_one_has_does_not_enter_the_pairs():
    made = [r for r in _records() if not (r["policy"] == "kpa" and r["seed"] == 2)]
    kpa = next(row for row in results.rows(made) if row.policy == "kpa")
    assert kpa.seeds == (1,)
    assert kpa.gpu_hours_to_thinkscale.estimate == pytest.approx(1.5)


def test_the_report_shows_single_settings_first_and_all_in_the_scenarios_table():
    text = report.markdown(
        results.rows(_records()), "thinkscale compare", "abc", {"smooth": "plots/smooth.png"}
    )
    overview, rest = text.split("## At equal attainment")
    assert "| kpa |" in overview
    assert "kpa:0.5" not in overview
    assert "kpa:0.5" in rest
    assert "![Attainment against GPU-hours in smooth](plots/smooth.png)" in rest
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines[:3]}) == 1


def test_the_report_as_data_has_every_run_and_no_blocks():
    records = _records()
    made = report.as_json(records, results.rows(records), "thinkscale compare", "abc")
    assert len(made["runs"]) == 12
    assert all("blocks" not in run for run in made["runs"])
    json.dumps(made, allow_nan=False)
