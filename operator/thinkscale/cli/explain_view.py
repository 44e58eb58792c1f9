"""The words and tables of `thinkscale explain`, out of a resource and its directive. Pure.

Plain text without any package for tables: the command runs where the operator's image does. The
sentences are the operator's own; only the table of tiers is put together here, from the facts that
the budgets were chosen by.
"""

from collections.abc import Iterator, Sequence

from thinkscale.api.status import QualityDebt, ReasoningServiceStatus
from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.model.directive import Directive
from thinkscale.model.intent import Intent
from thinkscale.resources.intent import intent_of
from thinkscale.scaling import tier_standing


def lines(service: ReasoningService, directive: Directive | None) -> list[str]:
    """Everything, line by line. SpecInvalid if the resource cannot be acted upon."""
    intent, status = intent_of(service), service.status
    return [
        *_replicas(service),
        "",
        *_conditions(status),
        "",
        *_budget(intent, status, directive),
        *_tiers(intent, status, directive),
        *_debt(status.quality_debt),
    ]


def _replicas(service: ReasoningService) -> Iterator[str]:
    status, metadata = service.status, service.metadata
    if status.observed_generation is None:
        yield f"{metadata.namespace}/{metadata.name}: no operator has looked at it yet"
        return
    yield (
        f"{metadata.namespace}/{metadata.name}: {status.ready_replicas or 0} replicas ready, "
        f"{status.desired_replicas or 0} wanted, {status.gpus or 0} GPUs held"
    )
    if status.observed_generation < metadata.generation:
        yield "The resource was changed after the operator has looked at it last."
    last = status.last_decision
    if last is not None:
        limit = "" if last.limited_by == "None" else f", limited by {last.limited_by}"
        at = f"{last.time:%Y-%m-%d %H:%M:%S} UTC"
        yield f"Last change, {at}: {last.from_} to {last.to} replicas ({last.reason}{limit})"
        yield f"  {last.message}"


def _conditions(status: ReasoningServiceStatus) -> Iterator[str]:
    yield from _table(
        ["CONDITION", "IS", "REASON", "MESSAGE"],
        [[each.type, each.status, each.reason, each.message] for each in status.conditions],
    )


def _budget(
    intent: Intent, status: ReasoningServiceStatus, directive: Directive | None
) -> Iterator[str]:
    declared = intent.budget.max_tokens
    if declared is None:
        yield "No thinking budget is declared: load withholds nothing."
        return
    effective = status.effective_max_tokens
    in_force = "" if effective is None else f"{effective} in force, "
    yield f"Thinking budget: {in_force}{declared} declared; {_how_low(intent, directive)}."


def _how_low(intent: Intent, directive: Directive | None) -> str:
    if directive is None:
        return "the gateways were told nothing yet"
    rule = directive.brownout
    if rule is not None:
        return (
            f"load may lower it to {rule.floor_tokens} and close {rule.cuts_allowed} more thoughts"
        )
    if intent.budget.floor_tokens == intent.budget.max_tokens or not intent.truncation_allowance:
        return "load may not lower it (no floor below it, or no allowance)"
    return "load may not lower it now, since the gateways are not heard"


def _tiers(
    intent: Intent, status: ReasoningServiceStatus, directive: Directive | None
) -> Iterator[str]:
    in_force = {tier.name: tier.effective_max_tokens for tier in status.tiers}
    rule = None if directive is None else directive.brownout
    made = tier_standing.standings(intent, rule, in_force)
    if not made:
        return
    unit = "GPU-SECOND" if intent.gpus_per_replica else "REPLICA-SECOND"
    head = ["TIER", "IN FORCE", "DECLARED", "FLOOR", "SCORE", "SCORE AS DECLARED",
            f"POINTS PER {unit} OF THE FIRST STEP DOWN"]  # fmt: skip
    rows = [
        [
            one.name,
            str(one.budget_tokens),
            str(one.max_tokens),
            str(one.floor_tokens),
            f"{one.score_percent:.4g} %",
            f"{one.declared_score_percent:.4g} %",
            "not known yet" if (price := one.points_per_gpu_second) is None else f"{price:.3g}",
        ]
        for one in made
    ]
    yield ""
    yield from _table(head, rows)
    if why := tier_standing.why_first(made, intent.gpus_per_replica):
        yield why


def _debt(debt: QualityDebt | None) -> Iterator[str]:
    yield ""
    if debt is None:
        yield "Quality debt of the last day: none; load may cut nobody and has cut nobody."
        return
    text = (
        f"Quality debt of the last day: {debt.requests_cut} requests cut, "
        f"{debt.tokens_withheld} thinking tokens withheld at most"
    )
    if debt.points_withheld is not None:
        text += (
            f", about {debt.points_withheld} percent points of expected score given up "
            f"(100 are one answer that would have been right)"
        )
    yield f"{text}."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns to the left, two blanks apart."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
