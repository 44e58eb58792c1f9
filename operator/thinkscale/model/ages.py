"""The bins of thinking age (thinking tokens generated so far) that life tables and age histograms
share.

Fixed edges make counters of different gateways, and of different days, exactly mergeable: bins are
added, never re-binned. 0, then 44 geometric edges from 32 to 65,536 tokens; the last bin is open.
`EDGES_VERSION` travels with every payload that uses them.
"""

import bisect
from typing import Final

EDGES_VERSION: Final = 1
AGE_EDGES_TOKENS: Final[tuple[int, ...]] = (
    0,
    *(round(32 * (65536 / 32) ** (i / 43)) for i in range(44)),
)
BINS: Final = len(AGE_EDGES_TOKENS)


def bin_of(age_tokens: int) -> int:
    """Index of the bin that holds this age: `EDGES[i] <= age < EDGES[i + 1]`."""
    return bisect.bisect_right(AGE_EDGES_TOKENS, max(0, age_tokens)) - 1
