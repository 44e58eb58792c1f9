"""`/v1/responses` before engines that show no token ids, and whose template opens the thought."""

from typing import Any

import pytest
from openai import OpenAI

PLAN = "x_test_plan"


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    return [["--dialect", "tgi"], ["--dialect", "sglang"]]


@pytest.mark.parametrize(("replica", "engine"), [("a", "TGI"), ("b", "SGLang")])
@pytest.mark.parametrize(("planned", "thought"), [(5, 5), (40, 12)])
async def test_thought_and_answer_are_told_apart_and_the_budget_holds(
    setup: Any, replica: str, engine: str, planned: int, thought: int
) -> None:
    await setup.arrange(replica, engine=engine, maxTokens=12)
    plan = {PLAN: {"thinking_tokens": planned, "answer_tokens": 4}}
    body: dict[str, Any] = {"model": "tiny", "input": "hello", "extra_body": plan}
    with OpenAI(base_url=setup.gateway.url + "/v1", api_key="unused", max_retries=0) as client:
        whole = client.responses.create(**body)
        with client.responses.stream(**body) as stream:
            streamed = stream.until_done().get_final_response()
    reasoning, message = whole.output
    assert reasoning.type == "reasoning"
    assert reasoning.content is not None
    assert len(reasoning.content[0].text.split()) == thought
    assert message.type == "message"
    assert len(whole.output_text.split()) == 4
    assert "think>" not in reasoning.content[0].text + whole.output_text
    assert whole.usage is not None
    assert whole.usage.output_tokens_details.reasoning_tokens == thought
    assert streamed.output_text == whole.output_text
    assert [item.type for item in streamed.output] == ["reasoning", "message"]
