"""How many tokens a prompt has is counted where it can be, and learnt where it cannot."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.gateway.prompt_size import MESSAGE_BYTES, PromptSize, PromptSizes, size_of


def messages(*contents: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content} for content in contents]}


@pytest.mark.parametrize(
    ("body", "ids", "text_bytes"),
    [
        ({"prompt": "hello"}, 0, 5),
        ({"prompt": ["hello", "you"]}, 0, 8),
        ({"prompt": [1, 2, 3]}, 3, 0),
        ({"prompt": [[1, 2], [3]]}, 3, 0),
        ({"prompt": "\u00e9\u4f60"}, 0, 5),
        ({}, 0, 0),
        (messages("hello", "you"), 0, 8 + 2 * MESSAGE_BYTES),
        (messages([{"type": "text", "text": "hey"}, {"type": "image_url"}]), 0, 3 + MESSAGE_BYTES),
        ({**messages("x"), "tools": [{"a": 1}]}, 0, 1 + MESSAGE_BYTES + len('[{"a":1}]')),
        ({"messages": ["odd", 5, {"content": None}]}, 0, 3 * MESSAGE_BYTES),
    ],
)
def test_text_is_measured_and_ids_are_counted(body: Any, ids: int, text_bytes: int) -> None:
    assert size_of(body) == PromptSize(ids, text_bytes)


def test_before_anything_was_seen_four_bytes_are_a_token() -> None:
    assert PromptSizes().tokens(PromptSize(ids=10, text_bytes=100)) == 35
    assert PromptSizes().tokens(PromptSize()) == 1


@given(st.floats(1, 8), st.lists(st.integers(200, 20_000), min_size=60, max_size=80))
def test_the_bytes_of_a_token_are_learnt_within_some_dozens_of_prompts(
    bytes_per_token: float, sizes: list[int]
) -> None:
    learnt = PromptSizes()
    for tokens in sizes:
        learnt.learn(PromptSize(text_bytes=round(tokens * bytes_per_token)), tokens)
    told = learnt.tokens(PromptSize(text_bytes=round(1000 * bytes_per_token)))
    assert told == pytest.approx(1000, rel=0.05)


def test_another_language_is_learnt_although_much_was_seen_of_the_first() -> None:
    learnt = PromptSizes()
    for _ in range(5000):
        learnt.learn(PromptSize(text_bytes=4000), 1000)
    for _ in range(1000):
        learnt.learn(PromptSize(text_bytes=2000), 1000)
    assert learnt.tokens(PromptSize(text_bytes=2000)) == pytest.approx(1000, rel=0.05)


def test_prompts_of_ids_and_prompts_unknown_to_the_engine_teach_nothing() -> None:
    learnt = PromptSizes()
    learnt.learn(PromptSize(ids=500), 500)
    learnt.learn(PromptSize(ids=500, text_bytes=9), 400)
    learnt.learn(PromptSize(text_bytes=900), 0)
    assert learnt.tokens(PromptSize(text_bytes=400)) == 100
