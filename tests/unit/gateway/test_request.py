"""What a client may ask, and what becomes of it."""

import json
from typing import Any

import pytest

from thinkscale.engines.dialect import Route
from thinkscale.gateway.request import RESERVED_FIELDS, BadRequest, parse
from thinkscale.model.gateway_config import GatewayConfig

CONFIG = GatewayConfig(service="n/s", model="m", seats_per_replica=1)


def parsed(body: Any, route: Route = Route.CHAT) -> Any:
    return parse(route, json.dumps(body).encode(), CONFIG)


@pytest.mark.parametrize(
    ("data", "status", "param"),
    [
        (b"{", 400, None),
        (b"[]", 400, None),
        (b'{"model": "other"}', 404, "model"),
        (b'{"max_thinking_tokens": 1.5}', 400, "max_thinking_tokens"),
    ],
)
def test_nonsense_is_refused_with_the_name_of_the_field(
    data: bytes, status: int, param: str | None
) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(Route.CHAT, data, CONFIG)
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
