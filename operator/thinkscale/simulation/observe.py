"""What a policy sees of a simulated fleet: the gateways' `/signals`, merged as in production.

Made from `GatewaySignals` alone, with whatever delay and loss the scenario says. Nobody's future is
in it: no length of a request that has not ended, no arrival that has not come.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from thinkscale.model.ages import AGE_EDGES_TOKENS, BINS
from thinkscale.model.signals import (
    BudgetSignals,
    Counters,
    EngineSignals,
    GatewaySignals,
    LifeTableCounts,
    PhaseCounts,
    ReplicaSignals,
    SloCounts,
)
from thinkscale.simulation.books import Books, overdue
from thinkscale.simulation.flight import Flight
from thinkscale.simulation.front import Front
from thinkscale.simulation.members import Member, Stage

PRIOR_ENDS: Final = 0.5
PRIOR_MEAN_TOKENS: Final = 500.0
PRIOR_ANSWER_TOKENS: Final = 200.0
_WIDTHS: Final = tuple(high - low for low, high in pairwise(AGE_EDGES_TOKENS))


class _Present:
    """What one gateway has in flight, summed up."""

    def __init__(self, books: Books, now: float) -> None:
        self.now = now
        self.queued = 0
        self.answering = 0
        self.thinking_ages = [0] * BINS
        self.output_ages = [0] * BINS
        self.open_thoughts: list[int] = []
        self.open_outputs: list[int] = []
        self.thinking_tokens = 0
        self.answer_tokens = 0
        self.overdue = [0] * len(books.objectives)
        self.replicas: dict[str, ReplicaSignals] = {}

    def note_overdue(self, books: Books, flight: Flight, age: int) -> None:
        """Count it for each objective that it has missed already."""
        for at, objective in enumerate(books.objectives):
            if overdue(objective, flight, age, self.now):
                self.overdue[at] += 1


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
    present = _Present(books, now)
    for waiting in front.queue.items():
        present.queued += 1
        present.note_overdue(books, waiting, 0)
    residuals = _residuals(books)
    for member in members:
        if member.stage is not Stage.WARMING:
            _at_replica(present, front.index, books, member, residuals)
    counts = present
    return GatewaySignals.model_construct(
        boot_id=f"{name}-boot",
        sequence=sequence,
        gateway=name,
        service=service,
        uptime_seconds=now,
        phases=_phases(counts.queued, sum(counts.thinking_ages), counts.answering),
        held=front.held,
        oldest_held_seconds=front.queue.oldest_wait_seconds(now),
        thinking_ages=tuple(counts.thinking_ages),
        life_table=books.thoughts.life_table(counts.open_thoughts),
        output_ages=tuple(counts.output_ages),
        output_life_table=books.outputs.life_table(counts.open_outputs),
        slos=_slos(books, counts.overdue),
        counters=_counters(books, counts.thinking_tokens, counts.answer_tokens),
        ttfa_seconds=books.ttfa.wire(),
        ttft_seconds=books.ttft.wire(),
        fastest_token_seconds=books.fastest_token_seconds,
        replicas=counts.replicas,
        budget=_budget(front, books),
    )


def _at_replica(
    present: _Present, gateway: int, books: Books, member: Member, residuals: Sequence[float]
) -> None:
    """One replica, and this gateway's requests there."""
    replica = member.replica
    replica.sync(present.now)
    queued = thinking = answering = 0
    context = 0
    remaining = 0.0
    mean_answer = books.answer_tokens / books.completed if books.completed else PRIOR_ANSWER_TOKENS
    steps = replica.steps
    for flight in (*replica.running, *replica.waiting):
        if flight.gateway != gateway:
            continue
        age = steps - flight.since if flight.decoding else flight.generated
        context += flight.prompt + age
        if flight.first_token < 0:
            queued += 1
            remaining += residuals[0] + mean_answer
        else:
            present.output_ages[bisect_right(AGE_EDGES_TOKENS, age) - 1] += 1
            cut_at = flight.cut_at
            present.open_outputs.append(age if cut_at < 0 or age < cut_at else cut_at)
            if flight.first_answer < 0:
                thinking += 1
                at = bisect_right(AGE_EDGES_TOKENS, age) - 1
                present.thinking_ages[at] += 1
                present.open_thoughts.append(age)
                present.thinking_tokens += age
                remaining += residuals[at] + mean_answer
            else:
                answering += 1
                answered = age - flight.thinking
                present.thinking_tokens += flight.thinking
                present.answer_tokens += answered
                remaining += max(mean_answer - answered, mean_answer / 4)
        present.note_overdue(books, flight, age)
    present.queued += queued
    present.answering += answering
    present.replicas[member.name] = ReplicaSignals.model_construct(
        ready=member.stage is Stage.READY,
        cordoned=member.cordoned,
        phases=_phases(queued, thinking, answering),
        context_tokens=context,
        remaining_tokens=round(remaining),
        engine=_engine(member),
    )


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


def _slos(books: Books, late: Sequence[int]) -> dict[str, SloCounts]:
    return {
        objective.name: SloCounts.model_construct(
            good=books.good[at], bad=books.bad[at], overdue=late[at]
        )
        for at, objective in enumerate(books.objectives)
    }


def _counters(books: Books, thinking_tokens: int, answer_tokens: int) -> Counters:
    return Counters.model_construct(
        arrivals=books.arrivals,
        completed=books.completed,
        failed=books.failed,
        cancelled=0,
        prompt_tokens=books.prompt_tokens,
        arrived_prompt_tokens=books.arrived_prompt_tokens,
        thinking_tokens=books.thinking_tokens + thinking_tokens,
        answer_tokens=books.answer_tokens + answer_tokens,
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
    )


def _residuals(books: Books) -> list[float]:
    """Mean thinking tokens still to come at the start of each age bin, as a gateway reckons them:
    a constant hazard in each bin, steadied by half an end of a weak prior.
    """
    table: LifeTableCounts = books.thoughts.life_table(())
    hazards = [
        (ends + PRIOR_ENDS) / (exposure + PRIOR_ENDS * PRIOR_MEAN_TOKENS)
        for ends, exposure in zip(table.ends, table.exposure_tokens, strict=True)
    ]
    residuals = [0.0] * BINS
    residuals[-1] = 1 / hazards[-1]
    for at in range(BINS - 2, -1, -1):
        inside = hazards[at] * _WIDTHS[at]
        ended = inside / (1 + inside)
        residuals[at] = ended / hazards[at] + (1 - ended) * residuals[at + 1]
    return residuals
