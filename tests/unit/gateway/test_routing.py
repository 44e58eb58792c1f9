"""The least full first, first come first served, and nobody is kept from a fleet that could
serve.
"""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinkscale.gateway.routing import SUSPICION_SECONDS, QueueFull, Replica, Router
from thinkscale.gateway.sequence import Sequence
from thinkscale.model.admission import Ceiling
from thinkscale.model.queueing import QueueRule
from thinkscale.model.step_time import StepTime

REFERENCE = Ceiling(
    seats=128,
    kv_tokens=290_000,
    step_time=StepTime(
        base_seconds=0.0155,
        sequence_seconds=27e-6,
        context_token_seconds=0.076e-6,
        prompt_token_seconds=51e-6,
    ),
    step_limit_seconds=0.04275,
)


@dataclass(frozen=True)
class Asked:
    """A request's handle."""

    number: int
    prompt_tokens: int = 100
    conversation: None = None


def replica(name: str, *, ready: bool = True) -> Replica:
    return Replica(name=name, url=f"http://{name}", ready=ready)


def router_of(
    *names: str, work: dict[str, float] | None = None, seats: int | None = None, **fields: int
) -> Router[Asked]:
    ceiling = None if seats is None else Ceiling(seats=seats)
    router: Router[Asked] = Router(
        ceiling=ceiling, work=lambda name: (work or {}).get(name, 0.0), **fields
    )
    router.locate((replica(name) for name in names), 0.0)
    return router


def submitted(router: Router[Asked], number: int, now: float = 0, prompt: int = 100) -> str | None:
    """Where it goes; None: it is held."""
    placed = router.submit(Asked(number, prompt), now)
    return placed.replica.name if placed else None


def assigned(router: Router[Asked], now: float = 0) -> list[int]:
    return [assignment.ticket.number for assignment in router.assign(now)]


def test_the_least_full_gets_it_and_then_the_one_with_the_least_work() -> None:
    work = {"a": 10.0, "b": 5.0, "c": 5.0}
    router = router_of("a", "b", "c", work=work, seats=8)
    assert [submitted(router, i) for i in range(6)] == ["b", "c", "a", "b", "c", "a"]
    router.release("a", 100)
    router.release("b", 100)
    work["a"] = 1.0
    assert submitted(router, 6) == "a"


def test_without_a_ceiling_the_least_work_decides_and_requests_in_flight_break_the_tie() -> None:
    work = {"a": 10.0, "b": 5.0, "c": 5.0}
    router = router_of("a", "b", "c", work=work)
    assert [submitted(router, i) for i in range(4)] == ["b", "c", "b", "c"]


def test_a_long_context_fills_a_replica_as_seats_do() -> None:
    router = router_of("a", "b")
    router.ceiling = REFERENCE
    assert submitted(router, 0, prompt=20_000) == "a"
    assert [submitted(router, i, prompt=1000) for i in range(1, 9)] == ["b"] * 8
    holding = router.holding("b")
    assert holding is not None
    holding.context_tokens += 20_000  # they think
    assert submitted(router, 9, prompt=1000) == "a"


def test_prompts_of_the_last_seconds_close_a_replica_until_their_stall_has_faded() -> None:
    """Nine prompts of 16,000 tokens take 7.3 s of prefill. With a tenth it would be 41 % of 20 s,
    which leaves a step 25.3 ms of its 42.75, and it would need 27.9; they fit once the nine have
    faded to 6.1 s, after 3.7 s.
    """
    router = router_of("a")
    router.ceiling = REFERENCE
    assert [submitted(router, i, prompt=16_000) for i in range(9)] == ["a"] * 9
    assert submitted(router, 9, prompt=16_000) is None
    assert assigned(router, 3.5) == []
    assert assigned(router, 3.8) == [9]


def test_a_continuation_stalls_a_replica_too() -> None:
    router = router_of("a")
    router.ceiling = REFERENCE
    assert [submitted(router, i, prompt=10_000) for i in range(9)] == ["a"] * 9
    router.prefills("a", 100_000, 0)
    assert submitted(router, 9, prompt=10_000) is None
    assert assigned(router, 30) == [9]


def test_the_fresh_go_before_the_late_and_the_oldest_before_all() -> None:
    router = router_of(seats=1)
    router.order(QueueRule(fresh_seconds=5, oldest_seconds=60))
    for number, now in ((1, 0), (2, 15), (3, 19)):
        assert submitted(router, number, now) is None
    router.locate([replica("a")], 0.0)
    assert assigned(router, 21) == [3]
    assert submitted(router, 4, 59) is None
    assert (router.held, router.fresh(60)) == (3, 1)
    router.release("a", 100)
    assert assigned(router, 60) == [1]  # has waited 60 s: before the fresh
    router.release("a", 100)
    assert assigned(router, 61) == [4]
    router.release("a", 100)
    assert assigned(router, 62) == [2]


def test_a_request_whose_replica_failed_goes_before_the_fresh() -> None:
    router = router_of(seats=1)
    router.order(QueueRule(fresh_seconds=5))
    assert submitted(router, 1, 100) is None
    router.resubmit(Asked(2), 0)
    router.locate([replica("a")], 0.0)
    assert assigned(router, 100) == [2]


def test_a_suspect_is_left_alone_for_a_second() -> None:
    router = router_of("a", "b")
    router.suspect("a", 10.0)
    assert not router.another("b", 10.5)
    assert {submitted(router, i, 10.5) for i in range(3)} == {"b"}
    assert submitted(router, 9, 10.0 + SUSPICION_SECONDS) == "a"


def test_a_lone_suspect_is_waited_for() -> None:
    router = router_of("a")
    router.suspect("a", 10.0)
    assert submitted(router, 1, 10.1) is None
    assert assigned(router, 11.1) == [1]


def test_a_full_queue_refuses_and_one_that_was_away_still_goes_first() -> None:
    router = router_of(queue_max=2)
    assert submitted(router, 1) is None
    assert submitted(router, 2) is None
    with pytest.raises(QueueFull):
        submitted(router, 3)
    router.resubmit(Asked(0), 0)
    router.withdraw(Asked(2))
    router.locate([replica("a")], 0.0)
    assert assigned(router) == [0, 1]


def test_nobody_is_refused_while_a_cordoned_replica_has_room() -> None:
    router = router_of("a", "b", queue_max=1, seats=1)
    router.cordoned = frozenset({"b"})
    assert submitted(router, 1) == "a"
    assert submitted(router, 2) is None
    assert assigned(router) == []  # as long as it can be held, the cordon holds
    assert submitted(router, 3) is None
    assert [(a.ticket.number, a.replica.name) for a in router.assign(0)] == [(2, "b")]
    with pytest.raises(QueueFull):
        submitted(router, 4)
    assert router.held == 1


def test_a_replica_that_went_and_came_back_keeps_its_count() -> None:
    router = router_of("a", "b")
    for i in range(4):
        submitted(router, i)
    assert router.locate([replica("b")], 0.0)
    assert router.in_flight("a") == 2
    assert router.locate([replica("a"), replica("b")], 0.0)
    assert router.in_flight("a") == 2
    for _ in range(2):
        router.release("a", 100)
    assert router.in_flight("a") == 0
    assert not router.locate([replica("a"), replica("b")], 0.0)


steps = st.lists(
    st.tuples(
        st.sampled_from(["submit", "release", "locate", "cordon", "withdraw"]), st.integers(0, 15)
    ),
    max_size=60,
)


class History:
    """What happened, kept beside the router in the plainest way."""

    def __init__(self, ceiling: int | None) -> None:
        self.names = ["a", "b", "c", "d"]
        self.router = router_of(*self.names, queue_max=3, seats=ceiling)
        self.ceiling = ceiling
        self.at: dict[int, str] = {}
        self.waiting: list[int] = []

    def play(self, move: str, number: int, ticket: int) -> None:
        chosen = {n for i, n in enumerate(self.names) if number >> i & 1}
        match move:
            case "submit":
                self.submit(ticket)
            case "release" if self.at:
                self.router.release(self.at.pop(list(self.at)[number % len(self.at)]), 100)
            case "withdraw" if self.waiting:
                self.router.withdraw(Asked(self.waiting.pop(number % len(self.waiting))))
            case "locate":
                known = [n for n in self.names if n != "d" or chosen]
                self.router.locate((replica(n, ready=n in chosen) for n in known), 0.0)
            case "cordon":
                self.router.cordoned = frozenset(chosen)

    def submit(self, ticket: int) -> None:
        try:
            there = submitted(self.router, ticket)
        except QueueFull:
            assert len(self.waiting) == self.router.queue_max
            assert all(self.is_full(name) for name in self.names)
            return
        if there is None:
            self.waiting.append(ticket)
            return
        assert not self.waiting
        self.place(ticket, there)

    def is_full(self, name: str) -> bool:
        router = self.router
        known = router.replicas.get(name)
        if known is None or not known.ready:
            return True
        return self.ceiling is not None and router.in_flight(name) >= self.ceiling

    def place(self, ticket: int, name: str, *, full: bool = False) -> None:
        router = self.router
        self.at[ticket] = name
        assert router.replicas[name].ready
        ready = {n for n, r in router.replicas.items() if r.ready}
        assert name not in router.cordoned or ready <= router.cordoned or full
        assert self.ceiling is None or router.in_flight(name) <= self.ceiling

    def assign(self) -> None:
        for assignment in self.router.assign(0):
            full = len(self.waiting) > self.router.queue_max
            assert assignment.ticket.number == self.waiting.pop(0)
            self.place(assignment.ticket.number, assignment.replica.name, full=full)

    def check(self) -> None:
        router = self.router
        assert router.held == len(self.waiting) <= router.queue_max
        for name in self.names:
            there = list(self.at.values()).count(name)
            assert router.in_flight(name) == there
            holding = router.holding(name)
            assert (holding.context_tokens if holding else 0) == 100 * there
        if self.waiting:
            assert all(self.is_full(name) for name in router.serving())


@settings(max_examples=100, deadline=None)
@given(steps, st.one_of(st.none(), st.integers(1, 3)))
def test_fifo_ceiling_and_cordon_hold_in_any_history(
    moves: list[tuple[str, int]], ceiling: int | None
) -> None:
    history = History(ceiling)
    for ticket, (move, number) in enumerate(moves):
        history.play(move, number, ticket)
        history.assign()
        history.check()


def test_the_sequence_moves_at_once_by_a_tenth_and_two_or_else_once_a_second() -> None:
    sequence, fleet = Sequence(), frozenset({"a"})
    assert sequence.observe(0, fleet, 1, 0.0)
    assert not sequence.observe(1, fleet, 2, 0.1)
    assert sequence.observe(2, fleet, 3, 0.2)
    assert sequence.observe(100, fleet, 4, 0.3)
    assert not sequence.observe(110, fleet, 5, 0.4)
    assert sequence.observe(111, fleet, 6, 0.5)
    assert sequence.observe(111, frozenset(), 6, 0.6)
    assert not sequence.observe(111, frozenset(), 6, 9.0)
    assert sequence.observe(111, frozenset(), 7, 9.0)
    assert sequence.number == 7
