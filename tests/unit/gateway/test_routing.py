"""Least work first, first come first served, and nobody is kept from a fleet that could serve."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinkscale.gateway.routing import SUSPICION_SECONDS, QueueFull, Replica, Router
from thinkscale.gateway.sequence import Sequence


def replica(name: str, *, ready: bool = True) -> Replica:
    return Replica(name=name, url=f"http://{name}", ready=ready)


def router_of(*names: str, work: dict[str, float] | None = None, **fields: int) -> Router[int]:
    router: Router[int] = Router(work=lambda name: (work or {}).get(name, 0.0), **fields)
    router.locate(replica(name) for name in names)
    return router


def test_the_replica_with_the_least_work_gets_it_and_in_flight_breaks_the_tie() -> None:
    work = {"a": 10.0, "b": 5.0, "c": 5.0}
    router = router_of("a", "b", "c", work=work)
    assert [router.submit(i, 0).name for i in range(4)] == ["b", "c", "b", "c"]
    work["a"] = 1.0
    assert router.submit(4, 0).name == "a"


def test_a_suspect_is_left_alone_for_a_second() -> None:
    router = router_of("a", "b")
    router.suspect("a", 10.0)
    assert not router.another("b", 10.5)
    assert {router.submit(i, 10.5).name for i in range(3)} == {"b"}
    assert router.submit(9, 10.0 + SUSPICION_SECONDS).name == "a"


def test_a_lone_suspect_is_waited_for() -> None:
    router = router_of("a")
    router.suspect("a", 10.0)
    assert router.submit(1, 10.1) is None
    assert [a.ticket for a in router.assign(11.1)] == [1]


def test_a_full_queue_refuses_and_one_that_was_away_still_goes_first() -> None:
    router = router_of(queue_max=2)
    assert router.submit(1, 0) is None
    assert router.submit(2, 0) is None
    with pytest.raises(QueueFull):
        router.submit(3, 0)
    router.resubmit(0)
    router.withdraw(2)
    router.locate([replica("a")])
    assert [a.ticket for a in router.assign(0)] == [0, 1]


def test_nobody_is_refused_while_a_cordoned_replica_has_room() -> None:
    router = router_of("a", "b", queue_max=1)
    router.ceiling, router.cordoned = 1, frozenset({"b"})
    assert router.submit(1, 0).name == "a"
    assert router.submit(2, 0) is None
    assert router.assign(0) == []  # as long as it can be held, the cordon holds
    assert router.submit(3, 0) is None
    assert [(a.ticket, a.replica.name) for a in router.assign(0)] == [(2, "b")]
    with pytest.raises(QueueFull):
        router.submit(4, 0)


def test_a_replica_that_went_and_came_back_keeps_its_count() -> None:
    router = router_of("a", "b")
    for i in range(2):
        router.submit(i, 0)
    assert router.locate([replica("b")])
    assert router.in_flight("a") == 1
    assert router.locate([replica("a"), replica("b")])
    assert router.in_flight("a") == 1
    router.release("a")
    assert router.in_flight("a") == 0
    assert not router.locate([replica("a"), replica("b")])


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
        self.router = router_of(*self.names, queue_max=3)
        self.router.ceiling = ceiling
        self.at: dict[int, str] = {}
        self.waiting: list[int] = []

    def play(self, move: str, number: int, ticket: int) -> None:
        chosen = {n for i, n in enumerate(self.names) if number >> i & 1}
        match move:
            case "submit":
                self.submit(ticket)
            case "release" if self.at:
                self.router.release(self.at.pop(list(self.at)[number % len(self.at)]))
            case "withdraw" if self.waiting:
                self.router.withdraw(self.waiting.pop(number % len(self.waiting)))
            case "locate":
                known = [n for n in self.names if n != "d" or chosen]
                self.router.locate(replica(n, ready=n in chosen) for n in known)
            case "cordon":
                self.router.cordoned = frozenset(chosen)

    def submit(self, ticket: int) -> None:
        try:
            there = self.router.submit(ticket, 0)
        except QueueFull:
            assert len(self.waiting) == self.router.queue_max
            assert all(self.is_full(name) for name in self.names)
            return
        if there is None:
            self.waiting.append(ticket)
            return
        assert not self.waiting
        self.place(ticket, there.name)

    def is_full(self, name: str) -> bool:
        router = self.router
        known = router.replicas.get(name)
        if known is None or not known.ready:
            return True
        return router.ceiling is not None and router.in_flight(name) >= router.ceiling

    def place(self, ticket: int, name: str, *, full: bool = False) -> None:
        router = self.router
        self.at[ticket] = name
        assert router.replicas[name].ready
        ready = {n for n, r in router.replicas.items() if r.ready}
        assert name not in router.cordoned or ready <= router.cordoned or full
        assert router.ceiling is None or router.in_flight(name) <= router.ceiling

    def assign(self) -> None:
        for assignment in self.router.assign(0):
            full = len(self.waiting) > self.router.queue_max
            assert assignment.ticket == self.waiting.pop(0)
            self.place(assignment.ticket, assignment.replica.name, full=full)

    def check(self) -> None:
        router = self.router
        assert router.held == len(self.waiting) <= router.queue_max
        for name in self.names:
            assert router.in_flight(name) == list(self.at.values()).count(name)
        if self.waiting:
            assert all(
                router.ceiling and router.in_flight(name) >= router.ceiling
                for name in router.serving()
            )


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
