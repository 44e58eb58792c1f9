"""The books add up, whatever happens in whatever order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from thinkscale.gateway.flight import Flight
from thinkscale.gateway.holding import Holding
from thinkscale.gateway.ledger import Ledger
from thinkscale.gateway.lifetable import LifeTable
from thinkscale.gateway.slo import Outcome
from thinkscale.model.ages import BINS, bin_of

moves = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "dispatch", "think", "answer", "end", "hold", "look"]),
        st.integers(0, 30),
        st.integers(1, 500),
        st.sampled_from(list(Outcome)),
    ),
    max_size=60,
)


def play(ledger: Ledger, move: str, flight: Flight, amount: int, now: float) -> None:
    thinking, answer = flight.thinking, flight.answer
    match move:
        case "dispatch":
            ledger.dispatch(flight, f"r{amount % 3}", now)
        case "hold":
            ledger.hold(flight)
        case "think" if flight.answer_begun is None:
            ledger.progress(
                flight,
                thinking=thinking + amount,
                answer=0,
                began=True,
                answered=False,
                now=now,
            )
        case "answer":
            ledger.progress(
                flight,
                thinking=thinking,
                answer=answer + amount,
                began=True,
                answered=True,
                now=now,
            )
        case "look":
            ledger.work("r0", now)


def check(ledger: Ledger, flights: list[Flight]) -> None:
    phases = ledger.phases()
    assert phases.in_flight == len(flights) == ledger.in_flight
    assert phases.depth == ledger.depth
    assert sum(ledger.thinking_ages()) == phases.thinking
    assert sum(ledger.life_table.exposure_tokens) <= ledger.totals.thinking_tokens
    assert sum(ledger.output_ages()) == phases.thinking + phases.answering
    written = ledger.totals.thinking_tokens + ledger.totals.answer_tokens
    assert sum(ledger.output_life_table.exposure_tokens) <= written
    totals = ledger.totals
    assert totals.arrivals == len(flights) + (
        totals.completed + totals.failed + totals.cancelled + totals.refused
    )


@settings(max_examples=60, deadline=None)
@given(moves)
def test_counts_agree_with_one_another_at_every_moment(steps: list[tuple]) -> None:
    ledger, now = Ledger(), 0.0
    flights: list[Flight] = []
    for move, which, amount, outcome in steps:
        now += 0.1
        if move == "arrive" or not flights:
            flights.append(ledger.arrive(now))
        elif move == "end":
            ledger.end(flights.pop(which % len(flights)), outcome, now)
        else:
            play(ledger, move, flights[which % len(flights)], amount, now)
        check(ledger, flights)
    for flight in flights:
        ledger.end(flight, Outcome.COMPLETED, now)
    assert sum(ledger.life_table.exposure_tokens) == ledger.totals.thinking_tokens
    written = ledger.totals.thinking_tokens + ledger.totals.answer_tokens
    assert sum(ledger.output_life_table.exposure_tokens) == written
    assert sum(ledger.output_life_table.ends) <= ledger.totals.completed
    for name in ("r0", "r1", "r2"):
        assert abs(ledger.work(name, now)) < 1e-6
        assert ledger.work(name, now + 10) == 0


@given(st.integers(0, 90_000), st.integers(0, 90_000))
def test_exposure_is_booked_in_the_bins_it_was_lived_in(start: int, length: int) -> None:
    table = LifeTable()
    table.expose(start, start + length)
    assert sum(table.exposure_tokens) == length
    lived = [i for i in range(BINS) if table.exposure_tokens[i]]
    if length:
        assert lived == list(range(bin_of(start), bin_of(start + length - 1) + 1))


def test_a_constant_hazard_leaves_the_same_at_every_age() -> None:
    table = LifeTable(prior_mean_tokens=1000)
    table.exposure_tokens = [100_000] * BINS
    table.ends = [100] * BINS
    for age in (0, 50, 500, 5_000, 50_000):
        assert abs(table.remaining(age, None) - 1000) < 1


def test_what_is_left_is_bounded_by_the_budget() -> None:
    table = LifeTable(prior_mean_tokens=1000)
    assert table.remaining(90, 100) == 10
    assert table.remaining(150, 100) == 0


def test_heavy_tails_leave_more_to_those_who_thought_long() -> None:
    table = LifeTable()
    for length in [50] * 90 + [20_000] * 10:
        table.expose(0, length)
        table.end(length)
    assert table.remaining(0, None) < table.remaining(100, None)


def test_a_thought_that_was_cut_is_censored() -> None:
    ledger = Ledger()
    for natural in (True, False):
        flight = ledger.arrive(0.0)
        ledger.progress(flight, thinking=100, answer=0, began=True, answered=False, now=1.0)
        ledger.think_ended(flight, natural=natural)
        ledger.end(flight, Outcome.COMPLETED, 2.0)
    assert sum(ledger.life_table.ends) == 1
    assert sum(ledger.life_table.exposure_tokens) == 200


def told(
    ledger: Ledger, thinking: int, answer: int, *, cut: bool = False, by_load: bool = False
) -> Flight:
    """A request that thought and answered that much."""
    flight = ledger.arrive(0.0)
    ledger.progress(flight, thinking=thinking, answer=0, began=True, answered=False, now=1.0)
    ledger.think_ended(flight, natural=not cut, by_load=by_load)
    ledger.progress(flight, thinking=thinking, answer=answer, began=True, answered=True, now=2.0)
    return flight


def test_a_finished_request_is_one_end_at_its_whole_output() -> None:
    ledger = Ledger()
    ledger.end(told(ledger, 100, 60), Outcome.COMPLETED, 3.0)
    assert ledger.output_life_table.ends[bin_of(160)] == sum(ledger.output_life_table.ends) == 1
    assert sum(ledger.output_life_table.exposure_tokens) == 160


def test_an_output_whose_thought_ended_at_the_declared_budget_ends_like_any_other() -> None:
    ledger = Ledger()
    ledger.end(told(ledger, 100, 60, cut=True), Outcome.COMPLETED, 3.0)
    assert sum(ledger.life_table.ends) == 0
    assert ledger.output_life_table.ends[bin_of(160)] == 1
    assert sum(ledger.output_life_table.exposure_tokens) == 160


def test_an_output_whose_thought_load_has_cut_is_censored_there() -> None:
    ledger = Ledger()
    flight = told(ledger, 100, 60, cut=True, by_load=True)
    assert ledger.output_ages()[bin_of(160)] == 1
    ledger.end(flight, Outcome.COMPLETED, 3.0)
    assert sum(ledger.output_life_table.ends) == 0
    assert sum(ledger.output_life_table.exposure_tokens) == 100


def test_an_output_that_was_broken_off_or_cancelled_is_censored() -> None:
    ledger = Ledger()
    for outcome in (Outcome.FAILED, Outcome.CANCELLED):
        ledger.end(told(ledger, 100, 60), outcome, 3.0)
    assert sum(ledger.output_life_table.ends) == 0
    assert sum(ledger.output_life_table.exposure_tokens) == 320


def test_what_a_replica_holds_follows_its_requests_token_by_token() -> None:
    ledger, holding = Ledger(), Holding()
    flight = ledger.arrive(0.0, 90)
    holding.take(flight.prompt, 0.0, 0.0)
    flight.holding = holding
    ledger.prompt_told(flight, 100)
    ledger.progress(flight, thinking=30, answer=0, began=True, answered=False, now=1.0)
    ledger.progress(flight, thinking=30, answer=20, began=True, answered=True, now=1.0)
    assert holding.context_tokens == flight.tokens == 150
    ledger.progress(flight, thinking=30, answer=15, began=True, answered=True, now=1.0)
    assert holding.context_tokens == 145  # an estimate was corrected
    ledger.end(flight, Outcome.COMPLETED, 2.0)
    holding.give_back(flight.tokens)
    assert (holding.running, holding.context_tokens) == (0, 0)
    assert (ledger.totals.arrived_prompt_tokens, ledger.totals.prompt_tokens) == (90, 100)


def test_the_fastest_token_is_the_best_mean_of_a_request_of_some_length() -> None:
    ledger = Ledger()
    for tokens, seconds in ((10, 0.001), (41, 0.8), (41, 0.4)):
        flight = ledger.arrive(0.0)
        ledger.progress(flight, thinking=1, answer=0, began=True, answered=False, now=1.0)
        ledger.progress(
            flight, thinking=tokens, answer=0, began=True, answered=False, now=1.0 + seconds
        )
        ledger.end(flight, Outcome.COMPLETED, 5.0)
    assert ledger.fastest_token_seconds is not None
    assert abs(ledger.fastest_token_seconds - 0.01) < 1e-9


def test_the_pace_of_a_phase_is_between_its_tokens_alone() -> None:
    """Neither the closing tag, nor what comes before the first answer token, nor the chunks that
    end a stream are a token's time.
    """
    ledger = Ledger()
    flight = ledger.arrive(0.0)

    def told(now: float, thinking: int, answer: int) -> None:
        ledger.progress(
            flight, thinking=thinking, answer=answer, began=True, answered=answer > 0, now=now
        )

    for token in range(1, 6):
        told(1.0 + 0.1 * token, token, 0)
    told(1.6, 5, 0)  # the closing tag
    for token in range(1, 4):
        told(2.0 + 0.2 * token, 5, token)
    told(9.0, 5, 3)  # the end, the usage
    ledger.end(flight, Outcome.COMPLETED, 9.0)
    assert abs(ledger.thinking_pace.sum_seconds - 0.1) < 1e-9
    assert abs(ledger.answer_pace.sum_seconds - 0.2) < 1e-9


def test_an_answer_that_came_whole_tells_no_fastest_token() -> None:
    ledger = Ledger()
    flight = ledger.arrive(0.0)
    ledger.progress(flight, thinking=40, answer=40, began=True, answered=True, now=1.0)
    ledger.end(flight, Outcome.COMPLETED, 1.0)
    assert ledger.fastest_token_seconds is None
