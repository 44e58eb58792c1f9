"""What the terms ask for: each its own wish, and the largest of them.

There are two wishes. The one to grow fills seats to 80 %; the one to shrink must leave the smaller
fleet under 64 %. A size between the two is kept: that gap is the hysteresis.
"""

from dataclasses import dataclass, field

from thinkscale.model.decision import Reason, Term
from thinkscale.model.intent import Intent
from thinkscale.model.observation import MergedSignals
from thinkscale.scaling import backlog, life_table, occupancy, traffic
from thinkscale.scaling.evidence import Evidence, Trust
from thinkscale.scaling.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one term needs, in fractions of a replica; None: it has nothing to say."""

    name: str
    reason: Reason
    up: float | None
    down: float | None
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The wishes of all terms together."""

    up: int | None
    """Replicas to grow to; None: nothing is known."""
    down: int | None
    """The fewest replicas that a shrinking fleet may have."""
    reason: Reason
    """Of the largest wish to grow."""
    because: str
    terms: tuple[Term, ...]
    numbers: dict[str, float] = field(default_factory=dict)


def ask(
    state: State, intent: Intent, evidence: Evidence, serving: int, lead_seconds: float
) -> Demand:
    """All terms' wishes. `serving` replicas are ready and not cordoned."""
    signals = evidence.signals
    if signals is None:
        term = Term(name="occupancy", wish=None, because=evidence.trouble)
        return Demand(
            up=None, down=None, reason=Reason.STEADY, because=evidence.trouble, terms=(term,)
        )
    numbers = _counts(signals)
    survival = life_table.Survival(state.lengths, intent.budget.max_tokens)
    pace = traffic.seconds_per_token(state.traffic) or signals.fastest_token_seconds
    occupied = _occupancy(state, intent, evidence, survival, pace, lead_seconds, numbers)
    piled = _backlog(intent, signals, survival, pace, serving, lead_seconds, numbers)
    return _together(intent, (occupied, piled), state.trim, numbers)


def _counts(signals: MergedSignals) -> dict[str, float]:
    return {
        "depth": signals.phases.depth,
        "in_flight": signals.phases.in_flight,
        "held": signals.held,
    }


def _occupancy(
    state: State,
    intent: Intent,
    evidence: Evidence,
    survival: life_table.Survival,
    pace: float | None,
    lead_seconds: float,
    numbers: dict[str, float],
) -> Need:
    assert evidence.signals is not None
    in_flight = evidence.signals.phases.in_flight
    seats = intent.seats_per_replica
    expected = float(in_flight)
    rate = traffic.projected_rate(state.traffic, lead_seconds)
    if evidence.trust is Trust.FRESH and rate is not None and pace and survival.certain:
        service = (survival.mean + state.lengths.answer_mean_tokens) * pace
        expected = occupancy.projected(in_flight, rate, service, lead_seconds, seats)
        numbers |= {"arrivals_per_second": rate, "service_seconds": service}
    numbers["projected_in_flight"] = expected
    words = f"{in_flight} requests in flight"
    if round(expected) > in_flight:
        words += f", {expected:.0f} expected in {lead_seconds:.0f} s,"
    return Need(
        name="occupancy",
        reason=Reason.OCCUPANCY,
        up=occupancy.replicas_needed(expected, seats, occupancy.TARGET),
        down=occupancy.replicas_needed(expected, seats, occupancy.TARGET_DOWN),
        because=words,
    )


def _backlog(
    intent: Intent,
    signals: MergedSignals,
    survival: life_table.Survival,
    pace: float | None,
    serving: int,
    lead_seconds: float,
    numbers: dict[str, float],
) -> Need:
    if not survival.known or not pace:
        words = "no thought was measured yet"
        return Need(name="backlog", reason=Reason.BACKLOG, up=None, down=None, because=words)
    phases, seats = signals.phases, intent.seats_per_replica
    tokens = survival.backlog_tokens(signals.thinking_ages, phases.queued)
    numbers |= {"backlog_tokens": tokens, "seconds_per_token": pace}
    drain = backlog.seconds(tokens, serving, seats, phases.answering, pace)
    words = f"a thinking backlog of {tokens:.0f} tokens"
    if drain is not None:
        numbers["backlog_seconds"] = drain
        words += f" ({drain:.0f} s)"
    slack = backlog.slack_seconds(intent.objectives)
    if slack is None:
        words += "; no objective bounds the wait"
        return Need(name="backlog", reason=Reason.BACKLOG, up=None, down=None, because=words)
    rate, ahead = numbers.get("arrivals_per_second", 0.0), lead_seconds + slack
    coming = backlog.tokens_ahead(survival, signals.thinking_ages, phases.queued, rate, ahead, pace)
    need = backlog.replicas_needed(coming, ahead, seats, phases.answering, pace)
    down = need * occupancy.TARGET / occupancy.TARGET_DOWN
    words += f", and {coming:.0f} to think within {ahead:.0f} s,"
    return Need(name="backlog", reason=Reason.BACKLOG, up=need, down=down, because=words)


def _together(
    intent: Intent, needs: tuple[Need, ...], trim: float, numbers: dict[str, float]
) -> Demand:
    """The largest wish wins; the tail term is the largest of the others times its margin."""
    terms = [
        Term(
            name=need.name,
            wish=None if need.up is None else occupancy.whole(need.up),
            because=need.because,
        )
        for need in needs
    ]
    largest = max(needs, key=lambda need: -1.0 if need.up is None else need.up)
    up = largest.up or 0.0
    down = max(need.down or 0.0 for need in needs)
    wish, trimmed_wish = occupancy.whole(up), occupancy.whole(up * trim)
    reason, because = largest.reason, largest.because
    if trimmed_wish > wish:
        reason = Reason.TAIL_LATENCY
        because += f"; late requests raised the margin to {trim:.2f}"
    tail_words = f"margin {trim:.2f} from late requests"
    tail_wish = trimmed_wish if intent.objectives else None
    terms.append(Term(name="tail", wish=tail_wish, because=tail_words))
    numbers["trim"] = trim
    return Demand(
        up=trimmed_wish,
        down=max(trimmed_wish, occupancy.whole(down * trim)),
        reason=reason,
        because=because,
        terms=tuple(terms),
        numbers=numbers,
    )
