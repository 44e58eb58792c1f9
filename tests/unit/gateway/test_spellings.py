"""How much a request may think: every spelling of a wish, the tiers, and the one rule that combines
them with the resource's limits.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.engines.dialect import Route
from thinkscale.gateway.request import BadRequest, ClientRequest, parse
from thinkscale.gateway.wish import (
    BUDGET_FIELDS,
    EFFORTS,
    TEMPLATE_SWITCHES,
    Grant,
    GrantedBy,
    Wish,
    grant,
)
from thinkscale.model.gateway_config import GatewayConfig, TierConfig

QUICK = TierConfig(name="quick", efforts=("minimal", "low"), max_tokens=200)
DEEP = TierConfig(name="deep", efforts=("high",), max_tokens=900, min_tokens=300, floor_tokens=500)
TIERS = (QUICK, DEEP)


def config(**fields: Any) -> GatewayConfig:
    return GatewayConfig(service="n/s", model="m", seats_per_replica=1, **fields)


def read(body: dict[str, Any], route: Route = Route.CHAT, **fields: Any) -> ClientRequest:
    return parse(route, json.dumps(body).encode(), config(**fields))


OFF = {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}


@pytest.mark.parametrize(
    ("body", "limit", "left"),
    [
        ({}, None, {}),
        ({"thinking_token_budget": -1}, None, {}),
        ({"thinking_token_budget": None}, None, {}),
        ({"thinking_token_budget": 5, "max_thinking_tokens": 3}, 3, {}),
        ({"thinking_budget": 7}, 7, {}),
        ({"thinking_token_budget": 0}, 0, {}),
        ({"reasoning": {"max_tokens": 9}}, 9, {}),
        ({"reasoning": {"max_tokens": 9, "effort": "low"}}, 9, {"reasoning_effort": "low"}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, None,
         {"reasoning": {"summary": "auto"}, "reasoning_effort": "low"}),
        ({"reasoning": {"effort": "high"}, "reasoning_effort": "high"}, None,
         {"reasoning_effort": "high"}),
        ({"reasoning_effort": "medium"}, None, {"reasoning_effort": "medium"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 4}}, 4, {}),
        ({"thinking": {"type": "adaptive"}}, None, {"thinking": {"type": "adaptive"}}),
        ({"thinking": {"type": "disabled"}}, 0, OFF),
        ({"thinking": {"type": "disabled", "budget_tokens": 50}}, 0, OFF),
        ({"reasoning_effort": "none"}, 0, OFF),
        ({"reasoning": {"effort": "none"}}, 0, OFF),
        ({"reasoning": {"enabled": False}}, 0, OFF),
        ({"enable_thinking": False}, 0, OFF),
        ({"chat_template_kwargs": {"enable_thinking": False}}, 0, OFF),
        ({"chat_template_kwargs": {"thinking": False, "tone": "dry"}}, 0,
         {"chat_template_kwargs": {"tone": "dry", "enable_thinking": False, "thinking": False}}),
        ({"chat_template_kwargs": {"enable_thinking": True}}, None,
         {"chat_template_kwargs": {"enable_thinking": True}}),
    ],
)  # fmt: skip
def test_every_spelling_becomes_one_budget_and_what_the_template_may_know(
    body: dict[str, Any], limit: int | None, left: dict[str, Any]
) -> None:
    request = read(body)
    assert request.grant.limit == limit
    assert request.body == left


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"max_thinking_tokens": 1.5}, "max_thinking_tokens"),
        ({"thinking_token_budget": True}, "thinking_token_budget"),
        ({"thinking_budget": -2}, "thinking_budget"),
        ({"reasoning": {"max_tokens": "many"}}, "reasoning.max_tokens"),
        ({"thinking": {"budget_tokens": []}}, "thinking.budget_tokens"),
        ({"reasoning_effort": 0.5}, "reasoning_effort"),
        ({"reasoning": {"effort": ["low"]}}, "reasoning.effort"),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, "reasoning"),
        ({"reasoning_effort": "galaxy"}, "reasoning_effort"),
        ({"reasoning_effort": "High"}, "reasoning_effort"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_with_the_name_of_the_field(
    body: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        read(body)
    assert (refused.value.status, refused.value.param) == (400, param)


def test_an_unknown_effort_is_told_the_known_ones_and_never_its_own_text_back() -> None:
    with pytest.raises(BadRequest) as refused:
        read({"reasoning_effort": "galaxy"}, tiers=TIERS)
    assert refused.value.message == (
        "unknown reasoning effort: use one of quick, minimal, low, deep, high, none, medium, xhigh,"
        " max"
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, Grant(limit=600, by=GrantedBy.DEFAULT)),
        ({"reasoning_effort": "low"}, Grant(limit=200, tier="quick", by=GrantedBy.TIER)),
        ({"reasoning_effort": "minimal"}, Grant(limit=200, tier="quick", by=GrantedBy.TIER)),
        ({"reasoning_effort": "quick"}, Grant(limit=200, tier="quick", by=GrantedBy.TIER)),
        ({"reasoning": {"effort": "low", "max_tokens": 50}},
         Grant(limit=50, tier="quick", by=GrantedBy.REQUEST)),
        ({"reasoning": {"effort": "low", "max_tokens": 500}},
         Grant(limit=200, tier="quick", by=GrantedBy.TIER)),
        ({"reasoning_effort": "high"},
         Grant(limit=800, minimum=300, floor=500, tier="deep", by=GrantedBy.MAXIMUM)),
        ({"reasoning_effort": "high", "thinking_token_budget": 10},
         Grant(limit=300, minimum=300, floor=500, tier="deep", by=GrantedBy.MINIMUM)),
        ({"reasoning_effort": "medium"}, Grant(limit=600, by=GrantedBy.DEFAULT)),
        ({"thinking_token_budget": 700}, Grant(limit=700, by=GrantedBy.REQUEST)),
        ({"thinking_token_budget": 20_000}, Grant(limit=800, by=GrantedBy.MAXIMUM)),
        ({"reasoning_effort": "none"}, Grant(limit=0, by=GrantedBy.REQUEST)),
    ],
)  # fmt: skip
def test_the_documented_table_of_the_rule(body: dict[str, Any], expected: Grant) -> None:
    assert read(body, tiers=TIERS, max_tokens=800, default_max_tokens=600).grant == expected


def test_who_says_nothing_has_the_default_tier_if_there_is_one() -> None:
    fields = {"tiers": TIERS, "max_tokens": 800, "default_tier": "quick"}
    assert read({}, **fields).grant.tier == "quick"
    assert read({"thinking_token_budget": 9}, **fields).grant.tier == ""
    assert read({"reasoning_effort": "none"}, **fields).grant.tier == ""
    assert read({"reasoning_effort": "medium"}, **fields).grant.tier == "quick"
    assert read({"reasoning_effort": "high"}, **fields).grant.tier == "deep"


def test_a_declared_minimum_overrides_a_wish_for_no_thinking_and_the_template_is_not_told() -> None:
    request = read({"reasoning_effort": "none", **OFF}, max_tokens=800, min_tokens=70)
    assert request.grant == Grant(limit=70, minimum=70, by=GrantedBy.MINIMUM)
    assert request.body == {}


def test_a_tier_s_own_name_is_nothing_that_an_engine_knows() -> None:
    assert read({"reasoning_effort": "quick"}, tiers=TIERS).body == {}
    assert read({"reasoning_effort": "low"}, tiers=TIERS).body == {"reasoning_effort": "low"}


def test_a_raw_prompt_has_no_template_that_could_be_told() -> None:
    for effort, limit in (("none", 0), ("low", 200)):
        body = {"prompt": "x", "reasoning_effort": effort}
        request = read(body, Route.COMPLETIONS, tiers=TIERS)
        assert (request.grant.limit, request.body) == (limit, {"prompt": "x"})


tokens = st.one_of(st.none(), st.integers(0, 1000))
tiers = st.lists(
    st.builds(
        TierConfig,
        name=st.sampled_from(["quick", "deep"]),
        max_tokens=st.integers(0, 1000),
        min_tokens=st.integers(0, 300),
    ),
    max_size=2,
    unique_by=lambda tier: tier.name,
)


@given(
    asked=tokens,
    effort=st.sampled_from([None, "quick", "deep", *EFFORTS]),
    thinks=st.booleans(),
    maximum=tokens,
    default=tokens,
    minimum=st.integers(0, 300),
    declared=tiers,
)
def test_a_budget_is_the_least_of_all_limits_and_never_under_the_minimum(
    asked: int | None,
    effort: str | None,
    thinks: bool,
    maximum: int | None,
    default: int | None,
    minimum: int,
    declared: list[TierConfig],
) -> None:
    chosen = [tier for tier in declared if tier.name == effort and thinks]
    if effort in ("quick", "deep") and not chosen:
        effort = None
    made = grant(
        Wish(tokens=asked, effort=effort if thinks else None, thinks=thinks),
        config(
            tiers=tuple(declared),
            max_tokens=maximum,
            default_max_tokens=default,
            min_tokens=minimum,
        ),
    )
    least = max([minimum, *(tier.min_tokens for tier in chosen)])
    wished = [tier.max_tokens for tier in chosen] + ([asked] if asked is not None else [])
    wished = wished or ([default] if default is not None else [])
    limits = ([0] if not thinks else wished) + ([maximum] if maximum is not None else [])
    assert made.limit == (max(least, min(limits)) if limits else None)
    assert made.minimum == least
    assert made.tier == (chosen[0].name if chosen else "")


def test_every_spelling_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "gateway.md").read_text()
    words = (*BUDGET_FIELDS, *TEMPLATE_SWITCHES, *EFFORTS, *GrantedBy)
    assert [word for word in words if f"`{word}`" not in page] == []
