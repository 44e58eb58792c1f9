"""What the terms ask for: each its own wish, and the largest of them.

There are two wishes. The one to grow rounds to the nearer whole number of replicas; the one to
shrink must leave the smaller fleet enough now, halfway and at the horizon, with more safety. A size
between the two is kept: that gap is the hysteresis.
"""

import math
from dataclasses import dataclass, field
from typing import Final

from thinkscale.model.decision import Reason, Term
from thinkscale.model.intent import Intent
from thinkscale.model.observation import MergedSignals
from thinkscale.model.signals import ReplicaSignals
from thinkscale.scaling import arrivals, backlog, margin, occupancy
from thinkscale.scaling.allowance import opted_in
from thinkscale.scaling.capacity import WAITING, slack_seconds
from thinkscale.scaling.evidence import Evidence, Trust
from thinkscale.scaling.knowledge import Knowledge
from thinkscale.scaling.occupancy import InFlight, Need, Projection, Promise
from thinkscale.scaling.state import State
from thinkscale.scaling.supply import Supply

MOST_LATE_RATES: Final = 64
NOBODY: Final = 0.5
"""Fewer requests than this, and none in flight, need no replica."""


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
    piled_up: bool = False
    """More wait than the slack makes normal."""
    numbers: dict[str, float] = field(default_factory=dict)
    late_rates: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """One term's, in fractions of a replica; None: it has nothing to say."""

    name: str
    reason: Reason
    up: float | None
    down: float | None
    because: str


def waiting(signals: MergedSignals) -> int:
    """Requests that wait for a seat, at the gateways or in the engines."""
    return signals.held + sum(_waiting(replica) for replica in signals.replicas.values())


def _waiting(replica: ReplicaSignals) -> int:
    return replica.engine.waiting if replica.engine else 0


def ask(
    state: State, intent: Intent, evidence: Evidence, supply: Supply, known: Knowledge
) -> Demand:
    """All terms' wishes."""
    signals = evidence.signals
    if signals is None:
        terms = tuple(
            Term(name=name, wish=None, because=evidence.trouble)
            for name in ("occupancy", "backlog", "tail")
        )
        return Demand(
            up=None, down=None, reason=Reason.STEADY, because=evidence.trouble, terms=terms
        )
    numbers = _counts(signals) | known.numbers()
    serving = supply.serving(state.cordon)
    fresh = evidence.trust is Trust.FRESH
    need, words = _need(state, intent, signals, known, fresh=fresh)
    numbers["projected_in_flight"] = need.ahead.mean
    # The margin multiplies; where it starts it must not lessen what the objectives ask for.
    promised = need.punctual / margin.START
    occupied = _Wish(
        name="occupancy",
        reason=Reason.OCCUPANCY,
        up=max(need.up, promised),
        down=max(need.down, promised),
        because=words,
    )
    rate = known.arrivals_per_second or 0.0
    piled = backlog.piled_up(waiting(signals), rate, slack_seconds(intent.objectives))
    queued = _backlog(state, intent, signals, supply, serving, known, numbers, piled=piled)
    factor = margin.value(state.margin, cutting=opted_in(intent), level=state.allowance.level)
    numbers["margin"] = factor
    least = need.least * factor / margin.START
    demand = _together(intent, occupied, queued, factor, least, numbers)
    return Demand(
        up=demand.up,
        down=demand.down,
        reason=demand.reason,
        because=demand.because,
        terms=demand.terms,
        piled_up=piled,
        numbers=numbers,
        late_rates=_late_rates(intent, known, need.ahead),
    )


def _counts(signals: MergedSignals) -> dict[str, float]:
    return {
        "depth": signals.phases.depth,
        "in_flight": signals.phases.in_flight,
        "held": signals.held,
        "oldest_held_seconds": signals.oldest_held_seconds,
    }


def in_flight(signals: MergedSignals) -> InFlight:
    """Everybody by age; a gateway that does not tell the ages of outputs still tells the phases."""
    running = signals.phases.thinking + signals.phases.answering
    return InFlight(
        output_ages=signals.output_ages,
        queued=signals.phases.queued,
        unknown=max(0, running - sum(signals.output_ages)),
    )


def _need(
    state: State, intent: Intent, signals: MergedSignals, known: Knowledge, *, fresh: bool
) -> tuple[Need, str]:
    """By projection; as long as nothing is known to project with, by what is in flight now."""
    total = signals.phases.in_flight
    words = f"{total} requests in flight"
    rates = [
        arrivals.forecast(state.arrivals, known.horizon_seconds * share) for share in (0, 0.5, 1)
    ]
    if not fresh or not known.certain or any(rate is None for rate in rates):
        here = Projection(mean=total, variance=total)
        up = here.bound(occupancy.GROW_SIGMAS) / known.point.batch
        down = here.bound(occupancy.SHRINK_SIGMAS) / known.point.batch
        return Need(up=up, down=down, ahead=here), words
    found = occupancy.need(
        in_flight(signals),
        known.outputs,
        known.point,
        [rate or 0.0 for rate in rates],
        known.horizon_seconds,
        state.arrivals.dispersion,
        _relative_variance(state, known),
        _promise(intent),
    )
    if total == 0 and found.ahead.mean < NOBODY:
        return Need(up=0.0, down=0.0, ahead=found.ahead), words
    expected = round(found.ahead.mean)
    if expected != total:
        words += f", {expected} expected in {known.horizon_seconds:.0f} s,"
    return found, words


def _relative_variance(state: State, known: Knowledge) -> float:
    """Of the work that comes, by how many arrivals its rate is known and by how many ends the
    lengths: a fleet that has just begun has seen few of either, and is told so.
    """
    return arrivals.relative_variance(state.arrivals) + known.outputs.relative_variance


def _promise(intent: Intent) -> Promise | None:
    """None: no objective says how long anybody may wait."""
    slack = slack_seconds(intent.objectives)
    if slack is None:
        return None
    strictest = max(o.objective for o in intent.objectives if o.indicator in WAITING)
    return Promise(slack_seconds=slack, objective=strictest)


def _backlog(
    state: State,
    intent: Intent,
    signals: MergedSignals,
    supply: Supply,
    serving: int,
    known: Knowledge,
    numbers: dict[str, float],
    *,
    piled: bool,
) -> _Wish:
    point = known.point
    if not known.outputs.known or point.token_seconds is None:
        words = "no token was measured yet"
        return _Wish(name="backlog", reason=Reason.BACKLOG, up=None, down=None, because=words)
    phases = signals.phases
    # A model that never thinks has no thinking to do, and its queue must drain all the same.
    tokens = known.thinking.backlog_tokens(signals.thinking_ages, phases.queued)
    if not known.thinking.known:
        tokens = 0.0
    numbers["backlog_tokens"] = tokens
    words = f"a thinking backlog of {tokens:.0f} tokens"
    drain = backlog.seconds(tokens, serving, phases.answering, point)
    if drain is not None:
        numbers["backlog_seconds"] = drain
        words += f" ({drain:.0f} s)"
    if not piled or point.request_seconds is None:
        words += ", no queue worth a replica"
        return _Wish(name="backlog", reason=Reason.BACKLOG, up=0.0, down=0.0, because=words)
    wish = _wish_of_queue(state, intent, signals, supply, serving, known)
    words += f", {waiting(signals)} waiting"
    return _Wish(name="backlog", reason=Reason.BACKLOG, up=wish, down=wish, because=words)


def _wish_of_queue(
    state: State,
    intent: Intent,
    signals: MergedSignals,
    supply: Supply,
    serving: int,
    known: Knowledge,
) -> float:
    """The larger of what drains the queue in time and of what the engines were seen to carry."""
    rate = known.arrivals_per_second or 0.0
    lead = known.lead_mean_seconds
    # A fluid has no variance of its own: it is given the work that may come, one sigma high.
    fluid = backlog.Fluid(
        in_flight=signals.phases.in_flight,
        arrivals_per_second=rate * (1 + math.sqrt(_relative_variance(state, known))),
        point=known.point,
        serving=serving,
        at_once=len(supply.ready),
        coming_in_seconds=supply.coming_in(lead),
        lead_seconds=lead,
    )
    slack = slack_seconds(intent.objectives)
    drains = backlog.replicas_to_drain(fluid, slack, max(intent.max_replicas, serving))
    carries = backlog.replicas_by_measurement(state.saturation, known.point, rate)
    return max(float(drains), carries)


def _together(
    intent: Intent,
    occupied: _Wish,
    queued: _Wish,
    factor: float,
    least: float,
    numbers: dict[str, float],
) -> Demand:
    """The largest wish wins; the margin multiplies occupancy, and the tail term is what it adds.
    With fewer than `least` replicas chance alone breaks an objective.
    """
    plain = occupied.up or 0.0
    wanted, kept = plain * factor, (occupied.down or 0.0) * factor
    up = max(wanted, queued.up or 0.0)
    down = max(kept, queued.down or 0.0)
    grow = max(occupancy.to_grow_to(up), math.ceil(least - 1e-9))
    reason, because = occupied.reason, occupied.because
    if (queued.up or 0.0) > wanted:
        reason, because = queued.reason, queued.because
    elif factor > 1.0 and grow > occupancy.to_grow_to(plain):
        reason = Reason.TAIL_LATENCY
        because += f"; late requests raised the margin to {factor:.2f}"
    numbers["replicas_needed"] = up
    tail = occupancy.to_grow_to(wanted) if intent.objectives else None
    terms = (
        _term(occupied),
        _term(queued),
        Term(name="tail", wish=tail, because=f"margin {factor:.2f} from late and cut requests"),
    )
    return Demand(
        up=grow,
        down=max(grow, occupancy.to_shrink_to(down)),
        reason=reason,
        because=because,
        terms=terms,
    )


def _term(wish: _Wish) -> Term:
    replicas = None if wish.up is None else occupancy.to_grow_to(wish.up)
    return Term(name=wish.name, wish=replicas, because=wish.because)


def _late_rates(intent: Intent, known: Knowledge, ahead: Projection) -> tuple[float, ...]:
    """Late requests a second with 0, 1, 2, ... replicas at the horizon."""
    rate = known.arrivals_per_second
    if rate is None or not known.certain:
        return ()
    most = min(MOST_LATE_RATES, intent.max_replicas)
    return tuple(rate * ahead.late_share(n * known.point.batch) for n in range(most + 1))
