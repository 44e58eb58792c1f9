"""Which prompt tokens need no prefill: vLLM's automatic prefix cache, in blocks, by hash chain.

Only full blocks are shared, generated tokens are cached too, and the least recently used blocks go
first. Cached blocks are not charged to the KV cache that running sequences use: the real engine
evicts them whenever it needs the room.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

BLOCK_TOKENS: Final = 16


class PrefixCache:
    """Hashes of cached blocks. A block's hash covers all the tokens before it."""

    def __init__(self, capacity_tokens: int) -> None:
        self._capacity = capacity_tokens // BLOCK_TOKENS
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def lookup(self, ids: Sequence[int]) -> int:
        """Tokens at the beginning of `ids` that are cached."""
        hit = 0
        for block in _chain(ids):
            if block not in self._blocks:
                break
            self._blocks.move_to_end(block)
            hit += BLOCK_TOKENS
        return hit

    def insert(self, ids: Sequence[int]) -> None:
        """These tokens have been computed."""
        for block in _chain(ids):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self._capacity:
            self._blocks.popitem(last=False)


def _chain(ids: Sequence[int]) -> Iterator[int]:
    before = 0
    for at in range(0, len(ids) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
        before = hash((before, tuple(ids[at : at + BLOCK_TOKENS])))
        yield before
