"""The recommendation as a patch of a ReasoningService: one tier for each use case. Pure.

A tier is named after its use case, and clients ask for it by that name as their effort. Where
nothing can be recommended the patch says so and leaves that tier out: a budget that nobody has
shown to be enough must not be applied by the way.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import yaml

from thinkscale.quality.analysis import Case

LONGEST_NAME: Final = 63
HEAD: Final = """\
# Made by `thinkscale sweep`; look at report.md before you apply it:
#   kubectl patch rsvc NAME --type merge --patch-file tiers.yaml
# Clients choose a tier by its name: {"reasoning_effort": "NAME"}. A merge replaces the tiers there.
"""


def patch(cases: Sequence[Case]) -> str:
    """YAML. With several use cases the one of all rows together is left out."""
    own = list(cases[1:]) if len(cases) > 1 else list(cases)
    comments, tiers, names = [HEAD], [], set[str]()
    for case in own:
        name = _unique(label(case.name), names)
        comments.append(_comment(name, case))
        point = case.recommended
        if point is None or point.level.max_tokens is None:
            continue
        tier: dict[str, Any] = {"name": name, "maxTokens": point.level.max_tokens}
        minimum = case.recommended_minimum
        if minimum is not None and minimum.level.min_tokens <= point.level.max_tokens:
            tier["minTokens"] = minimum.level.min_tokens
        tiers.append(tier)
    body = yaml.safe_dump({"spec": {"thinking": {"tiers": tiers}}}, sort_keys=False)
    return "".join(comments) + (body if tiers else "# No tier can be recommended yet.\n{}\n")


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
    told = "" if case.recommended else " Not enough samples to recommend anything."
    if case.recommended and case.recommended.level.max_tokens is None:
        told = f" Recommended: {case.recommended.level.name}, which is no number of tokens."
    return f"# {name} ({case.rows} rows) {scores}.{told}\n"
