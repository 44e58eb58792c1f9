"""The gateway's books: every request from arrival to end, as counts that add up over gateways.

Pure but for being mutable: instants come from the caller. It produces the parts of
`model.signals.GatewaySignals` that concern requests, and the work of each replica for routing. The
hot call is `progress`, once per read from an engine and not per token; whatever can be worked out
when somebody asks (ages, exposure, overdue) is.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from thinkscale.gateway.flight import Flight
from thinkscale.gateway.histogram import Bins
from thinkscale.gateway.lifetable import LifeTable
from thinkscale.gateway.slo import Outcome, answer_pace, is_late, output_pace, pace, score
from thinkscale.gateway.totals import BudgetCounts, Totals
from thinkscale.model.ages import BINS, bin_of
from thinkscale.model.gateway_config import SloConfig
from thinkscale.model.residuals import PRIOR_ANSWER_TOKENS
from thinkscale.model.signals import FASTEST_MIN_TOKENS, Counters, PhaseCounts, SloCounts

PACE_EDGES_SECONDS: Final = (
    0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0,
)  # fmt: skip
_WORK_REFRESH_SECONDS: Final = 0.5


@dataclass(slots=True)
class Ledger:
    """All requests of one gateway."""

    slos: tuple[SloConfig, ...] = ()
    answer_limit: int | None = None
    totals: Totals = field(default_factory=Totals)
    budget: BudgetCounts = field(default_factory=BudgetCounts)
    life_table: LifeTable = field(default_factory=LifeTable)
    output_life_table: LifeTable = field(default_factory=LifeTable)
    ttft: Bins = field(default_factory=Bins)
    ttfa: Bins = field(default_factory=Bins)
    e2e: Bins = field(default_factory=Bins)
    held: Bins = field(default_factory=Bins)
    """Arrival to the first dispatch."""
    thinking_pace: Bins = field(default_factory=lambda: Bins(PACE_EDGES_SECONDS))
    answer_pace: Bins = field(default_factory=lambda: Bins(PACE_EDGES_SECONDS))
    fastest_token_seconds: float | None = None
    tier_arrivals: dict[str, int] = field(default_factory=dict)
    changes: int = 0
    """Grows with everything that a reader of `/signals` could see."""
    _answering: int = 0
    _flights: dict[int, Flight] = field(default_factory=dict)
    _good: dict[str, int] = field(default_factory=dict)
    _bad: dict[str, int] = field(default_factory=dict)
    _work: dict[str, float] = field(default_factory=dict)
    _work_at: float = float("-inf")

    @property
    def flights(self) -> Iterable[Flight]:
        """Requests accepted and unfinished."""
        return self._flights.values()

    @property
    def in_flight(self) -> int:
        """How many."""
        return len(self._flights)

    @property
    def depth(self) -> int:
        """Those whose first answer token is not out."""
        return len(self._flights) - self._answering

    def arrive(self, now: float, prompt_tokens: int = 0) -> Flight:
        """A request was accepted; `prompt_tokens`: an estimate."""
        flight = Flight(arrived=now, prompt=prompt_tokens)
        self.totals.arrived_prompt_tokens += prompt_tokens
        self._flights[id(flight)] = flight
        self.totals.arrivals += 1
        self.changes += 1
        return flight

    def of_tier(self, flight: Flight, tier: str) -> None:
        """What arrived belongs to a tier."""
        flight.tier = tier
        self.tier_arrivals[tier] = self.tier_arrivals.get(tier, 0) + 1

    def dispatch(self, flight: Flight, replica: str, now: float) -> None:
        """It was sent to a replica."""
        if not flight.dispatched:
            flight.dispatched = True
            self.held.add(now - flight.arrived)
        if flight.replica is not None:
            self._book(flight, -flight.booked)
        flight.replica = replica
        self._book(flight, self._expected(flight))
        self.changes += 1

    def hold(self, flight: Flight) -> None:
        """It came back: its replica was away."""
        self._book(flight, -flight.booked)
        flight.replica = None
        self.changes += 1

    def progress(
        self, flight: Flight, *, thinking: int, answer: int, began: bool, answered: bool, now: float
    ) -> None:
        """Its totals so far; `began`: some token has come, `answered`: an answer token has."""
        thought, answered_now = thinking - flight.thinking, answer - flight.answer
        if flight.first_token is None and began:
            flight.first_token = now
            self.ttft.add(now - flight.arrived)
        if flight.answer_begun is None and answered:
            flight.answer_begun = now
            flight.last_thinking_token = now if thought > 0 else flight.last_token
            self._answering += 1
            self.totals.answers_begun += 1
            self.ttfa.add(now - flight.arrived)
        self.totals.thinking_tokens += max(0, thought)
        self.totals.answer_tokens += max(0, answered_now)
        if flight.holding is not None:
            flight.holding.context_tokens += thought + answered_now
        flight.thinking, flight.answer = thinking, answer
        if thought > 0 or answered_now > 0:  # not the closing tag, the end, or the usage
            flight.last_token = now
        self.changes += 1

    def token(self, flight: Flight, now: float, *, thinking: bool) -> None:
        """`progress` by one token, within a phase: the hot path. Long polls hear of it within a
        second.
        """
        if thinking:
            flight.thinking += 1
            self.totals.thinking_tokens += 1
        else:
            flight.answer += 1
            self.totals.answer_tokens += 1
        if flight.holding is not None:
            flight.holding.context_tokens += 1
        flight.last_token = now
        self.changes += 1

    def prompt_told(self, flight: Flight, tokens: int) -> None:
        """An engine counted its prompt."""
        if flight.holding is not None:
            flight.holding.context_tokens += tokens - flight.prompt
        flight.prompt, flight.prompt_told = tokens, True

    def think_ended(self, flight: Flight, *, natural: bool, by_load: bool = False) -> None:
        """Its thought is over; one that was cut is censored. Its output is censored too if load cut
        it; what a declared budget leaves of an output is how such outputs end.
        """
        self._expose(flight)
        if natural:
            self.life_table.end(flight.thinking)
        elif by_load and flight.cut_at is None:
            flight.cut_at = flight.output
            self.budget.withheld_millipoints += flight.would_lose_millipoints

    def end(self, flight: Flight, outcome: Outcome, now: float) -> None:
        """It is over."""
        if self._flights.pop(id(flight), None) is None:
            return
        if flight.answer_begun is not None:
            self._answering -= 1
        self._expose(flight)
        self._expose_output(flight)
        if outcome is Outcome.COMPLETED and flight.cut_at is None and flight.output:
            self.output_life_table.end(flight.output)
        self._book(flight, -flight.booked)
        self._count(outcome)
        self.totals.prompt_tokens += flight.prompt if flight.prompt_told else 0
        timing = flight.timing(now)
        for slo in self.slos:
            met = score(slo, timing, outcome)
            if met is not None:
                tally = self._good if met else self._bad
                tally[slo.name] = tally.get(slo.name, 0) + 1
        if outcome is Outcome.COMPLETED:
            self.e2e.add(timing.now)
        self._pace(flight, now)
        self.changes += 1

    def work(self, replica: str, now: float) -> float:
        """Expected tokens still to come from a replica for this gateway's requests."""
        if now - self._work_at > _WORK_REFRESH_SECONDS:
            self._work = {}
            for flight in self._flights.values():
                flight.booked = 0.0
                self._book(flight, self._expected(flight))
            self._work_at = now
        return self._work.get(replica, 0.0)

    def phases(self, flights: Iterable[Flight] | None = None) -> PhaseCounts:
        """Requests by phase."""
        counts = {"queued": 0, "thinking": 0, "answering": 0}
        for flight in self._flights.values() if flights is None else flights:
            counts[flight.phase] += 1
        return PhaseCounts(**counts)

    def thinking_ages(self) -> tuple[int, ...]:
        """Requests in the thinking phase by age bin."""
        ages = [0] * BINS
        for flight in self._flights.values():
            if flight.phase == "thinking":
                ages[bin_of(flight.thinking)] += 1
                self._expose(flight)
        return tuple(ages)

    def output_ages(self) -> tuple[int, ...]:
        """Requests thinking or answering by age bin of their whole output so far."""
        ages = [0] * BINS
        for flight in self._flights.values():
            if flight.first_token is not None:
                ages[bin_of(flight.output)] += 1
                self._expose_output(flight)
        return tuple(ages)

    def slo_counts(self, now: float) -> dict[str, SloCounts]:
        """Good, bad and overdue by SLO."""
        timings = [flight.timing(now) for flight in self._flights.values()]
        return {
            slo.name: SloCounts(
                good=self._good.get(slo.name, 0),
                bad=self._bad.get(slo.name, 0),
                overdue=sum(is_late(slo, timing) for timing in timings),
            )
            for slo in self.slos
        }

    def counters(self) -> Counters:
        """For the wire."""
        t = self.totals
        return Counters(
            arrivals=t.arrivals,
            completed=t.completed,
            failed=t.failed,
            cancelled=t.cancelled,
            prompt_tokens=t.prompt_tokens,
            arrived_prompt_tokens=t.arrived_prompt_tokens,
            thinking_tokens=t.thinking_tokens,
            answer_tokens=t.answer_tokens,
            answers_begun=t.answers_begun,
        )

    def oldest_held_seconds(self, now: float) -> float:
        """Age of the oldest request that was sent to no replica yet."""
        return max(
            (now - flight.arrived for flight in self._flights.values() if flight.replica is None),
            default=0.0,
        )

    def _count(self, outcome: Outcome) -> None:
        match outcome:
            case Outcome.COMPLETED:
                self.totals.completed += 1
            case Outcome.FAILED:
                self.totals.failed += 1
            case Outcome.CANCELLED:
                self.totals.cancelled += 1
            case Outcome.REFUSED:
                self.totals.refused += 1

    def _expose(self, flight: Flight) -> None:
        if flight.thinking > flight.exposed:
            self.life_table.expose(flight.exposed, flight.thinking)
            flight.exposed = flight.thinking

    def _expose_output(self, flight: Flight) -> None:
        until = flight.output if flight.cut_at is None else min(flight.output, flight.cut_at)
        if until > flight.output_exposed:
            self.output_life_table.expose(flight.output_exposed, until)
            flight.output_exposed = until

    def _expected(self, flight: Flight) -> float:
        answers = self.totals.completed
        mean = self.totals.answer_tokens / answers if answers else PRIOR_ANSWER_TOKENS
        # One that outlived the mean is as likely as not to go on for a while.
        answer = max(mean - flight.answer, mean / 4)
        if self.answer_limit is not None:
            answer = min(answer, max(0.0, self.answer_limit - flight.answer))
        if flight.answer_begun is not None:
            return answer
        return self.life_table.remaining(flight.thinking, flight.limit) + answer

    def _book(self, flight: Flight, tokens: float) -> None:
        if flight.replica is not None:
            self._work[flight.replica] = self._work.get(flight.replica, 0.0) + tokens
            flight.booked += tokens

    def _pace(self, flight: Flight, now: float) -> None:
        timing = flight.timing(now)
        whole = output_pace(timing)
        if whole is not None and flight.output >= FASTEST_MIN_TOKENS:
            fastest = self.fastest_token_seconds
            self.fastest_token_seconds = whole if fastest is None else min(fastest, whole)
        until = flight.last_token if flight.answer_begun is None else flight.last_thinking_token
        of_thinking = pace(flight.first_token, until, flight.thinking)
        if of_thinking is not None:
            self.thinking_pace.add(of_thinking)
        of_answer = answer_pace(timing)
        if of_answer is not None:
            self.answer_pace.add(of_answer)
