"""What tests ask of a gateway or an engine, and how they read the answer."""

from typing import Any

PLAN = "x_test_plan"
"""The field by which a request tells the emulated engine how long to think and to answer."""


def chat(thinks: int, answers: int = 3, /, **extra: Any) -> dict[str, Any]:
    """The body of a chat that would think and answer so long if it were let, as a stream."""
    return {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        PLAN: {"thinking_tokens": thinks, "answer_tokens": answers},
        **extra,
    }


def phases(answer: Any) -> tuple[list[str], list[str]]:
    """(thinking words, answer words) as the client sees them, in whatever spelling."""
    thinking, content = answer.thinking, answer.content
    if not thinking and "</think>" in content:
        thinking, _, content = content.partition("</think>")
        thinking = thinking.replace("<think>", "")
    return thinking.split(), content.replace("<|im_end|>", "").split()
