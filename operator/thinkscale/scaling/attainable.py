"""Is there any number of replicas that meets this SLO? Said as soon as it is known, not after a
month of misses.

More replicas shorten queues and thin batches; they never make a single token faster than the engine
alone makes it. So an objective is out of reach when too many requests are late even if each ran
alone, at the fastest pace that was ever measured. What the check says is certain, given what was
measured: it counts thinking tokens only where all tokens would count, and says nothing while
lengths are unknown. A service that sleeps is late for whoever wakes it, and that is no finding: a
few of them fit into any objective.
"""

from dataclasses import dataclass

from thinkscale.model.intent import Indicator, Intent, Objective
from thinkscale.scaling.capacity import PACES
from thinkscale.scaling.state import State
from thinkscale.scaling.survival import Survival


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One SLO that cannot be met as it is written."""

    slo: str
    field: str
    """The field to change, as a path in the resource."""
    message: str


def check(intent: Intent, state: State, fastest_token_seconds: float | None) -> tuple[Finding, ...]:
    """Findings for all SLOs of a service, in their order; empty: none is known to be out of reach.

    `fastest_token_seconds` is the gateways' measurement; None: nothing was measured yet.
    """
    survival = Survival(state.lengths.thinking, intent.budget.max_tokens)
    found = [
        _token_time(objective, survival, fastest_token_seconds) for objective in intent.objectives
    ]
    return tuple(finding for finding in found if finding is not None)


def _token_time(objective: Objective, survival: Survival, fastest: float | None) -> Finding | None:
    """The engine's own pace against the SLO's.

    Threshold 8 s and 20 ms a token at a fastest token of 30 ms: thoughts over 8/0.010 = 800 tokens
    are late. Where more than the allowed 1 % are longer than that, no fleet can meet 99 %.
    """
    if fastest is None:
        return None
    if objective.indicator in PACES:
        if objective.threshold_seconds >= fastest:
            return None
        return Finding(
            slo=objective.name,
            field=f"spec.slos[{objective.name}].thresholdMilliseconds",
            message=(
                f"SLO {objective.name}: no number of replicas can meet "
                f"{objective.threshold_seconds * 1000:g} ms a token, the fastest took "
                f"{fastest * 1000:.0f} ms; raise thresholdMilliseconds"
            ),
        )
    if objective.indicator is Indicator.TIME_TO_FIRST_TOKEN or not survival.certain:
        return None
    if objective.per_token_seconds >= fastest:
        return None
    longest = objective.threshold_seconds / (fastest - objective.per_token_seconds)
    share = survival.longer_than(longest)
    if share <= 1 - objective.objective:
        return None
    return Finding(
        slo=objective.name,
        field=f"spec.slos[{objective.name}].perTokenMilliseconds",
        message=(
            f"SLO {objective.name}: no number of replicas can meet it, since the fastest token "
            f"took {fastest * 1000:.0f} ms and thoughts over {longest:.0f} tokens are late even "
            f"alone; {100 * share:.0f} % are longer, {100 * (1 - objective.objective):.2g} % may "
            f"be late; raise perTokenMilliseconds to at least {fastest * 1000:.0f}"
        ),
    )
