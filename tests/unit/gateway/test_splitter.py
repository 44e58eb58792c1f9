"""Thinking and answer are told apart in three spellings, whatever the chunking."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.engines.dialect import Tags, read_chunk
from thinkscale.gateway.splitter import Phase, PhaseSplitter, TagSplitter

OPEN, CLOSE, EOS = 3, 4, 2
TAGS = Tags(open_id=OPEN, close_id=CLOSE, closing_ids=(5, 4, 6))
WORDS = {OPEN: "<think>", CLOSE: "</think>", EOS: "", 10: " a", 11: " b<", 12: "/thi", 13: "\n"}

texts = st.lists(
    st.sampled_from(["<think>", "</think>", "<", "/think>", "</th", "word ", "\n", " ", "é", ">"]),
    max_size=14,
).map("".join)


def split(chunks: list[str], start: Phase) -> tuple[str, str]:
    splitter = TagSplitter(start)
    parts = [splitter.feed(chunk) for chunk in chunks] + [splitter.finish()]
    return "".join(p[0] for p in parts), "".join(p[1] for p in parts)


@given(texts, st.sampled_from(list(Phase)))
def test_tags_split_over_chunks_give_the_same_segments(text: str, start: Phase) -> None:
    assert split(list(text), start) == split([text], start)


@given(texts, st.sampled_from(list(Phase)))
def test_no_text_is_lost_but_for_the_tags_and_the_space_before_them(
    text: str, start: Phase
) -> None:
    thinking, answer = split([text], start)
    begun = text
    if start is Phase.START and text.lstrip().startswith("<think>"):
        begun = text.lstrip().removeprefix("<think>")
        start = Phase.THINKING
    head, tag, tail = begun.partition("</think>")
    if start is Phase.THINKING:
        assert (thinking, answer) == ((head, tail) if tag else (begun, ""))
    else:
        assert (thinking, answer) == ("", begun)


def chunks_of(ids: list[int], spelling: str, sizes: list[int], prompt: list[int]) -> list[dict]:
    """The stream of one generation, as vLLM writes it, in chunks of these sizes."""
    first = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    chunks: list[dict] = [{**first, "prompt_token_ids": prompt}]
    thinking = OPEN in prompt
    position = 0
    sizes = [*sizes, len(ids)]
    while position < len(ids):
        size = max(1, sizes.pop(0)) if len(sizes) > 1 else len(ids)
        piece, position = ids[position : position + size], position + size
        delta: dict[str, str] = {}
        for token in piece:
            if spelling == "content":
                delta["content"] = delta.get("content", "") + WORDS[token]
                continue
            if token in (OPEN, CLOSE):
                thinking = token == OPEN
                continue
            name = spelling if thinking else "content"
            delta[name] = delta.get(name, "") + WORDS[token]
        finish = "stop" if piece[-1] == EOS else None
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "token_ids": piece}
        chunks.append({"choices": [choice]})
    return chunks


@pytest.mark.parametrize("spelling", ["reasoning", "reasoning_content", "content"])
@pytest.mark.parametrize("template_opens", [True, False])
@given(
    thought=st.lists(st.sampled_from([10, 11, 12, 13]), max_size=6),
    answer=st.lists(st.sampled_from([10, 12, 13]), max_size=6),
    sizes=st.lists(st.integers(1, 5), max_size=14),
)
def test_every_token_is_in_its_phase_in_every_spelling_and_chunking(
    spelling: str,
    template_opens: bool,
    thought: list[int],
    answer: list[int],
    sizes: list[int],
) -> None:
    prompt = [1, 10, OPEN, 13] if template_opens else [1, 10]
    ids = ([] if template_opens else [OPEN]) + [*thought, CLOSE, *answer, EOS]
    splitter = PhaseSplitter(TAGS)
    parts = [splitter.feed(read_chunk(c)) for c in chunks_of(ids, spelling, sizes, prompt)]
    assert sum(p.thinking for p in parts) == len(thought)
    assert sum(p.answer for p in parts) == len(answer)
    assert sum(p.control for p in parts) == len(ids) - len(thought) - len(answer)
    assert "".join(p.thinking_text for p in parts) == "".join(WORDS[t] for t in thought)
    assert "".join(p.answer_text for p in parts) == "".join(WORDS[t] for t in answer)
    assert sum(p.closed for p in parts) == 1
    assert splitter.phase is Phase.ANSWERING


def test_a_model_that_does_not_think_only_answers() -> None:
    splitter = PhaseSplitter(TAGS)
    closed_prompt = [1, OPEN, CLOSE, 13]
    parts = [
        splitter.feed(read_chunk(c))
        for c in chunks_of([10, 10, EOS], "reasoning", [1, 1, 1], closed_prompt[2:])
    ]
    assert sum(p.answer for p in parts) == 2
    assert sum(p.thinking for p in parts) == 0
    assert not any(p.closed for p in parts)


def test_without_ids_the_text_tells_the_phase() -> None:
    splitter = PhaseSplitter(Tags())
    texts = ["<thi", "nk>a", "b</th", "ink>c"]
    parts = [
        splitter.feed(read_chunk({"choices": [{"index": 0, "delta": {"content": text}}]}))
        for text in texts
    ]
    assert "".join(p.thinking_text for p in parts) == "ab"
    assert "".join(p.answer_text for p in parts) == "c"
    assert not any(p.counted for p in parts)


def test_a_tool_call_ends_the_thought() -> None:
    splitter = PhaseSplitter(TAGS)
    splitter.feed(read_chunk({"choices": [{"index": 0, "delta": {"reasoning": "x"}}]}))
    call = {"index": 0, "delta": {"tool_calls": [{"index": 0}]}}
    assert splitter.feed(read_chunk({"choices": [call]})).closed
