"""Where each tier that tells its quality stands, and why load lowers one before another. Pure.

The facts are those that `tier_budgets` chooses by, read off the directive and the resource again:
so status, condition and command line say what the gateways were told, and nothing is guessed. What
orders the tiers is the price of the first step down from the maximum; the steps after it are never
cheaper. Budgets in force are the gateways' own word, since these evaluate the rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from thinkscale.model.brownout import BrownoutRule
from thinkscale.model.intent import Intent
from thinkscale.scaling.tier_budgets import Menu, hull_of, menu_of, score_percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One tier, now."""

    name: str
    budget_tokens: int
    """In force."""
    max_tokens: int
    """Declared."""
    floor_tokens: int
    """Load may push the maximum as low as this now."""
    score_percent: float
    """What the tier scores under the budget in force."""
    declared_score_percent: float
    points_per_gpu_second: float | None
    """Expected score lost for each GPU-second that the first step down saves (replica-second, if
    replicas have no GPU); None: there is no step, or nothing was learnt yet.
    """


def standings(
    intent: Intent, rule: BrownoutRule | None, in_force: Mapping[str, int]
) -> tuple[Standing, ...]:
    """The tiers that tell their quality, first the one that load lowers first. `in_force`: budgets
    by tier as the gateways told them; a tier that is not among them has its maximum.
    """
    made = [_standing(intent, at, rule, in_force) for at in range(len(intent.tiers))]
    return tuple(sorted(made, key=_price))


def _standing(
    intent: Intent, at: int, rule: BrownoutRule | None, in_force: Mapping[str, int]
) -> Standing:
    tier, most = intent.tiers[at], intent.tiers[at].max_tokens
    if intent.budget.max_tokens is not None:
        most = min(most, intent.budget.max_tokens)
    floor, price = most, None
    if rule is not None:
        floor = min(most, max(tier.floor_tokens, rule.floor_tokens))
        if rule.carried:
            menu = menu_of(rule.carried, tier, 1.0, rule.floor_tokens)
            price = _first_price(menu, intent.gpus_per_replica)
    budget = min(most, in_force.get(tier.name, most))
    return Standing(
        name=tier.name,
        budget_tokens=budget,
        max_tokens=most,
        floor_tokens=floor,
        score_percent=score_percent(tier, budget),
        declared_score_percent=score_percent(tier, most),
        points_per_gpu_second=price,
    )


def _first_price(menu: Menu, gpus_per_replica: int) -> float | None:
    """10 points for 2 replica-seconds of 2 GPUs: 2.5."""
    for (seconds, score), (fewer, lower) in pairwise(hull_of(menu)):
        return (score - lower) / ((seconds - fewer) * max(1, gpus_per_replica))
    return None


def _price(standing: Standing) -> tuple[bool, float]:
    price = standing.points_per_gpu_second
    return (price is None, price or 0.0)


def budgets_in_words(standings: Sequence[Standing]) -> str:
    """`quick 1024 of 4096 (its floor), deep 4096 of 4096`."""
    return ", ".join(
        f"{one.name} {one.budget_tokens} of {one.max_tokens}"
        + (" (its floor)" if one.budget_tokens <= one.floor_tokens < one.max_tokens else "")
        for one in standings
    )


def why_first(standings: Sequence[Standing], gpus_per_replica: int) -> str:
    """Why the first of them is lowered first, as one sentence; empty: none is cheaper than the
    others.
    """
    priced = [one for one in standings if one.points_per_gpu_second is not None]
    if len(priced) < 2:
        return ""
    (first, least), *others = [(one.name, one.points_per_gpu_second or 0.0) for one in priced]
    if others[0][1] <= least:
        return ""
    unit = "a GPU-second" if gpus_per_replica else "a replica-second"
    dearer = ", ".join(f"in {name} {price:.2g}" for name, price in others)
    return (
        f"{first} is lowered first: {unit} saved there costs {least:.2g} percent points of "
        f"expected score, {dearer}."
    )
