"""Each request against each objective, by its arrival, as arrays; and the bill.

A request that never ended, or was refused, is a miss whatever it did before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from thinkscale.model.intent import Indicator, Objective
from thinkscale.simulation.flight import Flight
from thinkscale.simulation.members import Member
from thinkscale.simulation.outcome import Flags, Numbers, Requests
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.workload import Tokens, Workload


class Records:
    """What became of each request, filled in as they end."""

    def __init__(self, workload: Workload) -> None:
        count = len(workload)
        never = [float("nan")] * count
        self.queue, self.first_token, self.first_answer, self.end = (never.copy() for _ in range(4))
        self.thinking = [0] * count
        self.answer = [0] * count
        self.cut = [False] * count
        self.withheld = [0] * count

    def close(self, flight: Flight, now: float) -> None:
        """One ended."""
        at, arrived = flight.index, flight.arrived
        self.queue[at] = flight.admitted - arrived
        self.first_token[at] = flight.first_token - arrived
        if flight.first_answer >= 0:
            self.first_answer[at] = flight.first_answer - arrived
        self.end[at] = now - arrived
        self.thinking[at] = flight.thinking
        self.answer[at] = flight.answer
        self.cut[at] = flight.cut
        self.withheld[at] = flight.withheld

    def requests(self, scenario: Scenario) -> Requests:
        """Those that count."""
        load = scenario.workload
        begin = int(np.searchsorted(load.at_seconds, scenario.warm_up_seconds))
        end = int(np.searchsorted(load.at_seconds, scenario.duration_seconds))
        kept = slice(begin, end)
        first = np.array(self.first_token[kept])
        answered = np.array(self.first_answer[kept])
        ended = np.array(self.end[kept])
        thinking = np.array(self.thinking[kept], dtype=np.int64)
        answer = np.array(self.answer[kept], dtype=np.int64)
        tokens = thinking + answer
        with np.errstate(divide="ignore", invalid="ignore"):
            pace = np.where(tokens > 1, (ended - first) / (tokens - 1), np.nan)
            answer_pace = np.where(answer > 1, (ended - answered) / (answer - 1), np.nan)
        measured = Measured(
            first=first,
            answered=answered,
            ended=ended,
            thinking=thinking,
            tokens=tokens,
            pace=pace,
            answer_pace=answer_pace,
        )
        return Requests(
            arrived_seconds=load.at_seconds[kept].copy(),
            queue_seconds=np.array(self.queue[kept]),
            first_token_seconds=first,
            first_answer_seconds=answered,
            end_seconds=ended,
            output_tokens=tokens,
            output_pace_seconds=pace,
            answer_pace_seconds=answer_pace,
            cut=np.array(self.cut[kept], dtype=np.bool_),
            withheld_tokens=np.array(self.withheld[kept], dtype=np.int64),
            met={o.name: measured.met(o) for o in scenario.intent.objectives},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The columns that the indicators are made of: seconds since arrival, tokens, seconds a token.
    NaN: it never happened, or there is no such thing.
    """

    first: Numbers
    answered: Numbers
    ended: Numbers
    thinking: Numbers | Tokens
    tokens: Tokens
    pace: Numbers
    answer_pace: Numbers

    def met(self, objective: Objective) -> Flags:
        """Whether each ended within the limit; what has no such indicator is within it."""
        limit = objective.threshold_seconds
        match objective.indicator:
            case Indicator.TIME_TO_FIRST_TOKEN:
                inside = self.first <= limit
            case Indicator.TIME_TO_FIRST_ANSWER:
                answered = np.where(np.isnan(self.answered), self.ended, self.answered)
                inside = answered <= limit + objective.per_token_seconds * self.thinking
            case Indicator.TIME_PER_ANSWER_TOKEN:
                inside = ~(self.answer_pace > limit)
            case Indicator.TIME_PER_OUTPUT_TOKEN:
                inside = ~(self.pace > limit)
            case Indicator.END_TO_END:
                inside = self.ended <= limit + objective.per_token_seconds * self.tokens
        flags: Flags = inside & ~np.isnan(self.ended)
        return flags


def billed_seconds(members: Iterable[Member], scenario: Scenario) -> float:
    """Replica-seconds from order to removal, within the scored time."""
    begin, end = scenario.warm_up_seconds, scenario.duration_seconds
    return sum(member.billed_seconds(begin, end) for member in members)


def reversals(sizes: Sequence[int]) -> int:
    """Changes of direction: 3, 4, 4, 5, 4, 5 has two."""
    moves = [after - before for before, after in pairwise(sizes)]
    signs = [1 if move > 0 else -1 for move in moves if move]
    return sum(a != b for a, b in pairwise(signs))
