"""From the engine's bytes to the phases: whatever the chunking of the bytes, the encoding of the
text and the place of the tags, the same tokens and the same words are in the same phase.
"""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinkscale.engines.dialect import Tags, read_chunk
from thinkscale.gateway.splitter import Parts, PhaseSplitter
from thinkscale.gateway.sse import SseParser

OPEN, CLOSE, EOS, WORD = 3, 4, 2, 10
TAGS = Tags(open_id=OPEN, close_id=CLOSE, closing_ids=(5, 4, 6))
words = st.text(st.sampled_from('aé漢🙂 \n"\\<>/think\u2028'), min_size=1, max_size=6).filter(
    lambda text: "think>" not in text
)
thoughts, answers = (st.lists(words, max_size=7) for _ in range(2))
cuts = st.lists(st.integers(0, 4000), max_size=12)
few = settings(max_examples=60, deadline=None)


def stream(
    pieces: list[tuple[str, list[int] | None]], *, escapes: bool, newline: str, comments: bool
) -> bytes:
    """The events of these texts, in one of the encodings that JSON and SSE allow."""
    out = b""
    for text, ids in pieces:
        choice: dict[str, object] = {"index": 0, "delta": {"content": text}}
        if ids is not None:
            choice |= {"token_ids": ids, "finish_reason": "stop" if EOS in ids else None}
        data = json.dumps({"id": "x", "choices": [choice]}, ensure_ascii=escapes)
        out += f"data: {data}{newline}{newline}".encode()
        if comments:
            out += f": still here{newline}{newline}".encode()
    return out


def phases(data: bytes, sizes: list[int]) -> tuple[str, str, int, int, int]:
    """(thinking, answer) text and tokens, and ends of a thought, of a stream cut there."""
    parser, splitter, parts = SseParser(), PhaseSplitter(TAGS), list[Parts]()
    places = sorted({0, len(data), *(size % (len(data) + 1) for size in sizes)})
    for start, end in pairwise(places):
        for event in parser.feed(data[start:end]):
            if event.data is not None:
                parts.append(splitter.feed(read_chunk(json.loads(event.data))))
    assert not parser.rest
    return (
        "".join(p.thinking_text for p in parts),
        "".join(p.answer_text for p in parts) + splitter.held,
        sum(p.thinking for p in parts),
        sum(p.answer for p in parts),
        sum(p.closed for p in parts),
    )


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@few
@given(thought=thoughts, answer=answers, sizes=cuts, escapes=st.booleans(), comments=st.booleans())
def test_any_chunking_of_the_bytes_in_any_encoding_gives_the_same_phases(
    newline: str,
    thought: list[str],
    answer: list[str],
    sizes: list[int],
    escapes: bool,
    comments: bool,
) -> None:
    pieces: list[tuple[str, list[int] | None]] = [
        ("<think>", [OPEN]),
        *((text, [WORD]) for text in thought),
        ("</think>", [CLOSE]),
        *((text, [WORD]) for text in answer),
        ("", [EOS]),
    ]
    data = stream(pieces, escapes=escapes, newline=newline, comments=comments)
    found = phases(data, sizes)
    assert found == ("".join(thought), "".join(answer), len(thought), len(answer), 1)


@few
@given(thought=thoughts, answer=answers, sizes=cuts, tears=st.lists(st.integers(0, 99), max_size=9))
def test_a_tag_may_lie_anywhere_in_the_chunks_of_an_engine_that_shows_no_ids(
    thought: list[str], answer: list[str], sizes: list[int], tears: list[int]
) -> None:
    whole = "<think>" + "".join(thought) + "</think>" + "".join(answer)
    places = sorted({0, len(whole), *(tear % len(whole) for tear in tears)})
    pieces = [(whole[start:end], None) for start, end in pairwise(places)]
    data = stream([*pieces], escapes=False, newline="\n", comments=False)
    thinking, said, *_ = phases(data, sizes)
    assert (thinking, said) == ("".join(thought), "".join(answer))
