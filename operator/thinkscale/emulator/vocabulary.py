"""A small, fixed tokenizer: special tokens, bytes, pairs of letters, and words with their space.

Any text encodes (unknown words fall back to letter pairs and bytes) and decoding an encoding gives
the text back. The other way round it holds for what the model generates: its words begin with a
space and are followed by one, so text and ids are interchangeable in a continuation.

As with the real models, `<think>` and `</think>` are added tokens but not special ones: they stay
in the text of a raw completion. Only the end-of-text markers are left out of it.
"""

import re
from collections.abc import Iterable
from itertools import product
from string import ascii_lowercase
from typing import Final

from thinkscale.emulator.words import WORDS

_NAMED: Final = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "\n", "\n\n",
)  # fmt: skip
IM_START: Final = 1
EOS: Final = 2
THINK: Final = 3
END_THINK: Final = 4
NEWLINE: Final = 5
BLANK_LINE: Final = 6
_FIRST_BYTE: Final = len(_NAMED)
_PAIRS: Final = tuple(
    a + b for a, b in product((*ascii_lowercase, " "), ascii_lowercase) if (a + b) != "  "
)
_FIRST_PAIR: Final = _FIRST_BYTE + 256
_WORD_TEXTS: Final = tuple(w for w in (" " + word for word in WORDS) if len(w) > 2)
_FIRST_WORD: Final = _FIRST_PAIR + len(_PAIRS)
SIZE: Final = _FIRST_WORD + len(_WORD_TEXTS)
WORD_IDS: Final = range(_FIRST_WORD, SIZE)
"""Whole words with a space before them: all that the model thinks and answers with."""

_IDS: Final[dict[str, int]] = {
    **{text: _FIRST_PAIR + i for i, text in enumerate(_PAIRS)},
    **{text: _FIRST_WORD + i for i, text in enumerate(_WORD_TEXTS)},
    **{text: i for i, text in enumerate(_NAMED)},
}
_BYTES: Final[tuple[bytes, ...]] = (
    *(text.encode() for text in _NAMED),
    *(bytes([b]) for b in range(256)),
    *(text.encode() for text in (*_PAIRS, *_WORD_TEXTS)),
)
SILENT: Final = frozenset({0, IM_START, EOS})
"""Special tokens: left out of generated text."""

_PIECE: Final = re.compile(
    "|".join(re.escape(t) for t in sorted(_NAMED, key=len, reverse=True)) + r"| ?[a-z]+|.",
    re.DOTALL,
)


def encode(text: str) -> list[int]:
    """Token ids of any text. A lone surrogate (from a broken JSON escape) becomes `?`."""
    ids: list[int] = []
    for piece in _PIECE.findall(text):
        found = _IDS.get(piece)
        if found is not None:
            ids.append(found)
        elif piece.isascii() and piece[-1].isalpha():
            ids += _spell(piece)
        else:
            ids += [_FIRST_BYTE + byte for byte in piece.encode(errors="replace")]
    return ids


def _spell(piece: str) -> Iterable[int]:
    """An unknown word: two characters a token where that pair exists."""
    for at in range(0, len(piece), 2):
        pair = piece[at : at + 2]
        found = _IDS.get(pair)
        if found is not None:
            yield found
        else:
            yield from (_FIRST_BYTE + byte for byte in pair.encode())


def decode(ids: Iterable[int]) -> str:
    """Text of token ids; bytes that are no UTF-8 become U+FFFD. IndexError: no such id."""
    return b"".join(_BYTES[i] for i in ids).decode(errors="replace")


TEXTS: Final[tuple[str, ...]] = tuple("" if i in SILENT else decode([i]) for i in range(SIZE))
"""What each token adds to generated text."""
