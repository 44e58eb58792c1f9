"""Where requests go when several gateways share replicas: the product's router, in virtual time.

Each request comes to a gateway by chance, is placed by that gateway's own `Router`, and stays for
an exponential time. Gateways look at the replicas every 2 s, or never (no `/metrics`). Told is how
unevenly the replicas are filled (fullest less emptiest, in requests; fullest over mean), how many
requests had to wait, and how often a conversation's later turn went to where the one before was.

    python benchmarks/several_gateways.py [--json FILE]
"""

import argparse
import heapq
import itertools
import json
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from thinkscale.gateway.affinity import Conversation
from thinkscale.gateway.routing import Assignment, Replica, Router
from thinkscale.model.admission import Ceiling

PROMPT_TOKENS = 500
MEAN_SECONDS = 10.0
LOOK_SECONDS = 2.0
WARM_UP_SECONDS, SECONDS = 80.0, 140.0
THINK_SECONDS = 2.0
"""From the end of a turn to the next one."""
TURNS = 6


@dataclass(eq=False)
class Turn:
    """A request's handle."""

    conversation: Conversation | None
    number: int
    prompt_tokens: int = PROMPT_TOKENS


class CommonOrder(Router[Turn]):
    """Of replicas that look alike, every gateway takes the same one."""

    def _best(self, keys):  # type: ignore[no-untyped-def]
        return min(keys, key=lambda key: (*key[:3], key[-1]))


class TwoChoices(Router[Turn]):
    """The better of two by chance."""

    def _best(self, keys):  # type: ignore[no-untyped-def]
        return min(RANDOM.sample(keys, min(2, len(keys))))


RANDOM = random.Random(0)
POLICIES: dict[str, Callable[..., Router[Turn]]] = {
    "own order": Router,
    "common order": CommonOrder,
    "two choices": TwoChoices,
}


@dataclass
class Fleet:
    """Gateways before replicas, in virtual time."""

    policy: str
    gateways: int
    replicas: int
    seats: int
    load: float
    looks: bool
    affinity: bool
    seed: int
    running: dict[str, int] = field(default_factory=dict)
    spreads: list[int] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    same: int = 0
    other: int = 0
    held: int = 0

    def run(self) -> None:
        self.random = random.Random(self.seed)
        RANDOM.seed(self.seed)
        names = [f"replica-{number}" for number in range(self.replicas)]
        self.running = dict.fromkeys(names, 0)
        self.last: dict[int, str] = {}
        self.clock, self.events = 0.0, list[tuple[float, int, Callable[[], None]]]()
        self.order, self.conversations = itertools.count(), itertools.count()
        self.routers = [self._router(names) for _ in range(self.gateways)]
        rate = self.load * self.replicas * self.seats / MEAN_SECONDS / TURNS
        self._at(0.0, lambda: self._begin(rate))
        for router in self.routers if self.looks else ():
            self._at(self.random.random() * LOOK_SECONDS, partial(self._look, router))
        while self.events and self.clock < SECONDS:
            self.clock, _, event = heapq.heappop(self.events)
            event()

    def _router(self, names: list[str]) -> Router[Turn]:
        router = POLICIES[self.policy](work=lambda _: 0.0, gateways=self.gateways)
        router.ceiling = Ceiling(seats=self.seats, kv_tokens=self.seats * 4 * PROMPT_TOKENS)
        router.locate((Replica(name=name, url="", ready=True) for name in names), -100.0)
        return router

    def _at(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.clock + seconds, next(self.order), event))

    def _begin(self, rate: float) -> None:
        self._at(self.random.expovariate(rate), lambda: self._begin(rate))
        first = Conversation(next(self.conversations), begins=True)
        self._ask(Turn(conversation=first, number=0))

    def _ask(self, turn: Turn) -> None:
        router = self.random.choice(self.routers)
        told = turn if self.affinity else Turn(conversation=None, number=turn.number)
        told.of = turn  # type: ignore[attr-defined]
        placed = router.submit(told, self.clock)
        if placed is not None:
            self._placed(router, placed)
        else:
            self.held += self.clock > WARM_UP_SECONDS
        if self.clock > WARM_UP_SECONDS:
            held = self.running.values()
            self.spreads.append(max(held) - min(held))
            self.peaks.append(max(held) / max(1.0, statistics.mean(held)))

    def _placed(self, router: Router[Turn], placed: Assignment[Turn]) -> None:
        turn: Turn = placed.ticket.of  # type: ignore[attr-defined]
        name = placed.replica.name
        assert turn.conversation is not None
        before = self.last.get(turn.conversation.number)
        if before is not None and self.clock > WARM_UP_SECONDS:
            self.same += before == name
            self.other += before != name
        self.last[turn.conversation.number] = name
        self.running[name] += 1
        stay = self.random.expovariate(1 / MEAN_SECONDS)
        self._at(stay, lambda: self._over(router, name, turn))

    def _over(self, router: Router[Turn], name: str, turn: Turn) -> None:
        assert turn.conversation is not None
        self.running[name] -= 1
        router.release(name, PROMPT_TOKENS)
        for placed in router.assign(self.clock):
            self._placed(router, placed)
        if turn.number + 1 < TURNS:
            same = replace(turn.conversation, begins=False)
            following = Turn(conversation=same, number=turn.number + 1)
            self._at(self.random.expovariate(1 / THINK_SECONDS), lambda: self._ask(following))

    def _look(self, router: Router[Turn]) -> None:
        self._at(LOOK_SECONDS, lambda: self._look(router))
        for name, running in self.running.items():
            router.looked(name, running, running * PROMPT_TOKENS, self.clock)


def measured(**what: object) -> dict[str, object]:
    """Means of three seeds."""
    fleets = [Fleet(**what, seed=seed) for seed in range(3)]  # type: ignore[arg-type]
    for fleet in fleets:
        fleet.run()
    turns = sum(fleet.same + fleet.other for fleet in fleets)
    return {
        **what,
        "spread": round(statistics.mean(s for f in fleets for s in f.spreads), 1),
        "peak": round(statistics.mean(p for f in fleets for p in f.peaks), 3),
        "same_percent": round(100 * sum(fleet.same for fleet in fleets) / turns, 1),
        "held": sum(fleet.held for fleet in fleets),
    }


def cases() -> Iterator[dict[str, object]]:
    """What is compared."""
    for gateways, replicas, seats, load in ((1, 8, 64, 0.7), (4, 8, 64, 0.7), (8, 16, 32, 0.7)):
        fleet = {"gateways": gateways, "replicas": replicas, "seats": seats, "load": load}
        for looks in (True, False) if gateways > 1 else (False,):
            for policy in POLICIES if gateways > 1 else ("own order",):
                yield {**fleet, "looks": looks, "policy": policy, "affinity": False}
            yield {**fleet, "looks": looks, "policy": "own order", "affinity": True}
    for load in (0.9, 1.0):
        for affinity in (False, True):
            fleet = {"gateways": 1, "replicas": 8, "seats": 64, "load": load, "looks": False}
            yield {**fleet, "policy": "own order", "affinity": affinity}


def main() -> None:
    """Print a table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = []
    for case in cases():
        rows.append(measured(**case))
        print(" ".join(f"{name}={value}" for name, value in rows[-1].items()), flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
