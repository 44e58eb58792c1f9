"""A request of the Responses API as the chat request that serves it."""

from typing import Any

import orjson
import pytest

from thinkscale.engines.dialect import Route
from thinkscale.gateway.request import BadRequest, parse
from thinkscale.gateway.responses.request import in_its_words, read
from thinkscale.model.gateway_config import GatewayConfig

CONFIG = GatewayConfig(service="n/s", model="m", seats_per_replica=1)


def chat(**body: Any) -> dict[str, Any]:
    return dict(orjson.loads(read(orjson.dumps({"input": "why?", **body}), "m").chat))


def echo(**body: Any) -> dict[str, Any]:
    return dict(read(orjson.dumps({"input": "why?", **body}), "m").echo)


def refusal(**body: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        read(orjson.dumps({"input": "why?", **body}), "m")
    return caught.value


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def item(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def thought(text: str) -> dict[str, Any]:
    parts = [item("reasoning_text", text=text)]
    return item("reasoning", id="rs_1", summary=[], content=parts, encrypted_content=None)


def call(name: str, call_id: str) -> dict[str, Any]:
    return item("function_call", id="fc", call_id=call_id, name=name, arguments="{}")


def chat_call(name: str, call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": "{}"}}


def test_a_text_is_what_the_user_says() -> None:
    assert chat()["messages"] == [said("user", "why?")]


def test_the_chat_request_is_a_stream_with_usage_and_ids_whatever_the_client_wants() -> None:
    for stream in (True, False, None):
        body = chat(stream=stream, stream_options={"include_obfuscation": False})
        assert body["stream"] is True
        assert body["stream_options"] == {"include_usage": True}
        assert body["return_token_ids"] is True
        assert read(orjson.dumps({"input": "x", "stream": stream}), "m").stream is bool(stream)


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ([said("user", "a")], [said("user", "a")]),
        ([item("message", **said("user", [item("input_text", text="a")]))], [said("user", "a")]),
        (
            [said("user", [item("input_text", text="a"), item("input_text", text="b")])],
            [said("user", [item("text", text="a"), item("text", text="b")])],
        ),
        (
            [said("user", [item("input_image", image_url="http://x/y", detail="low")])],
            [
                said(
                    "user",
                    [item("image_url", image_url={"url": "http://x/y", "detail": "low"})],
                )
            ],
        ),
        (
            [said("assistant", [item("output_text", text="a", annotations=[])])],
            [said("assistant", "a")],
        ),
        (
            [said("assistant", [item("refusal", refusal="no")]), said("user", "a")],
            [said("assistant", "no"), said("user", "a")],
        ),
        ([said("developer", "a"), said("user", "b")], [said("system", "a"), said("user", "b")]),
        (
            [said("user", "a"), said("assistant", "b"), said("assistant", "c")],
            [said("user", "a"), said("assistant", "b"), said("assistant", "c")],
        ),
        (
            [thought("hm"), said("assistant", "a"), said("user", "b")],
            [{**said("assistant", "a"), "reasoning_content": "hm"}, said("user", "b")],
        ),
        ([thought("hm")], [{**said("assistant", ""), "reasoning_content": "hm"}]),
        (
            [item("reasoning", id="rs", summary=[]), said("assistant", "a")],
            [said("assistant", "a")],
        ),
        (
            [
                thought("one"),
                said("assistant", "a"),
                call("f", "1"),
                call("g", "2"),
                item("function_call_output", call_id="1", output="x"),
                item("function_call_output", call_id="2", output=[item("input_text", text="y")]),
                thought("two"),
                call("f", "3"),
                thought("three"),
                call("f", "4"),
            ],
            [
                {
                    **said("assistant", "a"),
                    "reasoning_content": "one",
                    "tool_calls": [chat_call("f", "1"), chat_call("g", "2")],
                },
                {"role": "tool", "tool_call_id": "1", "content": "x"},
                {"role": "tool", "tool_call_id": "2", "content": "y"},
                {
                    "role": "assistant",
                    "reasoning_content": "two",
                    "tool_calls": [chat_call("f", "3")],
                },
                {
                    "role": "assistant",
                    "reasoning_content": "three",
                    "tool_calls": [chat_call("f", "4")],
                },
            ],
        ),
    ],
)
def test_items_become_messages_turn_by_turn(items: Any, messages: Any) -> None:
    assert chat(input=items)["messages"] == messages


def test_instructions_and_the_developers_first_words_are_one_system_message() -> None:
    body = chat(instructions="be brief", input=[said("developer", "be kind"), said("user", "a")])
    assert body["messages"] == [said("system", "be brief\n\nbe kind"), said("user", "a")]


def test_functions_and_the_choice_among_them_are_chats() -> None:
    declared = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    tool = item("function", **declared)
    body = chat(
        tools=[tool],
        tool_choice={"type": "function", "name": "f"},
        parallel_tool_calls=False,
    )
    assert body["tools"] == [{"type": "function", "function": declared}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert body["parallel_tool_calls"] is False
    assert echo(tools=[tool])["tools"] == [tool]
    for choice in ("none", "auto", "required"):
        assert chat(tools=[tool], tool_choice=choice)["tool_choice"] == choice
    assert not {"tools", "tool_choice"} & chat(tool_choice="auto").keys()
    assert chat(tools=[tool])["tool_choice"] == "auto"
    assert chat(tool_choice="required")["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
            {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
            },
        ),
    ],
)
def test_the_format_of_the_text_is_chats_response_format(shape: Any, expected: Any) -> None:
    assert chat(text={"format": shape}).get("response_format") == expected
    assert echo(text={"format": shape, "verbosity": "low"})["text"]["format"] == shape


def test_limits_sampling_and_what_nobody_knows_pass_and_bookkeeping_does_not() -> None:
    body = chat(
        model="m",
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        user="u",
        thinking_token_budget=7,
        store=True,
        metadata={"a": "b"},
        service_tier="flex",
        prompt_cache_key="k",
        safety_identifier="s",
        max_tool_calls=3,
        include=[],
        truncation="disabled",
        background=False,
        previous_response_id=None,
    )
    assert body.keys() == {
        *("model", "messages", "stream", "stream_options", "return_token_ids"),
        *("max_completion_tokens", "temperature", "top_p", "top_k", "user"),
        "thinking_token_budget",
        "prompt_cache_key",  # it tells the conversation, see `affinity`
    }
    assert body["max_completion_tokens"] == 9


def test_the_response_says_what_was_done_and_not_what_was_asked() -> None:
    told = echo(store=True, metadata={"a": "b"}, service_tier="flex", reasoning={"summary": "auto"})
    assert told["store"] is False
    assert told["service_tier"] == "default"
    assert told["reasoning"] == {"effort": None, "summary": None}
    assert told["metadata"] == {"a": "b"}
    assert told["model"] == "m"


def test_effort_and_budget_reach_the_rule_of_the_chat_route_and_a_summary_does_not() -> None:
    assert "reasoning" not in chat(reasoning={"summary": "auto"})
    data = {"input": "x", "reasoning": {"effort": "low", "summary": "auto", "max_tokens": 50}}
    parsed = parse(Route.CHAT, read(orjson.dumps(data), "m").chat, CONFIG)
    assert parsed.grant.limit == 50
    assert parsed.body["reasoning_effort"] == "low"
    assert "reasoning" not in parsed.body


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "nothing is stored"),
        ({"conversation": "conv_1"}, "conversation", "nothing is stored"),
        ({"background": True}, "background", "use `stream`"),
        ({"prompt": {"id": "p"}}, "prompt", "send `instructions`"),
        ({"include": ["reasoning.encrypted_content"]}, "include", "in the open"),
        ({"include": ["message.output_text.logprobs"]}, "include", "not produced"),
        ({"include": "x"}, "include", "list"),
        ({"top_logprobs": 3}, "top_logprobs", "/v1/chat/completions"),
        ({"truncation": "auto"}, "truncation", "leave out"),
        ({"n": 2}, "n", "one answer"),
        ({"messages": [said("user", "x")]}, "messages", "`input`"),
        ({"max_tokens": 3}, "max_tokens", "`max_output_tokens`"),
        ({"response_format": {"type": "json_object"}}, "response_format", "`text.format`"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]", "`web_search`"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "string"),
        ({"tools": {}}, "tools", "list"),
        (
            {
                "tools": [item("function", name="f")],
                "tool_choice": {"type": "allowed_tools", "tools": []},
            },
            "tool_choice",
            "by its name",
        ),
        ({"text": {"format": {"type": "grammar"}}}, "text.format", "json_schema"),
        ({"text": "x"}, "text", "object"),
        ({"metadata": {"a": 1}}, "metadata", "strings"),
        ({"stream": "yes"}, "stream", "true or false"),
        ({"instructions": ["x"]}, "instructions", "string"),
        ({"input": None}, "input", "not empty"),
        ({"input": []}, "input", "not empty"),
        ({"input": ["x"]}, "input[0]", "object"),
        ({"input": [said("robot", "x")]}, "input[0].role", "robot"),
        ({"input": [said("user", 3)]}, "input[0].content", "list of parts"),
        ({"input": [said("user", ["x"])]}, "input[0].content[0]", "object"),
        (
            {"input": [said("user", [item("input_file", file_id="f")])]},
            "input[0].content[0]",
            "`input_file`",
        ),
        (
            {"input": [said("user", [item("input_image", file_id="f")])]},
            "input[0].content[0]",
            "image_url",
        ),
        ({"input": [item("item_reference", id="x")]}, "input[0]", "send the item"),
        ({"input": [item("web_search_call", id="x")]}, "input[0]", "`web_search_call`"),
        ({"input": [item("function_call", name="f")]}, "input[0].arguments", "string"),
        (
            {"input": [item("reasoning", id="r", summary=[], encrypted_content="zz")]},
            "input[0].encrypted_content",
            "leave it out",
        ),
    ],
)
def test_what_is_not_done_here_is_refused_with_the_fields_name_and_the_mend(
    body: dict[str, Any], param: str, words: str
) -> None:
    error = refusal(**body)
    assert (error.param, error.status) == (param, 400)
    assert words in error.message


@pytest.mark.parametrize("data", [b"[]", b"{", b'"x"'])
def test_a_body_that_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequest):
        read(data, "m")


def test_what_the_chat_route_refuses_is_told_in_the_words_of_this_one() -> None:
    data = orjson.dumps({"input": "x", "reasoning": {"effort": "enormous"}})
    with pytest.raises(BadRequest) as caught:
        parse(Route.CHAT, read(data, "m").chat, CONFIG)
    assert in_its_words(caught.value).param == "reasoning.effort"
    other = BadRequest("no", param="temperature")
    assert in_its_words(other) is other
