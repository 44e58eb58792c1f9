"""Conversations return to the replica that has their beginning, where that costs nobody a wait."""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.gateway.asking import chat
from thinkscale.gateway import affinity
from thinkscale.gateway.affinity import Conversation, Whereabouts, conversation_of, rendezvous
from thinkscale.gateway.routing import NEAR_FULLNESS, Replica, Router
from thinkscale.model.admission import Ceiling

SYSTEM = {"role": "system", "content": "You help."}
TURNS = 5


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    return [["--reasoning-parser", "deepseek_r1"] for _ in range(3)]


def said(*texts: str) -> dict[str, Any]:
    """A chat whose turns alternate, the user's first."""
    roles = ("user", "assistant")
    turns = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
    return {"messages": [SYSTEM, *turns]}


def number_of(body: dict[str, Any]) -> int:
    known = conversation_of(body)
    assert known is not None
    return known.number


@dataclass(frozen=True)
class Asked:
    number: int
    conversation: Conversation | None
    prompt_tokens: int = 100


def router_of(names: str, seats: int = 100, gateways: int = 1) -> Router[Asked]:
    router: Router[Asked] = Router(
        work=lambda _: 0.0, ceiling=Ceiling(seats=seats), gateways=gateways
    )
    router.locate([Replica(name=name, url="http://x", ready=True) for name in names], -100.0)
    return router


def sent(
    router: Router[Asked], number: int, conversation: int | None, *, begins: bool = False
) -> str | None:
    known = None if conversation is None else Conversation(conversation, begins=begins)
    placed = router.submit(Asked(number, known), 0.0)
    return placed.replica.name if placed else None


def test_every_turn_of_a_conversation_has_its_number_and_no_other_conversation_has() -> None:
    first = conversation_of(said("why?"))
    assert first is not None
    assert first.begins
    assert conversation_of(said("why?", "because", "and then?")) == replace(first, begins=False)
    assert number_of(said("how?")) != first.number
    assert number_of({**said("why?"), "user": "u1"}) != first.number
    raw = "a" * 5000
    assert conversation_of({"prompt": raw}) == conversation_of({"prompt": raw + " and more"})
    assert number_of({"prompt": [1, 2, 3]}) != number_of({"prompt": [1, 2, 4]})


@pytest.mark.parametrize(
    ("body", "begins"),
    [
        ({"prompt": "short"}, True),
        ({"prompt": "a" * 5000}, False),
        ({"prompt": [1] * 100}, True),
        ({"prompt": [1] * 5000}, False),
        ({**said("why?"), "prompt_cache_key": "mine"}, False),
    ],
)
def test_what_may_have_been_said_before_is_told_from_what_begins(
    body: dict[str, Any], begins: bool
) -> None:
    known = conversation_of(body)
    assert known is not None
    assert known.begins is begins


def test_requests_that_begin_alike_are_spread_and_a_later_turn_finds_the_last_of_them() -> None:
    router = router_of("abc")
    assert [sent(router, number, 7, begins=True) for number in range(6)] == list("abcabc")
    assert sent(router, 6, 7) == "c"


def test_parts_of_a_message_tell_conversations_apart() -> None:
    def shown(text: str, url: str) -> dict[str, Any]:
        parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
        return {"messages": [{"role": "user", "content": parts}]}

    picture = "data:image/png;base64," + "A" * 1_000_000
    one = number_of(shown("what is it?", picture))
    assert number_of(shown("what is it?", picture)) == one
    assert number_of(shown("who is it?", picture)) != one
    assert number_of(shown("what is it?", picture + "B")) != one
    rules = "Follow these rules. " * 1000
    assert number_of(said(rules + "why?")) != number_of(said(rules + "how?"))


def test_a_client_may_name_it() -> None:
    named = conversation_of({**said("why?"), "prompt_cache_key": "mine"})
    assert named == conversation_of({**said("how?"), "prompt_cache_key": "mine"})
    assert named == conversation_of(said("how?"), session="mine")
    assert named != conversation_of(said("how?"), session="yours")


@pytest.mark.parametrize(
    "body", [{}, {"messages": "no"}, {"messages": [3]}, {"prompt": 3}, {"messages": []}]
)
def test_what_is_no_conversation_has_no_number(body: dict[str, Any]) -> None:
    assert conversation_of(body) is None


@given(said_text=st.text(), content=st.one_of(st.none(), st.integers(), st.lists(st.text())))
def test_whatever_is_said_has_a_number(said_text: str, content: Any) -> None:
    messages = [{"role": "system", "content": said_text}, {"role": "user", "content": content}]
    assert conversation_of({"messages": messages}) is not None


def test_only_the_latest_conversations_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "REMEMBERED", 3)
    known = Whereabouts()
    for number in (1, 2, 3, 1, 4):
        known.sent(number, f"r{number}")
    assert len(known) == 3
    assert [known.of(number) for number in (1, 2, 3, 4)] == ["r1", None, "r3", "r4"]


@given(
    conversation=st.integers(0, 2**64 - 1),
    names=st.sets(st.text(min_size=1, max_size=8), min_size=2, max_size=8),
    data=st.data(),
)
def test_when_a_replica_goes_only_its_own_conversations_move(
    conversation: int, names: set[str], data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(sorted(names)))
    before = rendezvous(conversation, names)
    after = rendezvous(conversation, names - {gone})
    assert after == before or before == gone


def test_a_turn_returns_while_its_replica_is_hardly_fuller_and_never_otherwise() -> None:
    router = router_of("ab", seats=100)
    assert sent(router, 0, 7) == "a"
    assert sent(router, 1, None) == "b"
    assert sent(router, 2, 7) == "a"  # though b has less
    for number in range(3, 23):
        assert sent(router, number, None) in ("a", "b")
    ahead = 0
    while sent(router, 100 + ahead, 7) == "a":
        ahead += 1
    assert ahead <= NEAR_FULLNESS * 100 + 1
    assert (router.returned, router.strayed) == (1 + ahead, 1)
    assert sent(router, 300, 7) == "b"  # it goes on where it was last


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.booleans(), st.one_of(st.none(), st.integers(0, 3)))),
    seats=st.integers(1, 4),
)
def test_nobody_waits_for_a_replica_while_another_one_has_room(
    steps: list[tuple[bool, int | None]], seats: int
) -> None:
    router, there = router_of("abc", seats=seats), Counter[str]()
    for number, (comes, conversation) in enumerate(steps):
        if comes:
            name = sent(router, number, conversation)
            assert (name is None) == (min(there[n] for n in "abc") >= seats)
            there.update([name] if name else [])
        elif there.total():
            name = next(iter(+there))
            there[name] -= 1
            router.release(name, 100)
            there.update(placed.replica.name for placed in router.assign(0.0))


def test_several_gateways_agree_on_where_a_conversation_begins() -> None:
    routers = [router_of("abcdefgh", gateways=4) for _ in range(4)]
    for conversation in range(50):
        places = {sent(router, conversation, conversation) for router in routers}
        assert len(places) == 1
        for router in routers:
            router.release(places.copy().pop() or "", 100)


def test_several_gateways_do_not_all_take_the_same_of_replicas_that_look_alike() -> None:
    first = {sent(router_of("abcdefgh", gateways=8), 0, None) for _ in range(30)}
    assert len(first) > 2


async def test_the_turns_of_conversations_return_over_real_connections(setup: Any) -> None:
    await setup.arrange("abc", maxTokens=100, seatsPerReplica=64)

    async def talk(name: str) -> list[str]:
        texts, places = [f"question {name}"], []
        for turn in range(TURNS):
            answer = await setup.stream(**(chat(20, 10) | said(*texts)))
            places.append(answer.headers["x-thinkscale-replica"])
            texts += [answer.content, f"and {turn}?"]
        return places

    talks = await asyncio.gather(*(talk(str(number)) for number in range(12)))
    back = sum(places[i] == places[i - 1] for places in talks for i in range(1, TURNS))
    assert back >= 0.75 * len(talks) * (TURNS - 1)  # by chance it would be a third
    assert {places[0] for places in talks} == set("abc")
    told = re.findall(
        r'conversation_turns_total\{replica="(\w+)",service="ns/demo"\} (\S+)',
        await setup.metrics(),
    )
    counted = {name: int(float(value)) for name, value in told}
    assert counted == {"same": back, "another": len(talks) * (TURNS - 1) - back}


@pytest.mark.parametrize("by", ["header", "field"])
async def test_a_named_conversation_returns_whatever_it_says(setup: Any, by: str) -> None:
    await setup.arrange("abc", maxTokens=100)
    headers = {"X-Session-Id": "s1"} if by == "header" else {}
    extra = {} if by == "header" else {"prompt_cache_key": "k1"}
    places = set()
    for turn in range(6):
        body = chat(2, 2) | said(f"unlike {by} {turn}") | extra
        url = setup.gateway.url + "/v1/chat/completions"
        async with setup.session.post(url, json=body, headers=headers) as response:
            places.add(response.headers["x-thinkscale-replica"])
            await response.read()
        other = await setup.stream(**(chat(2, 2) | said(f"another {by} {turn}")))
        assert other.done
    assert len(places) == 1


@dataclass(frozen=True)
class Unanswerable:
    number: int
    prompt_tokens: int = 100

    @property
    def conversation(self) -> Conversation | None:
        raise RecursionError


def test_a_conversation_that_cannot_be_told_keeps_no_seat() -> None:
    router: Router[Unanswerable] = Router(work=lambda _: 0.0, ceiling=Ceiling(seats=1))
    router.locate([Replica(name="a", url="http://x", ready=True)], -100.0)
    for number in range(3):
        assert router.submit(Unanswerable(number), 0.0) is not None
        with pytest.raises(RecursionError):
            router.release("a", 100)
        assert router.in_flight("a") == 0
        router.release("nowhere", 100)
