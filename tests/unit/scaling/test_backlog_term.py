"""The thinking backlog as a term of its own: work instead of counts."""

from dataclasses import replace

from tests.unit.scaling.builders import FIRST_ANSWER, make_intent, make_signals
from tests.unit.scaling.narration import Story
from thinkscale.model.decision import Reason, Term
from thinkscale.model.signals import LifeTableCounts


def _term(terms: tuple[Term, ...], name: str) -> Term:
    return next(term for term in terms if term.name == name)


def test_backlog_seconds_are_tokens_over_the_capacity_of_the_ready_fleet():
    decision = Story().tick(0, 3, make_signals(thinking=20, answering=4, queued=0))
    # 20 thoughts of 300 to go, 20 seats that do not answer, 30 ms a token.
    assert 8.0 < decision.numbers["backlog_seconds"] < 9.5
    assert "backlog" in _term(decision.terms, "backlog").because


def test_a_queue_worth_more_than_the_slack_asks_for_what_drains_it_in_time():
    """100 wait, nobody comes: one replica of 8 seats at 9 s a request would take two minutes. New
    ones come after 20 s and are to be done 15 s later.
    """
    story = Story(make_intent(high=64))
    story.tick(0, 1, make_signals(thinking=4))
    story.tick(15, 1, make_signals(thinking=4))
    decision = story.tick(30, 1, make_signals(thinking=8, queued=100, held=100))
    backlog, occupancy = _term(decision.terms, "backlog"), _term(decision.terms, "occupancy")
    assert backlog.wish is not None
    assert occupancy.wish is not None
    assert backlog.wish > occupancy.wish
    assert 4 <= backlog.wish <= 8
    assert decision.reason is Reason.BACKLOG
    assert "100 waiting" in decision.message
    assert decision.message.endswith("replicas would do")


def test_the_queue_of_a_model_that_never_thinks_asks_for_what_drains_it_too():
    story = Story(make_intent(high=64))
    for second, changes in ((0, {}), (15, {}), (30, {"queued": 100, "held": 100})):
        answering = make_signals(answering=8 if changes else 4, **changes)
        decision = story.tick(second, 1, replace(answering, life_table=LifeTableCounts()))
    assert decision.numbers["backlog_tokens"] == 0
    assert 4 <= (_term(decision.terms, "backlog").wish or 0) <= 8
    assert decision.reason is Reason.BACKLOG


def test_a_short_queue_is_normal_and_asks_for_nothing():
    story = Story(make_intent(high=64))
    for i in range(8):
        signals = make_signals(thinking=8, queued=4, held=4, arrivals=30 * i)
        decision = story.tick(i * 15, 1, signals)
    assert _term(decision.terms, "backlog").wish == 0
    assert "no queue worth a replica" in _term(decision.terms, "backlog").because


def test_before_a_rate_is_known_whoever_waits_is_a_queue():
    decision = Story().tick(0, 1, make_signals(thinking=1, queued=2, held=2))
    assert "2 waiting" in _term(decision.terms, "backlog").because
    assert decision.next_tick_seconds == 2.0


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
