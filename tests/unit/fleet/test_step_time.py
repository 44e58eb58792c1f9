"""The arithmetic of a step, with the numbers written out."""

import pytest

from thinkscale.fleet.profile import DEMO, PROFILES, REFERENCE


def test_the_reference_replica_at_its_kv_limit_takes_forty_milliseconds_a_token() -> None:
    # 15.5 + 97 * 0.027 + 289,933 * 0.000076 = 15.5 + 2.619 + 22.035
    assert REFERENCE.step_seconds(97, 289_933, 0) == pytest.approx(0.040154, abs=1e-6)


def test_a_prompt_stalls_everybody_by_its_prefill() -> None:
    stall = REFERENCE.step_seconds(10, 5_000, 2_000) - REFERENCE.step_seconds(10, 5_000, 0)
    assert stall == pytest.approx(2_000 * 51e-6)


def test_context_weighs_more_than_the_number_of_sequences() -> None:
    per_sequence = REFERENCE.context_token_seconds * 3_789 / REFERENCE.sequence_seconds
    assert 5 < per_sequence < 11


def test_the_demo_replica_is_nearly_flat() -> None:
    alone, full = DEMO.step_seconds(1, 500, 0), DEMO.step_seconds(8, 4_000, 0)
    assert alone == pytest.approx(0.0273, abs=1e-4)
    assert full == pytest.approx(0.0295, abs=1e-4)


def test_every_profile_is_listed_under_its_own_name_and_can_serve_a_long_thought() -> None:
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert profile.kv_tokens >= 32_768
        assert 0 < profile.seats <= profile.step_tokens
