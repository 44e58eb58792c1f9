"""What a policy sees of a simulated fleet: the gateways' `/signals`, merged as in production.

Made from `GatewaySignals` alone, with whatever delay and loss the scenario says. Nobody's future is
in it: no length of a request that has not ended, no arrival that has not come.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Final

import numpy as np
import numpy.typing as npt

from thinkscale.model.ages import AGE_EDGES_TOKENS, BINS
from thinkscale.model.intent import Indicator, Objective
from thinkscale.model.residuals import PRIOR_ANSWER_TOKENS, mean_residuals
from thinkscale.model.signals import (
    BudgetSignals,
    Counters,
    EngineSignals,
    GatewaySignals,
    PhaseCounts,
    ReplicaSignals,
    SloCounts,
)
from thinkscale.simulation.books import Books
from thinkscale.simulation.flight import Flight
from thinkscale.simulation.front import Front
from thinkscale.simulation.members import Member, Stage

_ROW: Final = attrgetter("arrived", "first_token", "first_answer", "prompt", "thinking", "cut_at")
_WIDTH: Final = 6
_EDGES: Final = np.array(AGE_EDGES_TOKENS)

Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class InFlight:
    """One gateway's requests that are sent or held, column by column: there may be a thousand, and
    somebody looks every few seconds.
    """

    def __init__(self, gateway: int, held: Sequence[Flight], members: Sequence[Member]) -> None:
        flights, ages, places = list(held), [0] * len(held), [-1] * len(held)
        for place, member in enumerate(members):
            replica = member.replica
            steps = replica.steps
            here = [f for f in (*replica.running, *replica.waiting) if f.gateway == gateway]
            flights += here
            ages += [steps - f.since if f.decoding else f.generated for f in here]
            places += [place] * len(here)
        self.age: Counts = np.array(ages, dtype=np.int64)
        """Tokens so far."""
        self.place: Counts = np.array(places, dtype=np.int64)
        """Which of the members; -1: held."""
        columns = _columns(flights)
        self.arrived: Numbers = columns[0]
        self.first_token: Numbers = columns[1]
        self.first_answer: Numbers = columns[2]
        self.prompt: Counts = columns[3].astype(np.int64)
        self.thought: Counts = columns[4].astype(np.int64)
        """The thought's length: of those that answer, since nobody knows that of the others."""
        cut_at: Counts = columns[5].astype(np.int64)
        self.answering = self.first_answer >= 0
        self.thinking = (self.first_token >= 0) & ~self.answering
        self.begun = self.thinking | self.answering
        self.thought_so_far = np.where(self.answering, np.minimum(self.thought, self.age), self.age)
        self.exposed = np.where(cut_at >= 0, np.minimum(self.age, cut_at), self.age)
        """Output tokens up to which it is what it would have been without a cut."""

    def overdue(self, objective: Objective, now: float) -> int:
        """How many have missed it already; what is pending counts as now."""
        since = now - self.arrived
        limit, each = objective.threshold_seconds, objective.per_token_seconds
        match objective.indicator:
            case Indicator.TIME_TO_FIRST_TOKEN:
                waited = np.where(self.begun, self.first_token - self.arrived, since)
                late = waited > limit
            case Indicator.TIME_TO_FIRST_ANSWER:
                waited = np.where(self.answering, self.first_answer - self.arrived, since)
                late = waited > limit + each * self.thought_so_far
            case Indicator.END_TO_END:
                late = since > limit + each * self.age
            case Indicator.TIME_PER_OUTPUT_TOKEN:
                passed = now - self.first_token
                late = self.begun & (self.age > 1) & (passed > limit * (self.age - 1))
            case Indicator.TIME_PER_ANSWER_TOKEN:
                answered = self.age - self.thought
                passed = now - self.first_answer
                late = self.answering & (answered > 1) & (passed > limit * (answered - 1))
        return int(np.count_nonzero(late))

    def per_place(self, places: int, chosen: npt.NDArray[np.bool_]) -> list[int]:
        """How many of the chosen are at each member."""
        inside: list[int] = np.bincount(self.place[chosen], minlength=places).tolist()
        return inside

    def sum_per_place(self, places: int, values: Numbers) -> list[float]:
        """The sum at each member."""
        there = self.place >= 0
        summed: list[float] = np.bincount(
            self.place[there], values[there], minlength=places
        ).tolist()
        return summed


def _columns(flights: Sequence[Flight]) -> Numbers:
    """Of shape (columns, flights); every integer in them is exact as a float."""
    cells = chain.from_iterable(map(_ROW, flights))
    table = np.fromiter(cells, dtype=np.float64, count=_WIDTH * len(flights))
    return np.ascontiguousarray(table.reshape(-1, _WIDTH).T)


def gateway_signals(
    name: str,
    service: str,
    sequence: int,
    front: Front,
    books: Books,
    members: Iterable[Member],
    now: float,
) -> GatewaySignals:
    """The answer of `GET /signals` of one simulated gateway."""
    started = [member for member in members if member.stage is not Stage.WARMING]
    for member in started:
        member.replica.sync(now)
    flying = InFlight(front.index, front.queue.items(), started)
    thoughts = flying.age[flying.thinking]
    outputs = flying.age[flying.begun]
    return GatewaySignals.model_construct(
        boot_id=f"{name}-boot",
        sequence=sequence,
        gateway=name,
        service=service,
        uptime_seconds=now,
        phases=_phases(
            int(np.count_nonzero(~flying.begun)),
            len(thoughts),
            int(np.count_nonzero(flying.answering)),
        ),
        held=front.held,
        oldest_held_seconds=front.queue.oldest_wait_seconds(now),
        thinking_ages=_by_bin(thoughts),
        life_table=books.thoughts.life_table(thoughts),
        output_ages=_by_bin(outputs),
        output_life_table=books.outputs.life_table(flying.exposed[flying.begun]),
        slos={
            objective.name: SloCounts.model_construct(
                good=books.good[at], bad=books.bad[at], overdue=flying.overdue(objective, now)
            )
            for at, objective in enumerate(books.objectives)
        },
        counters=_counters(books, flying),
        ttfa_seconds=books.ttfa.wire(),
        ttft_seconds=books.ttft.wire(),
        fastest_token_seconds=books.fastest_token_seconds,
        replicas=_replicas(flying, books, started),
        budget=_budget(front, books),
        tier_arrivals=dict(books.tier_arrivals),
    )


def _by_bin(ages: Counts) -> tuple[int, ...]:
    bins = np.searchsorted(_EDGES, ages, side="right") - 1
    return tuple(np.bincount(bins, minlength=BINS).tolist())


def _replicas(
    flying: InFlight, books: Books, members: Sequence[Member]
) -> dict[str, ReplicaSignals]:
    """Each replica, and this gateway's requests there."""
    count, there = len(members), flying.place >= 0
    queued = flying.per_place(count, there & ~flying.begun)
    thinking = flying.per_place(count, flying.thinking)
    answering = flying.per_place(count, flying.answering)
    context = flying.sum_per_place(count, (flying.prompt + flying.age).astype(np.float64))
    remaining = flying.sum_per_place(count, _remaining(flying, books))
    return {
        member.name: ReplicaSignals.model_construct(
            ready=member.stage is Stage.READY,
            cordoned=member.cordoned,
            phases=_phases(queued[at], thinking[at], answering[at]),
            context_tokens=round(context[at]),
            remaining_tokens=round(remaining[at]),
            engine=_engine(member),
        )
        for at, member in enumerate(members)
    }


def _remaining(flying: InFlight, books: Books) -> Numbers:
    """Tokens expected still to come of each, as a gateway reckons them."""
    answer = books.answer_tokens / books.completed if books.completed else PRIOR_ANSWER_TOKENS
    table = books.thoughts.life_table(())
    residuals = np.array(mean_residuals(table.exposure_tokens, table.ends))
    bins = np.searchsorted(_EDGES, flying.age, side="right") - 1
    answered = flying.age - flying.thought
    # One that outlived the mean is as likely as not to go on for a while.
    left: Numbers = np.where(
        flying.answering, np.maximum(answer - answered, answer / 4), residuals[bins] + answer
    )
    return left


def _engine(member: Member) -> EngineSignals:
    replica = member.replica
    return EngineSignals.model_construct(
        running=len(replica.running),
        waiting=len(replica.waiting),
        kv_usage=min(1.0, replica.kv_used / replica.profile.kv_tokens),
        kv_capacity_tokens=replica.profile.kv_tokens,
        steps=replica.steps,
        prompt_tokens=replica.prompt_tokens,
        generated_tokens=replica.generated_tokens,
        age_seconds=0.0,
    )


def _phases(queued: int, thinking: int, answering: int) -> PhaseCounts:
    return PhaseCounts.model_construct(queued=queued, thinking=thinking, answering=answering)


def _counters(books: Books, flying: InFlight) -> Counters:
    thought = int(flying.thought_so_far.sum())
    answered = int(flying.age.sum()) - thought
    return Counters.model_construct(
        arrivals=books.arrivals,
        completed=books.completed,
        failed=books.failed,
        cancelled=0,
        prompt_tokens=books.prompt_tokens,
        arrived_prompt_tokens=books.arrived_prompt_tokens,
        thinking_tokens=books.thinking_tokens + thought,
        answer_tokens=books.answer_tokens + answered,
        answers_begun=books.answers_begun,
    )


def _budget(front: Front, books: Books) -> BudgetSignals:
    limits = [b for b in (front.effective_tokens, books.declared_tokens) if b is not None]
    return BudgetSignals.model_construct(
        effective_max_tokens=min(limits, default=None),
        applied=books.arrivals if books.declared_tokens is not None else 0,
        cut=books.cut,
        cut_by_load=books.cut_by_load,
        violated=0,
        withheld_tokens=books.withheld_tokens,
        withheld_millipoints=books.withheld_millipoints,
    )
