"""The table of attainment: who meets an SLO, who misses it, who does not count."""

import pytest

from tests.unit.gateway.asking import chat
from tests.unit.gateway.in_process import emulated, front_of
from thinkscale.gateway.ledger import Ledger
from thinkscale.gateway.slo import Outcome
from thinkscale.model.gateway_config import SloConfig
from thinkscale.model.intent import Indicator

TTFT = SloConfig(name="ttft", indicator=Indicator.TIME_TO_FIRST_TOKEN, threshold_seconds=1.0)
TTFA = SloConfig(
    name="ttfa",
    indicator=Indicator.TIME_TO_FIRST_ANSWER,
    threshold_seconds=2.0,
    per_token_seconds=0.1,
)
E2E = SloConfig(
    name="e2e", indicator=Indicator.END_TO_END, threshold_seconds=5.0, per_token_seconds=0.1
)
PACE = SloConfig(name="pace", indicator=Indicator.TIME_PER_ANSWER_TOKEN, threshold_seconds=0.5)

GOOD, BAD, OUT = (1, 0), (0, 1), (0, 0)


@pytest.mark.parametrize(
    ("first", "answer_at", "last", "thinking", "answers", "end", "outcome", "expected"),
    [
        # everything in time
        (0.5, 2.0, 4.0, 10, 5, 4.0, Outcome.COMPLETED, (GOOD, GOOD, GOOD, GOOD)),
        # the limit of TTFA grows with the thought: 2 + 0.1 x 30 = 5
        (0.5, 4.9, 5.5, 30, 5, 5.5, Outcome.COMPLETED, (GOOD, GOOD, GOOD, GOOD)),
        (0.5, 5.1, 5.5, 30, 5, 5.5, Outcome.COMPLETED, (GOOD, BAD, GOOD, GOOD)),
        # slow first token
        (1.1, 2.0, 3.0, 10, 5, 3.0, Outcome.COMPLETED, (BAD, GOOD, GOOD, GOOD)),
        # slow pace: 4 s for 4 tokens after the first
        (0.5, 1.0, 5.0, 10, 5, 5.0, Outcome.COMPLETED, (GOOD, GOOD, GOOD, BAD)),
        # one answer token has no pace
        (0.5, 1.0, 1.0, 10, 1, 1.0, Outcome.COMPLETED, (GOOD, GOOD, GOOD, OUT)),
        # five that came at once neither: the engine may have made them fast or slowly
        (3.0, 3.0, 3.0, 10, 5, 3.0, Outcome.COMPLETED, (BAD, GOOD, GOOD, OUT)),
        # too long altogether: 5 + 0.1 x 20 = 7
        (0.5, 1.0, 7.5, 0, 20, 7.5, Outcome.COMPLETED, (GOOD, GOOD, BAD, GOOD)),
        # failures are misses, however fast
        (0.1, 0.2, 0.3, 1, 2, 0.3, Outcome.FAILED, (BAD, BAD, BAD, BAD)),
        (None, None, None, 0, 0, 0.0, Outcome.FAILED, (BAD, BAD, BAD, BAD)),
        # the client's own mistakes do not count
        (None, None, None, 0, 0, 9.0, Outcome.REFUSED, (OUT, OUT, OUT, OUT)),
        # a cancel counts only if it was late already
        (0.5, None, 0.9, 5, 0, 0.9, Outcome.CANCELLED, (OUT, OUT, OUT, OUT)),
        (None, None, None, 0, 0, 1.5, Outcome.CANCELLED, (BAD, OUT, OUT, OUT)),
        (0.5, None, 2.4, 5, 0, 2.6, Outcome.CANCELLED, (OUT, BAD, OUT, OUT)),
        # it ended properly without an answer: judged by its end
        (0.5, None, 2.0, 10, 0, 2.0, Outcome.COMPLETED, (GOOD, GOOD, GOOD, OUT)),
        (0.5, None, 3.5, 10, 0, 3.5, Outcome.COMPLETED, (GOOD, BAD, GOOD, OUT)),
    ],
)
def test_a_request_is_scored_by_the_models_definition(
    first: float | None,
    answer_at: float | None,
    last: float | None,
    thinking: int,
    answers: int,
    end: float,
    outcome: Outcome,
    expected: tuple[tuple[int, int], ...],
) -> None:
    ledger = Ledger(slos=(TTFT, TTFA, E2E, PACE))
    flight = ledger.arrive(100.0)
    if first is not None:
        ledger.progress(flight, thinking=1, answer=0, began=True, answered=False, now=100 + first)
    if answer_at is not None:
        ledger.progress(
            flight, thinking=thinking, answer=1, began=True, answered=True, now=100 + answer_at
        )
    if last is not None:
        ledger.progress(
            flight,
            thinking=thinking,
            answer=answers,
            began=True,
            answered=answer_at is not None,
            now=100 + last,
        )
    ledger.end(flight, outcome, 100 + end)
    counts = ledger.slo_counts(100 + end)
    assert tuple((c.good, c.bad) for c in counts.values()) == expected
    assert all(c.overdue == 0 for c in counts.values())


def test_a_request_in_flight_past_its_limit_is_overdue_until_it_ends() -> None:
    ledger = Ledger(slos=(TTFT, TTFA))
    flight = ledger.arrive(0.0)

    def overdue(now: float) -> tuple[int, int]:
        counts = ledger.slo_counts(now)
        return counts["ttft"].overdue, counts["ttfa"].overdue

    assert overdue(0.9) == (0, 0)
    assert overdue(1.1) == (1, 0)
    assert overdue(2.1) == (1, 1)
    ledger.progress(flight, thinking=10, answer=0, began=True, answered=False, now=2.2)
    assert overdue(2.9) == (1, 0)  # ten tokens of thought earned a second
    ledger.progress(flight, thinking=10, answer=1, began=True, answered=True, now=2.95)
    assert overdue(60) == (1, 0)
    ledger.end(flight, Outcome.COMPLETED, 60)
    counts = ledger.slo_counts(60)
    assert (counts["ttft"].bad, counts["ttfa"].good) == (1, 1)
    assert overdue(60) == (0, 0)


async def test_an_answer_that_no_engine_streams_is_in_no_pace() -> None:
    """Its instants are one: at no time a token it could never be too slow."""
    paces = (Indicator.TIME_PER_ANSWER_TOKEN, Indicator.TIME_PER_OUTPUT_TOKEN)
    slos = tuple(SloConfig(name=each, indicator=each, threshold_seconds=1e-6) for each in paces)
    async with (
        emulated("vllm", "--reasoning-parser", "deepseek_r1") as engine,
        front_of(engine, slos=slos) as front,
    ):
        ledger = front.gateway.ledger
        for whole, missed in ({"prompt_logprobs": 0}, 0), ({}, 1):
            _, answer = await front.ask(**chat(20, 40, stream=False, **whole))
            assert answer["usage"]["completion_tokens"] > 60
            counts = ledger.slo_counts(front.gateway.clock()).values()
            assert [(each.good, each.bad) for each in counts] == [(0, missed)] * 2
            paced = (ledger.thinking_pace, ledger.answer_pace)
            assert [sum(bins.counts) for bins in paced] == [missed] * 2
            assert (ledger.fastest_token_seconds is not None) is bool(missed)
