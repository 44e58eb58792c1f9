"""Reading one event stream: phases, counts, endings, any chunking."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from e2e.story.stream import StreamTally


def event(delta: dict[str, Any] | None = None, **more: Any) -> bytes:
    """One event as vLLM writes it."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": None}]
    body = {"id": "x", "choices": choices, **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


THINKING = [event({"role": "assistant", "content": ""}), *[event({"reasoning": " so"})] * 3]
ANSWER = [event({"content": "\n\n"}), event({"content": "Yes"})]
USAGE = event(
    usage={
        "completion_tokens": 9,
        "completion_tokens_details": {"reasoning_tokens": 6},
    }
)
END = [
    b'data: {"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}]}\n\n',
    USAGE,
    b"data: [DONE]\n\n",
]


def test_the_first_answer_is_the_first_content_and_not_the_role() -> None:
    tally = StreamTally()
    for second, chunk in enumerate([*THINKING, *ANSWER, *END]):
        tally.feed(chunk, float(second))
    assert (tally.first_token, tally.first_answer) == (1.0, 4.0)
    assert tally.complete


def test_the_usage_is_believed_over_the_deltas() -> None:
    tally = StreamTally()
    tally.feed(b"".join([*THINKING, *ANSWER, *END]), 0.0)
    assert (tally.thinking_deltas, tally.answer_deltas) == (3, 2)
    assert (tally.thinking_tokens, tally.answer_tokens) == (6, 3)


def test_a_usage_that_hides_the_thinking_is_not_believed() -> None:
    tally = StreamTally()
    silent = event(
        usage={"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 0}}
    )
    tally.feed(b"".join([*THINKING, *ANSWER, silent]), 0.0)
    assert (tally.thinking_tokens, tally.answer_tokens) == (3, 6)


def test_without_usage_the_deltas_are_the_tokens() -> None:
    tally = StreamTally()
    tally.feed(b"".join([*THINKING, *ANSWER]), 0.0)
    assert (tally.thinking_tokens, tally.answer_tokens) == (3, 2)


def test_the_older_spelling_is_thinking_too() -> None:
    tally = StreamTally()
    tally.feed(event({"reasoning_content": "hm"}), 2.0)
    assert (tally.first_token, tally.first_answer, tally.thinking_tokens) == (2.0, None, 1)


def test_a_stream_without_its_closing_mark_is_not_complete() -> None:
    tally = StreamTally()
    tally.feed(b"".join([*THINKING, *ANSWER, *END[:2]]), 0.0)
    assert not tally.complete


def test_an_error_inside_a_200_is_an_error() -> None:
    tally = StreamTally()
    tally.feed(b'data: {"error":{"message":"out of memory"}}\n\n' + b"".join(END), 0.0)
    assert tally.error == "out of memory"
    assert not tally.complete


@given(st.lists(st.integers(min_value=1, max_value=40), max_size=60))
def test_any_chunking_gives_the_same_counts(sizes: list[int]) -> None:
    whole = b": ping\n\n" + b"".join([*THINKING, *ANSWER, *END])
    tally, position = StreamTally(), 0
    for size in [*sizes, len(whole)]:
        tally.feed(whole[position : position + size], 0.0)
        position += size
    assert (tally.thinking_deltas, tally.answer_deltas, tally.complete) == (3, 2, True)
    assert (tally.thinking_tokens, tally.answer_tokens) == (6, 3)
