"""What `thinkscale explain` says of a resource; the command is tested on a real API server."""

from datetime import UTC, datetime, timedelta
from typing import Any

from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.cli.explain_view import lines
from thinkscale.model.brownout import BrownoutRule, Carried
from thinkscale.model.directive import Directive

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
STATUS: dict[str, Any] = {
    "observedGeneration": 4,
    "readyReplicas": 3,
    "desiredReplicas": 4,
    "gpus": 8,
    "effectiveMaxTokens": 400,
    "tiers": [
        {"name": "quick", "effectiveMaxTokens": 250},
        {"name": "deep", "effectiveMaxTokens": 1000},
    ],
    "qualityDebt": {"requestsCut": 9, "tokensWithheld": 3000, "pointsWithheld": 12},
    "lastDecision": {
        "id": "d1",
        "from": 3,
        "to": 4,
        "reason": "ThinkingOccupancy",
        "limitedBy": "MaxReplicas",
        "message": "41 requests in flight",
        "time": "2026-11-25T11:58:00Z",
    },
    "conditions": [
        {
            "type": "BudgetReduced",
            "status": "True",
            "reason": "BrownOut",
            "message": "400 of 1000 thinking tokens while load is high.",
            "lastTransitionTime": "2026-11-25T11:59:00Z",
        }
    ],
}
DIRECTIVE = Directive(
    id="d1",
    brownout=BrownoutRule(
        floor_tokens=200,
        carried=tuple(
            Carried(budget_tokens=b, replica_seconds=r)
            for b, r in ((200, 1.0), (250, 1.5), (500, 2.5), (1000, 4.5))
        ),
        cuts_allowed=31,
        until=NOW + timedelta(seconds=60),
    ),
)


def service(status: dict[str, Any] | None = None, **thinking: Any) -> ReasoningService:
    def tier(name: str, *scores: str) -> dict[str, Any]:
        points = zip((250, 500, 1000), scores, strict=True)
        quality = [{"maxTokens": b, "scorePercent": s} for b, s in points]
        return {"name": name, "maxTokens": 1000, "quality": quality}

    tiers = [tier("deep", "30", "55", "80"), tier("quick", "70", "74", "75")]
    budget = {"maxTokens": 1000, "floorTokens": 200}
    return ReasoningService.model_validate(
        {
            "metadata": {"name": "r1", "namespace": "ns", "uid": "u", "generation": 5},
            "spec": {
                "model": {"uri": "hf://a/b"},
                "engine": {"image": "e", "contextTokens": 4096, "gpus": {"count": 2}},
                "thinking": {"budget": budget, "tiers": tiers} | thinking,
                "scaling": {"maxReplicas": 4},
            },
            "status": STATUS if status is None else status,
        }
    )


def test_everything_that_was_decided_is_told_with_its_reason() -> None:
    assert lines(service(), DIRECTIVE) == [
        "ns/r1: 3 replicas ready, 4 wanted, 8 GPUs held",
        "The resource was changed after the operator has looked at it last.",
        "Last change, 2026-11-25 11:58:00 UTC: 3 to 4 replicas "
        "(ThinkingOccupancy, limited by MaxReplicas)",
        "  41 requests in flight",
        "",
        "CONDITION      IS    REASON    MESSAGE",
        "BudgetReduced  True  BrownOut  400 of 1000 thinking tokens while load is high.",
        "",
        "Thinking budget: 400 in force, 1000 declared; "
        "load may lower it to 200 and close 31 more thoughts.",
        "",
        "TIER   IN FORCE  DECLARED  FLOOR  SCORE  SCORE AS DECLARED  "
        "POINTS PER GPU-SECOND OF THE FIRST STEP DOWN",
        "quick  250       1000      200    70 %   75 %               0.25",
        "deep   1000      1000      200    80 %   80 %               6.25",
        "quick is lowered first: a GPU-second saved there costs 0.25 percent points of expected "
        "score, in deep 6.2.",
        "",
        "Quality debt of the last day: 9 requests cut, 3000 thinking tokens withheld at most, "
        "about 12 percent points of expected score given up "
        "(100 are one answer that would have been right).",
    ]


def test_of_a_resource_that_is_new_nothing_is_made_up() -> None:
    told = lines(service({}), None)
    assert told[0] == "ns/r1: no operator has looked at it yet"
    assert "Thinking budget: 1000 declared; the gateways were told nothing yet." in told
    assert [line.split()[:4] for line in told if line.startswith(("deep", "quick"))] == [
        ["deep", "1000", "1000", "1000"],
        ["quick", "1000", "1000", "1000"],
    ]
    assert sum("not known yet" in line for line in told) == 2
    assert not any("lowered first" in line for line in told)
    assert told[-1].startswith("Quality debt of the last day: none")


def test_why_load_may_not_lower_a_budget_is_told() -> None:
    silent = Directive(id="d")
    assert any("since the gateways are not heard" in line for line in lines(service(), silent))
    fixed = lines(service(budget={"maxTokens": 1000}), silent)
    assert any("load may not lower it (no floor below it, or no" in line for line in fixed)
    plain = lines(service(STATUS | {"tiers": []}, budget=None, tiers=[]), silent)
    assert "No thinking budget is declared: load withholds nothing." in plain
    assert not any(line.startswith("TIER") for line in plain)
