"""A simulated gateway's books: what a real one counts of its requests, in a few additions an event.

Life tables are kept as closed ages, a count and a sum by bin; exposure follows from them when
somebody looks: whoever got beyond a bin was exposed to all of it, whoever ended in it to his part.
Requests in flight are added at the same time, by their ages.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from thinkscale.model.ages import AGE_EDGES_TOKENS, BINS
from thinkscale.model.intent import Indicator, Objective
from thinkscale.model.signals import (
    FASTEST_MIN_TOKENS,
    LATENCY_EDGES_SECONDS,
    Histogram,
    LifeTableCounts,
)
from thinkscale.simulation.flight import Flight

_EDGES: Final = np.array(AGE_EDGES_TOKENS)
_WIDTHS: Final = np.append(np.diff(_EDGES), 0)
"""Of the last, open bin nobody gets beyond."""


class ClosedAges:
    """Ages at which something ended or was censored."""

    __slots__ = ("counts", "ends", "sums")

    def __init__(self) -> None:
        self.counts = [0] * BINS
        self.sums = [0] * BINS
        self.ends = [0] * BINS

    def add(self, age: int, *, natural: bool) -> None:
        """One closed at this age; `natural`: by itself, so it counts as an end."""
        at = bisect_right(AGE_EDGES_TOKENS, age) - 1
        self.counts[at] += 1
        self.sums[at] += age
        if natural:
            self.ends[at] += 1

    def life_table(self, open_ages: Iterable[int]) -> LifeTableCounts:
        """The counts for the wire, those still open included.

        Closed at 10 and 40, open at 20, edges 0 and 32: 10 + 32 + 20 tokens were generated in the
        first bin, 8 in the second.
        """
        ages = np.fromiter(open_ages, dtype=np.int64)
        bins = np.searchsorted(_EDGES, ages, side="right") - 1
        counts = np.array(self.counts) + np.bincount(bins, minlength=BINS)
        sums = np.array(self.sums) + np.bincount(bins, ages, minlength=BINS).astype(np.int64)
        beyond = counts[::-1].cumsum()[::-1] - counts
        exposure = sums - counts * _EDGES + beyond * _WIDTHS
        return LifeTableCounts.model_construct(
            exposure_tokens=tuple(exposure.tolist()), ends=tuple(self.ends)
        )


class LatencyBins:
    """A histogram of `LATENCY_EDGES_SECONDS`."""

    __slots__ = ("counts", "sum_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_EDGES_SECONDS) + 1)
        self.sum_seconds = 0.0

    def add(self, seconds: float) -> None:
        """One observation."""
        self.counts[bisect_left(LATENCY_EDGES_SECONDS, seconds)] += 1
        self.sum_seconds += seconds

    def wire(self) -> Histogram:
        """For the wire."""
        return Histogram.model_construct(counts=tuple(self.counts), sum_seconds=self.sum_seconds)


class Books:
    """One gateway's counters."""

    def __init__(self, objectives: Sequence[Objective], declared_tokens: int | None = None) -> None:
        self.objectives = tuple(objectives)
        self.declared_tokens = declared_tokens
        """The declared thinking budget; None: none is."""
        self.arrivals = 0
        self.arrived_prompt_tokens = 0
        self.completed = 0
        self.failed = 0
        self.prompt_tokens = 0
        self.thinking_tokens = 0
        """Of what is over; the tokens of open thoughts are added when somebody looks."""
        self.answer_tokens = 0
        self.answers_begun = 0
        self.cut = 0
        self.cut_by_load = 0
        self.withheld_tokens = 0
        self.withheld_millipoints = 0
        self.tier_arrivals: dict[str, int] = {}
        self.thoughts = ClosedAges()
        self.outputs = ClosedAges()
        self.ttft = LatencyBins()
        self.ttfa = LatencyBins()
        self.good = [0] * len(self.objectives)
        self.bad = [0] * len(self.objectives)
        self.fastest_token_seconds: float | None = None

    def arrive(self, flight: Flight) -> None:
        """A request was accepted."""
        self.arrivals += 1
        self.arrived_prompt_tokens += flight.prompt
        if flight.tier:
            self.tier_arrivals[flight.tier] = self.tier_arrivals.get(flight.tier, 0) + 1

    def first_token(self, flight: Flight, now: float) -> None:
        """Its first token of any kind is out."""
        self.ttft.add(now - flight.arrived)

    def answer_begins(self, flight: Flight, now: float) -> None:
        """Its thought is over, and its first answer token is out."""
        self.answers_begun += 1
        self.ttfa.add(now - flight.arrived)
        self._thought_over(flight)

    def cut_thought(self, age: int, lost_points: float) -> None:
        """Load closes a thought of this age; what it withholds of the declared budget, and what it
        is expected to lose, is all that a gateway can know.
        """
        self.withheld_millipoints += round(1000 * lost_points)
        self.cut += 1
        self.cut_by_load += 1
        if self.declared_tokens is not None:
            self.withheld_tokens += self.declared_tokens - age

    def finish(self, flight: Flight, now: float) -> None:
        """It has all its tokens."""
        if flight.first_answer < 0:
            self._thought_over(flight)
        self.completed += 1
        self.prompt_tokens += flight.prompt
        self.thinking_tokens += flight.thinking
        self.answer_tokens += flight.answer
        if flight.cut_at < 0:
            self.outputs.add(flight.output, natural=True)
        else:
            self.outputs.add(min(flight.cut_at, flight.output), natural=False)
        tokens = flight.output
        if tokens >= FASTEST_MIN_TOKENS:
            pace = (now - flight.first_token) / (tokens - 1)
            if self.fastest_token_seconds is None or pace < self.fastest_token_seconds:
                self.fastest_token_seconds = pace
        for at, objective in enumerate(self.objectives):
            verdict = met(objective, flight, now)
            if verdict is not None:
                (self.good if verdict else self.bad)[at] += 1

    def refuse(self, flight: Flight) -> None:
        """No replica could ever hold it: failed at once."""
        self.failed += 1
        for at in range(len(self.objectives)):
            self.bad[at] += 1

    def lose(self, flight: Flight, age: int) -> None:
        """Its replica died at this many tokens: they were generated, and nothing ended."""
        if age == 0:
            return
        thought = min(age, flight.thinking)
        if flight.first_answer < 0:
            self.thoughts.add(thought, natural=False)
        self.thinking_tokens += thought
        self.answer_tokens += age - thought
        self.outputs.add(age if flight.cut_at < 0 else min(age, flight.cut_at), natural=False)

    def _thought_over(self, flight: Flight) -> None:
        self.thoughts.add(flight.thinking, natural=not (flight.cut or flight.capped))
        if flight.capped and not flight.cut:
            self.cut += 1


def met(objective: Objective, flight: Flight, now: float) -> bool | None:
    """Whether one that ended now met it; None: it has none of what is measured."""
    tokens = flight.output
    match objective.indicator:
        case Indicator.TIME_TO_FIRST_TOKEN:
            return flight.first_token - flight.arrived <= objective.threshold_seconds
        case Indicator.TIME_PER_OUTPUT_TOKEN:
            if tokens < 2:
                return None
            return now - flight.first_token <= objective.threshold_seconds * (tokens - 1)
        case Indicator.END_TO_END:
            return now - flight.arrived <= objective.limit_seconds(tokens)
        case Indicator.TIME_TO_FIRST_ANSWER:
            begun = now if flight.first_answer < 0 else flight.first_answer
            return begun - flight.arrived <= objective.limit_seconds(flight.thinking)
        case Indicator.TIME_PER_ANSWER_TOKEN:
            if flight.answer < 2:
                return None
            limit = objective.threshold_seconds * (flight.answer - 1)
            return now - flight.first_answer <= limit
