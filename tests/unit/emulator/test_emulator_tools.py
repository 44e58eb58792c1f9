"""Function calls of an emulated engine."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.emulator.emulator_process import PLAN, Emulator, chat

Shared = Callable[..., Emulator]
R1 = ("--reasoning-parser", "deepseek_r1")
CHAT = "/v1/chat/completions"


def tool(name: str, *arguments: str) -> dict[str, Any]:
    declared = {argument: {"type": "string"} for argument in arguments}
    parameters = {"type": "object", "properties": declared}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def asking(calls: int = 0, **fields: Any) -> dict[str, Any]:
    plan = {"thinking_tokens": 3, "answer_tokens": 6, "tool_calls": calls}
    tools = [tool("weather", "city", "unit"), tool("clock")]
    return chat(tools=tools, **{PLAN: plan}, **fields)


def whole(emulator: Emulator, body: dict[str, Any]) -> dict[str, Any]:
    status, reply = emulator.post(CHAT, body)
    assert status == 200
    return dict(reply["choices"][0])


def called(choice: dict[str, Any]) -> list[tuple[str, list[str]]]:
    functions = [call["function"] for call in choice["message"]["tool_calls"]]
    return [(each["name"], list(json.loads(each["arguments"]))) for each in functions]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (asking(1), [("weather", ["city"])]),
        (asking(2), [("weather", ["city"]), ("clock", ["text"])]),
        (asking(tool_choice="required"), [("weather", ["city"])]),
        (
            asking(tool_choice={"type": "function", "function": {"name": "clock"}}),
            [("clock", ["text"])],
        ),
    ],
)
def test_the_answer_becomes_the_arguments_of_the_calls_that_are_due(
    shared: Shared, body: dict[str, Any], expected: Any
) -> None:
    choice = whole(shared(*R1), body)
    assert called(choice) == expected
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    arguments = [json.loads(c["function"]["arguments"]) for c in choice["message"]["tool_calls"]]
    words = "".join(value for each in arguments for value in each.values())
    plain = {name: value for name, value in body.items() if name != "tools"}
    assert words == whole(shared(*R1), plain)["message"]["content"].strip("\n")


@pytest.mark.parametrize("body", [asking(), asking(1, tool_choice="none")])
def test_a_request_that_need_not_call_is_answered_in_words(
    shared: Shared, body: dict[str, Any]
) -> None:
    choice = whole(shared(*R1), body)
    assert called(choice) == []
    assert choice["message"]["content"].split()
    assert choice["finish_reason"] == "stop"


def test_sglang_calls_in_its_own_chunks(shared: Shared) -> None:
    emulator = shared("--dialect", "sglang", "--reasoning-parser", "deepseek-r1")
    choice = whole(emulator, asking(2))
    assert called(choice) == [("weather", ["city"]), ("clock", ["text"])]
    assert (choice["finish_reason"], choice["matched_stop"]) == ("tool_calls", None)
    stream = emulator.stream(CHAT, asking(2))
    pieces = [p for c in stream.choices for p in c["delta"]["tool_calls"] or ()]
    joined = [
        "".join(p["function"]["arguments"] for p in pieces if p["index"] == n) for n in (0, 1)
    ]
    assert joined == [c["function"]["arguments"] for c in choice["message"]["tool_calls"]]
    assert stream.finish["finish_reason"] == "tool_calls"


def test_a_streamed_call_has_its_name_first_and_then_the_same_arguments(shared: Shared) -> None:
    body = asking(2, return_token_ids=True)
    stream = shared(*R1).stream(CHAT, body)
    pieces = [p for c in stream.choices for p in c["delta"].get("tool_calls", ())]
    announced = [p for p in pieces if "id" in p]
    assert [p["function"]["name"] for p in announced] == ["weather", "clock"]
    assert len({p["id"] for p in announced}) == 2
    assert announced[0] is pieces[0]
    joined = [
        "".join(p["function"]["arguments"] for p in pieces if p["index"] == n) for n in (0, 1)
    ]
    choice = whole(shared(*R1), body)
    assert joined == [c["function"]["arguments"] for c in choice["message"]["tool_calls"]]
    assert stream.finish["finish_reason"] == "tool_calls"
    assert len(stream.token_ids) == 3 + 2 + 6 + 1


def test_a_call_that_the_limit_cuts_off_is_no_whole_json(shared: Shared) -> None:
    choice = whole(shared(*R1), asking(1, max_tokens=8))
    assert choice["finish_reason"] == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])
