"""Token ids are taken out as bytes, and nothing else is touched."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.gateway.strip import without_ids

texts = st.text(max_size=20) | st.sampled_from(
    ['"token_ids":[1]', ',"token_ids":[1,2]', '{"token_ids":null}', '\\",\\"token_ids\\":[9]', ',"']
)
ids = st.one_of(st.none(), st.lists(st.integers(0, 200_000), max_size=4))
compact, spaced = (",", ":"), (", ", ": ")


def removed(value: Any) -> Any:
    if isinstance(value, dict):
        names = ("token_ids", "prompt_token_ids")
        return {k: removed(v) for k, v in value.items() if k not in names}
    return [removed(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("separators", [compact, spaced])
@pytest.mark.parametrize("first", [True, False])
@given(text=texts, token_ids=ids, prompt=ids)
def test_ids_go_and_every_other_value_stays(
    separators: tuple[str, str], first: bool, text: str, token_ids: Any, prompt: Any
) -> None:
    choice = {"delta": {"content": text}, "note": text}
    choice = {"token_ids": token_ids, **choice} if first else {**choice, "token_ids": token_ids}
    chunk = {"id": text, "choices": [choice], "prompt_token_ids": prompt}
    raw = b"data: " + json.dumps(chunk, separators=separators).encode() + b"\n\n"
    stripped = without_ids(raw)
    assert json.loads(stripped[6:]) == removed(chunk)
    plain = json.dumps(removed(chunk), separators=separators).encode()
    if separators == compact:
        assert stripped == b"data: " + plain + b"\n\n"


def test_a_chunk_without_ids_is_the_same_object() -> None:
    raw = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
    assert without_ids(raw) is raw
