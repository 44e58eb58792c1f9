"""Text and token ids are two spellings of the same thing."""

from hypothesis import given
from hypothesis import strategies as st

from thinkscale.emulator import vocabulary


@given(st.text())
def test_any_text_comes_back_from_its_tokens(text: str) -> None:
    assert vocabulary.decode(vocabulary.encode(text)) == text.encode(errors="replace").decode()


@given(
    st.lists(st.sampled_from(vocabulary.WORD_IDS)), st.lists(st.sampled_from(vocabulary.WORD_IDS))
)
def test_generated_tokens_come_back_from_their_text(thought: list[int], answer: list[int]) -> None:
    ids = [
        *vocabulary.encode("<|im_start|>assistant\n"),
        vocabulary.THINK,
        vocabulary.NEWLINE,
        *thought,
        vocabulary.END_THINK,
        vocabulary.BLANK_LINE,
        *answer,
        vocabulary.EOS,
    ]
    assert vocabulary.encode(vocabulary.decode(ids)) == ids


def test_tags_stay_in_generated_text_and_the_end_marker_does_not() -> None:
    ids = [vocabulary.THINK, vocabulary.END_THINK, vocabulary.EOS]
    assert [vocabulary.TEXTS[i] for i in ids] == ["<think>", "</think>", ""]


def test_every_id_decodes_and_no_text_has_two_ids() -> None:
    texts = [vocabulary.decode([i]) for i in range(vocabulary.SIZE)]
    words = [texts[i] for i in vocabulary.WORD_IDS]
    assert len(set(words)) == len(words) > 300
    assert all(word.startswith(" ") for word in words)
