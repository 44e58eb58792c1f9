"""The recommendation as a patch of a ReasoningService: one tier for each use case. Pure.

A tier is named after its use case, and clients ask for it by that name as their effort. Where
nothing can be recommended the patch says so and leaves that tier out: a budget that nobody has
shown to be enough must not be applied by the way. Minima are measured without a maximum, so a tier
with one gets the longest thought that was seen under it: a maximum that would have cut nobody. The
scores under the tier's maximum go along: with them load knows where withholding costs the least.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import yaml

from thinkscale.quality.analysis import Case

LONGEST_NAME: Final = 63
COMMAND: Final = "kubectl patch rsvc NAME --type merge --patch-file tiers.yaml"
"""How the patch is applied, from the directory that it is in."""
HEAD: Final = f"""\
# Made by `thinkscale sweep`; look at report.md before you apply it:
#   {COMMAND}
# Clients choose a tier by its name: {{"reasoning_effort": "TIER"}}. The tiers there are replaced.
"""


def patch(cases: Sequence[Case]) -> str:
    """YAML. With several use cases the one of all rows together is left out."""
    own = _own(cases)
    comments, tiers, names = [HEAD], list[dict[str, Any]](), set[str]()
    for case in own:
        name = _unique(label(case.name), names)
        comments.append(_comment(name, case))
        tiers += [{"name": name, **budget} for budget in _budgets(case)]
    body = yaml.safe_dump({"spec": {"thinking": {"tiers": tiers}}}, sort_keys=False)
    return "".join(comments) + (body if tiers else "# No tier can be recommended yet.\n{}\n")


def recommends(cases: Sequence[Case]) -> bool:
    """Whether the patch has a tier."""
    return any(_budgets(case) for case in _own(cases))


def _own(cases: Sequence[Case]) -> list[Case]:
    return list(cases[1:]) if len(cases) > 1 else list(cases)


def _budgets(case: Case) -> list[dict[str, Any]]:
    """None or one."""
    minimum, longest = case.recommended_minimum, case.longest_with_minimum
    if minimum is not None and longest is not None:
        least = minimum.level.min_tokens
        most, told = max(least, longest), {"minTokens": least}
        point = next(p for p in case.points if p.level == minimum.level)
    elif case.recommended is not None and case.recommended.level.max_tokens is not None:
        point, told = case.recommended, {}
        most = case.recommended.level.max_tokens
    else:
        return []
    scores = {
        p.level.max_tokens: p.accuracy.value
        for p in case.points
        if p.level.max_tokens is not None and p.level.max_tokens < most
    } | {most: point.accuracy.value}
    quality = [
        {"maxTokens": tokens, "scorePercent": f"{score * 100:.2f}"}
        for tokens, score in sorted(scores.items())
    ]
    return [{**told, "maxTokens": most} | ({"quality": quality} if len(quality) > 1 else {})]


def label(name: str) -> str:
    """A use case as a DNS label: `Math, hard` becomes `math-hard`."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain[:LONGEST_NAME].strip("-") or "tier"


def _unique(name: str, names: set[str]) -> str:
    made, count = name, 1
    while made in names:
        count += 1
        made = f"{name[: LONGEST_NAME - 4]}-{count}"
    names.add(made)
    return made


def _comment(name: str, case: Case) -> str:
    scores = ", ".join(
        f"{point.level.name}: {point.accuracy.value * 100:.1f} %" for point in case.points
    )
    told = "" if case.recommended else " Not enough samples to recommend a maximum."
    if case.recommended and case.recommended.level.max_tokens is None:
        told = f" Recommended: {case.recommended.level.name}, which is no number of tokens."
    if (minimum := case.recommended_minimum) is not None:
        told += (
            f" A minimum of {minimum.level.min_tokens} gains "
            f"{minimum.accuracy_gain * 100:.1f} points."
        )
    return f"# {name} ({case.rows} rows): {scores}.{told}\n"
