"""Scenarios by name and seed: the same bit for bit, paired over their variants."""

import dataclasses
import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from thinkscale.fleet.profile import REFERENCE
from thinkscale.model.intent import Indicator
from thinkscale.simulation import scenarios, trace
from thinkscale.simulation.design_point import design_point, pace_limit_seconds
from thinkscale.simulation.scenarios import NAMES, make
from thinkscale.simulation.shared_limit import two_services
from thinkscale.simulation.variants import UnknownScenario
from thinkscale.simulation.workload import Workload


def fingerprint(workload: Workload) -> str:
    digest = hashlib.sha256()
    columns = (workload.prompt_tokens, workload.thinking_tokens, workload.answer_tokens)
    for column in (workload.at_seconds, *columns):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:16]


RECORDED = {
    "smooth": "34fea97c321cf666",
    "bursts": "be7eb5485d87e414",
    "step": "ad22613d83c9e804",
    "drift": "d13c8346c950e9eb",
    "heavy-tail": "95e5e39cfa51cb9c",
    "heavy-tail-8k": "8a7af4a7e7d5c347",
    "servegen": "c6e1bb300a03b6be",
    "llmd-ramp": "64db9160b4415a62",
    "azure": "4d4c31c770bbaab2",
    "mooncake": "cf55a90846fef087",
}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_seed_gives_the_recorded_requests_bit_for_bit(name: str) -> None:
    assert fingerprint(make(name, 1).workload) == RECORDED[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_scenario_is_complete_and_its_arrivals_end_with_it(name: str) -> None:
    scenario = make(name, 3)
    assert scenario.name == name
    assert scenario.seed == 3
    workload = scenario.workload
    assert workload.at_seconds[-1] < scenario.duration_seconds
    assert np.any(workload.at_seconds < scenario.warm_up_seconds)
    most = (workload.prompt_tokens + workload.output_tokens).max()
    assert most <= scenario.profile.kv_tokens
    intent = scenario.intent
    assert intent.min_replicas <= scenario.initial_replicas <= intent.max_replicas
    assert intent.step_time == scenario.profile.step_time
    assert {slo.indicator for slo in intent.objectives} >= {
        Indicator.TIME_TO_FIRST_TOKEN,
        Indicator.TIME_PER_OUTPUT_TOKEN,
    }


def test_other_seeds_are_other_requests() -> None:
    assert fingerprint(make("step", 1).workload) != fingerprint(make("step", 2).workload)


def test_variants_meet_the_same_requests() -> None:
    plain = fingerprint(make("drift", 11).workload)
    for name in ("drift+priors1.25", "drift+lost0.2+crash", "drift-seats", "drift+gateways4"):
        assert fingerprint(make(name, 11).workload) == plain
    assert fingerprint(make("gpu-limit", 4).workload) == fingerprint(make("smooth", 4).workload)


def test_half_of_the_requests_each_are_of_two_tiers_whose_quality_the_law_is_told() -> None:
    plain, made = make("gpu-limit", 4), make("gpu-limit+tiers", 4)
    assert plain.workload.tier is None
    assert plain.intent.tiers == ()
    assert made.name == "gpu-limit+tiers"
    assert fingerprint(made.workload) == fingerprint(plain.workload)
    assert made.workload.tiers == ("flat", "steep")
    assert made.workload.tier is not None
    assert made.workload.tier.mean() == pytest.approx(0.5, abs=0.01)
    assert [tier.name for tier in made.intent.tiers] == ["flat", "steep"]
    late = made.workload.rows(slice(100, 300))
    assert late.tier is not None
    assert (late.tier == made.workload.tier[100:300]).all()
    for tier in made.intent.tiers:
        for point in tier.quality[:-1]:
            longer = (made.workload.thinking_tokens > point.max_tokens).mean()
            lost = (tier.quality[-1].score_percent - point.score_percent) / longer
            assert lost < 100, "nobody can lose more than an answer"


def test_variants_are_named_in_one_order_however_they_were_typed() -> None:
    typed = make("drift+crash+boot60+gateways2+lost0.2+priors1.25", 11)
    assert typed.name == "drift+priors1.25+lost0.2+gateways2+boot60+crash"
    again = make(typed.name, 11)
    assert dataclasses.replace(typed, workload=again.workload) == again


def test_what_a_variant_says_is_what_happens() -> None:
    scenario = make("drift+priors0.75+lost0.2+crash+boot60+max9+seats64+gateways4", 1)
    assert scenario.intent.step_time is not None
    assert scenario.intent.step_time.base_seconds == pytest.approx(0.75 * 15.5e-3)
    assert scenario.intent.step_time.prompt_token_seconds == pytest.approx(0.75 * 51e-6)
    assert scenario.profile.step_time == REFERENCE.step_time
    assert scenario.faults.lost_scrapes == 0.2
    assert scenario.faults.crashes_at_seconds == (1800.0 + 7200.0,)
    assert (scenario.boot.mean_seconds, scenario.boot.deviation_seconds) == (60.0, 7.5)
    assert scenario.intent.max_replicas == 9
    assert scenario.profile.seats == scenario.intent.seats_per_replica == 64
    assert scenario.gateways == 4


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("smoth", "no scenario is named 'smoth'; there are smooth, bursts, step"),
        ("drift+warp9", "no variant is named +warp9; there are +priorsNUMBER"),
        ("drift+lost", "no variant is named +lost;"),
        ("drift+crash2", "no variant is named +crash2;"),
        ("drift+", "no variant is named +;"),
    ],
)
def test_an_unknown_name_is_refused_with_those_there_are(name: str, says: str) -> None:
    with pytest.raises(UnknownScenario) as caught:
        make(name, 1)
    assert str(caught.value).startswith(says)


def test_brown_out_is_opted_into_by_a_floor_and_an_allowance() -> None:
    on, off = make("smooth", 1).intent, make("smooth", 1, brownout=False).intent
    assert (on.budget.floor_tokens, on.truncation_allowance) == (1024, 0.01)
    assert (off.budget.floor_tokens, off.truncation_allowance) == (None, 0.0)
    capped = make("heavy-tail-8k", 1, brownout=False).intent
    assert (capped.budget.max_tokens, capped.budget.floor_tokens) == (8192, 8192)


def test_the_limits_are_those_of_the_scenarios() -> None:
    assert make("gpu-limit", 1).intent.max_replicas == 9
    assert make("gpu-limit-8", 1).intent.max_replicas == 8
    ramp = make("llmd-ramp", 1)
    assert (ramp.intent.min_replicas, ramp.intent.max_replicas) == (3, 8)
    assert [slo.threshold_seconds for slo in ramp.intent.objectives] == [3.0, 0.1]
    assert ramp.intent.truncation_allowance == 0.0


def test_the_first_fleet_is_right_for_the_first_minutes() -> None:
    scenario = make("heavy-tail", 1)
    one = design_point(scenario.workload, scenario.profile, pace_limit_seconds(scenario.intent))
    assert scenario.initial_replicas == pytest.approx(9.0 / one.requests_per_second * 1.1, abs=1)
    assert make("smooth", 1).initial_replicas < make("drift", 1).initial_replicas


def test_a_fleet_that_nobody_comes_to_begins_at_its_minimum(tmp_path: Path) -> None:
    path = tmp_path / "late.csv"
    path.write_text("arrival_s,prompt_tokens,reasoning_tokens,answer_tokens\n5000,1,2,3\n")
    scenario = scenarios.replay(trace.read(path), 1)
    assert scenario.name == "late"
    assert scenario.initial_replicas == 1
    assert scenario.duration_seconds == 5001
    assert scenario.warm_up_seconds == pytest.approx(833.5)


def test_recorded_scenarios_are_read_from_the_directory_given(tmp_path: Path) -> None:
    with pytest.raises(trace.TraceError, match="is missing; give the directory of the traces"):
        make("servegen", 1, traces=tmp_path)
    (tmp_path / "azure2023_conv_r1.csv").write_text(
        "arrival_s,prompt_tokens,reasoning_tokens,answer_tokens\n0,1,2,3\n600,1,2,3\n"
    )
    assert len(make("azure", 1, traces=tmp_path).workload) == 2


def test_a_full_day_is_thinned_to_its_share(tmp_path: Path) -> None:
    rows = "".join(f"{second},10,20,30\n" for second in range(86_400))
    head = "arrival_s,prompt_tokens,reasoning_tokens,answer_tokens\n"
    (tmp_path / "servegen_r1_24h_documented.csv.gz").write_bytes(
        gzip.compress((head + rows).encode())
    )
    scenario = make("servegen", 1, traces=tmp_path)
    scored = scenario.workload.at_seconds >= scenario.warm_up_seconds
    assert scored.sum() == pytest.approx(0.45 * 86_400, abs=4 * 146)


def test_the_two_services_have_their_peaks_at_different_hours_and_too_few_gpus() -> None:
    shared = two_services(1)
    peaks = []
    for scenario in shared.services.values():
        hours = ((scenario.workload.at_seconds - 1800) // 3600).astype(int)
        peaks.append(int(np.bincount(hours[hours >= 0]).argmax()))
    assert peaks[0] == pytest.approx(10, abs=2)
    assert peaks[1] == pytest.approx(18, abs=2)
    assert len({scenario.intent.service for scenario in shared.services.values()}) == 2
    both = sum(
        np.histogram(s.workload.at_seconds, np.arange(1800, 88_201, 3600))[0] / 3600
        for s in shared.services.values()
    )
    first = shared.services["morning"]
    one = design_point(first.workload, first.profile, 0.045)
    worst = float(np.max(both)) / one.requests_per_second * first.intent.gpus_per_replica
    assert 0.9 * shared.gpus < worst < 1.1 * shared.gpus
