"""Server-sent events: nothing is lost, and chunking does not matter."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from thinkscale.gateway.sse import DONE, SseParser, encode

pieces = st.lists(
    st.sampled_from(
        [
            b'data: {"a":1}\n\n',
            b"data: [DONE]\n\n",
            b": a comment\n\n",
            b"event: x\ndata: one\ndata: two\n\n",
            b'data:{"tight":true}\r\n\r\n',
            b"data: mixed\n\r\n",
            b"\n",
            b"\r\n",
            b"data: unfinished",
            b"junk\r",
        ]
    ),
    max_size=12,
).map(b"".join)


def parse(chunks: list[bytes]) -> tuple[list[tuple[bytes, bytes | None]], bytes]:
    parser = SseParser()
    events = [(e.raw, e.data) for chunk in chunks for e in parser.feed(chunk)]
    return events, parser.rest


@given(pieces, st.data())
def test_any_chunking_of_the_same_bytes_gives_the_same_events(stream: bytes, data) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    bounds = [0, *cuts, len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(bounds)]
    assert parse(chunks) == parse([stream])
    assert parse([bytes([b]) for b in stream]) == parse([stream])


@given(pieces)
def test_no_byte_is_lost_or_changed(stream: bytes) -> None:
    events, rest = parse([stream])
    assert b"".join(raw for raw, _ in events) + rest == stream


def test_data_is_what_the_standard_says() -> None:
    stream = b": hi\n\nevent: x\ndata: one\ndata:two\n\ndata: a\r\n\r\n" + encode(DONE)
    events, rest = parse([stream])
    assert [data for _, data in events] == [None, b"one\ntwo", b"a", DONE]
    assert rest == b""
