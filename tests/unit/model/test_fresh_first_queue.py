"""The fresh before the late, nobody starves, nobody is lost, whatever happens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinkscale.model.queueing import FreshFirst, QueueRule

moves = st.lists(
    st.tuples(
        st.sampled_from(["put", "take", "again", "withdraw", "wait"]), st.integers(0, 20)
    ),
    max_size=80,
)  # fmt: skip
rules = st.builds(
    QueueRule,
    fresh_seconds=st.none() | st.sampled_from([1.0, 5.0]),
    oldest_seconds=st.sampled_from([8.0, 600.0]),
)


class Plain:
    """The same rule in the plainest words: a list, searched anew each time."""

    def __init__(self, rule: QueueRule) -> None:
        self.rule = rule
        self.again: list[tuple[int, float]] = []
        self.new: list[tuple[int, float]] = []

    def late(self, since: float, now: float) -> bool:
        return self.rule.fresh_seconds is not None and now - since > self.rule.fresh_seconds

    def next(self, now: float) -> tuple[int, float] | None:
        late = [w for w in self.new if self.late(w[1], now)]
        fresh = [w for w in self.new if not self.late(w[1], now)]
        if late and now - late[0][1] >= self.rule.oldest_seconds:
            return late[0]
        return next(iter([*self.again, *fresh, *late]), None)

    def remove(self, who: tuple[int, float]) -> None:
        (self.again if who in self.again else self.new).remove(who)


@settings(max_examples=200, deadline=None)
@given(rules, moves)
def test_the_lines_serve_whom_the_rule_names_in_any_history(
    rule: QueueRule, history: list[tuple[str, int]]
) -> None:
    queue: FreshFirst[int] = FreshFirst(rule)
    plain, now, served = Plain(rule), 0.0, []
    for number, (move, size) in enumerate(history):
        head = queue.head(now)
        assert (head.item if head else None) == ((plain.next(now) or (None,))[0])
        match move:
            case "put":
                queue.put(number, now)
                plain.new.append((number, now))
            case "take" if head is not None:
                assert queue.take(now) == head
                plain.remove((head.item, head.since))
                served.append((head.item, head.since))
            case "again" if served:
                item, since = served.pop(size % len(served))
                queue.put_first(item, since)
                plain.again.insert(0, (item, since))
            case "withdraw":
                everybody = [*plain.again, *plain.new]
                assert queue.withdraw(-1) is False
                if everybody:
                    gone = everybody[size % len(everybody)]
                    assert queue.withdraw(gone[0])
                    plain.remove(gone)
            case "wait":
                now += size
        waiting = [*plain.again, *plain.new]
        assert len(queue) == len(waiting)
        late = [w for w in plain.new if plain.late(w[1], now)]
        assert queue.fresh(now) == len(waiting) - len(late)
        fresh = [since for _, since in plain.new if not plain.late(since, now)]
        assert queue.fresh_wait_seconds(now) == (now - fresh[0] if fresh else 0.0)
        oldest = min((since for _, since in waiting), default=now)
        assert queue.oldest_wait_seconds(now) == now - oldest


def test_without_a_rule_it_is_first_come_first_served() -> None:
    queue: FreshFirst[int] = FreshFirst()
    for number in range(3):
        queue.put(number, float(number))
    assert [queue.take(1e6).item for _ in range(3)] == [0, 1, 2]
    assert queue.head(1e6) is None
    with pytest.raises(IndexError):
        queue.take(1e6)


def test_who_has_waited_for_the_very_limits_is_fresh_still_and_goes_first_again() -> None:
    queue: FreshFirst[int] = FreshFirst(QueueRule(fresh_seconds=5, oldest_seconds=30))
    queue.put(0, 0.0)
    assert (queue.fresh(5.0), queue.fresh(5.1)) == (1, 0)
    queue.put(1, 29.0)
    for now, first in ((29.9, 1), (30.0, 0)):
        head = queue.head(now)
        assert head is not None
        assert head.item == first


def test_a_flood_of_the_fresh_does_not_starve_one_who_is_late() -> None:
    queue: FreshFirst[int] = FreshFirst(QueueRule(fresh_seconds=2, oldest_seconds=30))
    queue.put(0, 0.0)
    served = []
    for second in range(1, 60):
        queue.put(second, float(second))
        queue.put(1000 + second, float(second))
        served.append((second, queue.take(float(second)).item))
    assert served[:2] == [(1, 0), (2, 1)]
    waits = {item: at - item % 1000 for at, item in served}
    assert max(waits.values()) <= 31
    late = [item for at, item in served if at - item % 1000 >= 30]
    assert late, "those whom the fresh had overtaken were served once they had waited 30 s"
