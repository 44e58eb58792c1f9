"""Who waits for a proof of its native budget, and what ends the wait."""

from hypothesis import given
from hypothesis import strategies as st

from thinkscale.gateway.proofs import Proofs

NAMES = st.sets(st.sampled_from("abc"))


def test_a_replica_waits_once_each_time_that_it_becomes_ready() -> None:
    proofs = Proofs()
    proofs.look({"a"}, asked=True)
    (first,) = proofs.waiting.values()
    assert proofs.done("a", first)
    proofs.look({"a"}, asked=True)
    assert proofs.waiting == {}
    proofs.look(set(), asked=True)
    proofs.look({"a"}, asked=True)
    assert proofs.waiting.keys() == {"a"}


def test_what_was_learnt_of_one_that_is_gone_is_not_taken_for_the_one_that_came_back() -> None:
    proofs = Proofs()
    proofs.look({"a"}, asked=True)
    (first,) = proofs.waiting.values()
    proofs.look(set(), asked=True)
    proofs.look({"a"}, asked=True)
    assert not proofs.done("a", first)
    assert proofs.waiting.keys() == {"a"}


def test_those_that_serve_when_proof_is_first_asked_for_go_on_and_others_wait() -> None:
    proofs = Proofs()
    proofs.look({"a"}, asked=False)
    proofs.look({"a", "b"}, asked=True)
    assert proofs.waiting.keys() == {"b"}
    proofs.look({"a", "b"}, asked=False)
    assert proofs.waiting == {}


@given(steps=st.lists(st.tuples(NAMES, st.booleans(), NAMES)))
def test_only_ready_replicas_wait_and_nobody_waits_unasked(
    steps: list[tuple[set[str], bool, set[str]]],
) -> None:
    proofs = Proofs()
    for ready, asked, proven in steps:
        proofs.look(ready, asked=asked)
        assert proofs.waiting.keys() <= ready
        assert asked or not proofs.waiting
        for name in proven & proofs.waiting.keys():
            assert proofs.done(name, proofs.waiting[name])
            assert name not in proofs.waiting
