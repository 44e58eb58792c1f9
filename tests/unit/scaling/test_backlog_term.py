"""The thinking backlog as a term of its own: work instead of counts."""

import dataclasses

from tests.unit.scaling.builders import FIRST_ANSWER, make_intent, make_signals
from tests.unit.scaling.narration import Story
from thinkscale.model.ages import BINS
from thinkscale.model.decision import Reason, Term
from thinkscale.model.intent import Budget, Indicator, Objective
from thinkscale.model.signals import LifeTableCounts


def _term(terms: tuple[Term, ...], name: str) -> Term:
    return next(term for term in terms if term.name == name)


def test_backlog_seconds_are_tokens_over_the_capacity_of_the_ready_fleet():
    decision = Story().tick(0, 3, make_signals(thinking=20, answering=4, queued=0))
    # 20 thoughts of 300 to go, 20 seats that do not answer, 30 ms a token.
    assert 8.0 < decision.numbers["backlog_seconds"] < 9.5
    assert "backlog" in _term(decision.terms, "backlog").because


def test_old_thinkers_of_a_heavy_tail_outbid_their_number():
    """Most thoughts are short, some never seem to end: 24 of those keep their seats when new
    requests come, though the mean says that they will be gone.
    """
    ends = [20_000 if j < 20 else 1 for j in range(BINS)]
    table = LifeTableCounts(exposure_tokens=(2_000_000,) * BINS, ends=tuple(ends))
    story = Story(make_intent(budget=Budget(), high=64))
    for second in range(0, 31, 2):
        signals = make_signals(
            thinking=24, age_tokens=4000, arrivals=20 * second, tokens=1600 * second
        )
        decision = story.tick(second, 3, dataclasses.replace(signals, life_table=table))
    backlog, occupancy = _term(decision.terms, "backlog"), _term(decision.terms, "occupancy")
    assert backlog.wish is not None
    assert occupancy.wish is not None
    assert backlog.wish > occupancy.wish
    assert decision.reason is Reason.BACKLOG
    assert "to think within 28 s" in decision.message
    assert decision.message.endswith("replicas would do")


def test_without_an_objective_on_the_wait_the_backlog_is_reported_but_wishes_nothing():
    pace = Objective(
        name="pace",
        indicator=Indicator.TIME_PER_ANSWER_TOKEN,
        threshold_seconds=0.06,
        per_token_seconds=0.0,
        objective=0.95,
        window_seconds=3600.0,
    )
    decision = Story(make_intent(objectives=[pace])).tick(0, 1, make_signals(thinking=4))
    assert _term(decision.terms, "backlog").wish is None
    assert decision.numbers["backlog_tokens"] > 0
    assert "no objective bounds the wait" in _term(decision.terms, "backlog").because


def test_before_anything_was_measured_the_backlog_has_nothing_to_say():
    decision = Story().tick(0, 1, make_signals(thinking=4, mean_tokens=None, fastest=None))
    assert _term(decision.terms, "backlog").wish is None
    assert "backlog_seconds" not in decision.numbers


def test_a_fleet_whose_seats_all_answer_has_no_backlog_in_seconds():
    decision = Story().tick(0, 1, make_signals(queued=3, answering=8))
    assert "backlog_seconds" not in decision.numbers
    assert decision.numbers["backlog_tokens"] > 0


def test_a_service_without_slos_has_no_tail_wish():
    decision = Story(make_intent(objectives=[])).tick(0, 1, make_signals(thinking=4))
    assert _term(decision.terms, "tail").wish is None
    assert FIRST_ANSWER.name not in decision.attained
