"""Who asks when: arrivals through the phases, and what is sent."""

import pytest

from e2e.fidelity.client import body_of
from e2e.fidelity.traffic import WORDS, Phase, Visit, visits

PHASES = (
    Phase(name="calm", seconds=200.0, per_second=2.0),
    Phase(name="saturating", seconds=50.0, per_second=20.0),
)


def test_each_phase_has_its_rate_and_its_time() -> None:
    made = visits(PHASES, (5, 9), 100, seed=3)
    calm = [visit for visit in made if visit.phase == "calm"]
    saturating = [visit for visit in made if visit.phase == "saturating"]
    assert all(0 <= visit.at_seconds < 200 for visit in calm)
    assert all(200 <= visit.at_seconds < 250 for visit in saturating)
    assert len(calm) == pytest.approx(400, rel=0.15)
    assert len(saturating) == pytest.approx(1000, rel=0.1)
    assert [visit.at_seconds for visit in made] == sorted(visit.at_seconds for visit in made)


def test_a_seed_gives_the_same_requests_and_another_seed_others() -> None:
    assert visits(PHASES, (5, 9), 100, seed=3) == visits(PHASES, (5, 9), 100, seed=3)
    assert visits(PHASES, (5, 9), 100, seed=3) != visits(PHASES, (5, 9), 100, seed=4)


def test_prompts_have_as_many_words_as_asked_for() -> None:
    lengths = {len(visit.prompt.split()) for visit in visits(PHASES, (5, 9), 100, seed=3)}
    assert lengths == {5, 6, 7, 8, 9}
    assert set(visits(PHASES, (5, 9), 100, seed=3)[0].prompt.split()) <= set(WORDS)


def test_only_a_forced_request_goes_past_the_models_own_end() -> None:
    visit = Visit(at_seconds=0.0, phase="calm", prompt="value", max_tokens=7)
    assert "ignore_eos" not in body_of(visit, "tiny", "")
    forced = Visit(at_seconds=0.0, phase="calm", prompt="value", max_tokens=7, forced=True)
    assert body_of(forced, "tiny", "")["ignore_eos"] is True
    assert body_of(forced, "tiny", "")["max_tokens"] == 7


def test_a_plan_travels_in_the_field_that_the_emulator_was_told() -> None:
    visit = Visit(at_seconds=0.0, phase="calm", prompt="value", max_tokens=7, plan=(3, 4))
    assert body_of(visit, "tiny", "x_1")["x_1"] == {"thinking_tokens": 3, "answer_tokens": 4}
