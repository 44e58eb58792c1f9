"""CEL rules of how much to think: budgets, tiers, and what a tier scores by its maximum."""

from collections.abc import Mapping, Sequence
from typing import Final

from thinkscale.api.cel import CelRule

BUDGET: Final[Sequence[CelRule]] = (
    CelRule(
        rule="double(self.truncationAllowancePercent) <= 100.0",
        message='must be at most 100, for example "1"; "0" switches brown-out off: lower it',
        field=".truncationAllowancePercent",
    ),
    CelRule(
        rule="self.minTokens <= self.maxTokens",
        message="must be at most maxTokens: lower it, or raise maxTokens",
        field=".minTokens",
    ),
    CelRule(
        rule="!has(self.floorTokens) || self.floorTokens <= self.maxTokens",
        message="must be at most maxTokens: lower it, or raise maxTokens",
        field=".floorTokens",
    ),
    CelRule(
        rule="!has(self.floorTokens) || self.minTokens <= self.floorTokens",
        message="must be at least minTokens: raise it, or lower minTokens",
        field=".floorTokens",
    ),
)

THINKING: Final[Sequence[CelRule]] = (
    CelRule(
        rule=(
            "!has(self.budget) || !has(self.defaultMaxTokens) "
            "|| self.defaultMaxTokens <= self.budget.maxTokens"
        ),
        message="must be at most budget.maxTokens: lower it, or raise budget.maxTokens",
        field=".defaultMaxTokens",
    ),
    CelRule(
        rule=(
            "!has(self.budget) || !has(self.defaultMaxTokens) "
            "|| self.defaultMaxTokens >= self.budget.minTokens"
        ),
        message="must be at least budget.minTokens: raise it, or lower budget.minTokens",
        field=".defaultMaxTokens",
    ),
    CelRule(
        rule="!has(self.nudge) || !self.nudge.contains('think>')",
        message="must not contain <think> or </think>, which would end the thought or begin "
        "another: remove the tag",
        field=".nudge",
    ),
    CelRule(
        rule=(
            "!has(self.nudge) || (has(self.budget) && self.budget.minTokens > 0) "
            "|| (has(self.tiers) && self.tiers.exists(t, t.minTokens > 0))"
        ),
        message="is said behind thoughts that end below their minimum, and nothing sets one: set "
        "budget.minTokens or a tier's minTokens, or remove it",
        field=".nudge",
    ),
    CelRule(
        rule="!has(self.defaultTier) || !has(self.defaultMaxTokens)",
        message="must be absent while defaultMaxTokens says what a request has that says nothing: "
        "keep one of them",
        field=".defaultTier",
    ),
    CelRule(
        rule=(
            "!has(self.defaultTier) "
            "|| (has(self.tiers) && self.tiers.exists(t, t.name == self.defaultTier))"
        ),
        message="must be the name of one of tiers: add the tier, or correct the name",
        field=".defaultTier",
    ),
    CelRule(
        rule=(
            "!has(self.budget) || !has(self.tiers) || self.tiers.all(t, "
            "t.maxTokens <= self.budget.maxTokens && t.maxTokens >= self.budget.minTokens)"
        ),
        message="each must have a maxTokens from budget.minTokens to budget.maxTokens: change it, "
        "or the budget",
        field=".tiers",
    ),
    CelRule(
        rule=(
            "!has(self.tiers) || self.tiers.all(t, !has(t.floorTokens) "
            "|| (has(self.budget) && has(self.budget.floorTokens) "
            "&& t.floorTokens >= self.budget.floorTokens))"
        ),
        message="a tier's floorTokens raises budget.floorTokens for its requests: set that too, to "
        "as much or less",
        field=".tiers",
    ),
    CelRule(
        rule=(
            "!has(self.tiers) || self.tiers.all(t, !has(t.efforts) || t.efforts.all(e, "
            "self.tiers.exists_one(u, u.name == t.name || (has(u.efforts) && e in u.efforts))))"
        ),
        message="each effort must be in one tier alone: remove it from the others",
        field=".tiers",
    ),
    CelRule(
        rule=(
            "!has(self.tiers) || self.tiers.all(t, self.tiers.all(u, u.name == t.name "
            "|| !has(u.efforts) || u.efforts.all(e, e.lowerAscii() != t.name)))"
        ),
        message="must not be named like an effort of another tier: choose another name",
        field=".tiers",
    ),
)

TIER: Final[Sequence[CelRule]] = (
    CelRule(
        rule="self.name != 'none'",
        message="must not be none, which asks for no thinking: choose another name",
        field=".name",
    ),
    CelRule(
        rule="self.minTokens <= self.maxTokens",
        message="must be at most maxTokens: lower it, or raise maxTokens",
        field=".minTokens",
    ),
    CelRule(
        rule=(
            "!has(self.floorTokens) "
            "|| (self.floorTokens <= self.maxTokens && self.floorTokens >= self.minTokens)"
        ),
        message="must be from minTokens to maxTokens: change one of them",
        field=".floorTokens",
    ),
    CelRule(
        rule="!has(self.quality) || size(self.quality) != 1",
        message="must have at least two points, or none: one alone does not say what less thinking "
        "costs",
        field=".quality",
    ),
    CelRule(
        rule=(
            "!has(self.quality) || self.quality.all(p, self.quality.exists_one(q, "
            "q.maxTokens == p.maxTokens)) && self.quality.map(p, p.maxTokens).isSorted()"
        ),
        message="must have each maxTokens once, the smallest first: sort the points",
        field=".quality",
    ),
)

QUALITY: Final[Sequence[CelRule]] = (
    CelRule(
        rule="double(self.scorePercent) <= 100.0",
        message='must be from 0 to 100, for example "82.5"',
        field=".scorePercent",
    ),
)

THINKING_RULES: Final[Mapping[str, Sequence[CelRule]]] = {
    "spec.thinking": THINKING,
    "spec.thinking.budget": BUDGET,
    "spec.thinking.tiers[]": TIER,
    "spec.thinking.tiers[].quality[]": QUALITY,
}
"""By the path of their node."""
