"""What a client may ask, and what becomes of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.engines.dialect import Route
from thinkscale.gateway.request import RESERVED_FIELDS, BadRequest, declared_budget, parse
from thinkscale.model.gateway_config import GatewayConfig


def parsed(body: Any, route: Route = Route.CHAT) -> Any:
    return parse(route, json.dumps(body).encode(), "m")


def config(**fields: Any) -> GatewayConfig:
    return GatewayConfig(service="n/s", model="m", seats_per_replica=1, **fields)


tokens = st.one_of(st.none(), st.integers(0, 1000))


@given(asked=tokens, maximum=tokens, default=tokens, minimum=st.integers(0, 300))
def test_the_budget_is_the_least_of_all_limits_and_never_under_the_minimum(
    asked: int | None, maximum: int | None, default: int | None, minimum: int
) -> None:
    budget = declared_budget(
        asked, config(max_tokens=maximum, default_max_tokens=default, min_tokens=minimum)
    )
    wished = asked if asked is not None else default
    limits = [limit for limit in (wished, maximum) if limit is not None]
    assert budget == (max(minimum, min(limits)) if limits else None)


@pytest.mark.parametrize(
    ("body", "asked", "left"),
    [
        ({}, None, {}),
        ({"thinking_token_budget": -1}, None, {}),
        ({"thinking_token_budget": None}, None, {}),
        ({"thinking_token_budget": 5, "max_thinking_tokens": 3}, 3, {}),
        ({"reasoning": {"max_tokens": 9, "effort": "low"}}, 9, {"reasoning": {"effort": "low"}}),
        ({"thinking": {"type": "disabled"}}, None, {"thinking": {"type": "disabled"}}),
        ({"thinking": {"type": "enabled", "budget_tokens": 4}}, 4, {}),
    ],
)
def test_budget_fields_of_every_spelling_become_one_number(
    body: dict[str, Any], asked: int | None, left: dict[str, Any]
) -> None:
    request = parsed(body)
    assert request.asked_budget == asked
    assert request.body == left


@pytest.mark.parametrize(
    ("data", "status", "param"),
    [
        (b"{", 400, None),
        (b"[]", 400, None),
        (b'{"model": "other"}', 404, "model"),
        (b'{"max_thinking_tokens": 1.5}', 400, "max_thinking_tokens"),
        (b'{"thinking_token_budget": true}', 400, "thinking_token_budget"),
        (b'{"reasoning": {"max_tokens": "many"}}', 400, "reasoning.max_tokens"),
    ],
)
def test_nonsense_is_refused_with_the_name_of_the_field(
    data: bytes, status: int, param: str | None
) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(Route.CHAT, data, "m")
    assert (refused.value.status, refused.value.param) == (status, param)


def test_reserved_fields_are_taken_out_and_unknown_ones_stay() -> None:
    request = parsed({name: 1 for name in RESERVED_FIELDS} | {"my_extra": 2})
    assert request.stripped == RESERVED_FIELDS
    assert request.body == {"my_extra": 2}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"tools": [{}]}, "tools"),
        ({"tools": [{}], "tool_choice": "none"}, ""),
        ({"n": 2}, "n > 1"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "text"}}, ""),
        ({"structured_outputs": {"json": {}}}, "structured_outputs"),
        ({"include_reasoning": False}, "include_reasoning is false"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "content that is not text",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, ""),
    ],
)
def test_what_a_raw_continuation_cannot_carry_is_known(body: dict[str, Any], reason: str) -> None:
    assert parsed(body).uncontinuable == reason


@pytest.mark.parametrize(
    ("body", "reason", "streamable"),
    [
        ({"prompt": "x"}, "", True),
        ({"prompt": [1, 2]}, "", True),
        ({"prompt": ["x"]}, "", True),
        ({"prompt": [[1, 2]]}, "", True),
        ({"prompt": ["x", "y"]}, "several prompts", False),
        ({"prompt": [[1, 2], [3]], "stream": True}, "several prompts", True),
        ({"prompt": "x", "echo": True}, "echo", False),
        ({"prompt": "x", "suffix": "y"}, "suffix", True),
    ],
)
def test_completions_say_what_they_cannot_have(
    body: dict[str, Any], reason: str, streamable: bool
) -> None:
    request = parsed(body, Route.COMPLETIONS)
    assert (request.uncontinuable, request.streamable) == (reason, streamable)
