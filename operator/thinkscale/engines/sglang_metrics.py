"""Reads SGLang's `/metrics` (on only with `--enable-metrics`).

`generation_tokens_total` and `prompt_tokens_total` move when a request ends, minutes late for one
that thinks; `realtime_tokens_total{mode}` moves at each log interval and is what is read. Each rank
of a tensor-parallel group may tell the same numbers: only rank 0 counts. Data-parallel ranks add
up, and their KV usage is the mean. It has no count of steps.
"""

import re
from collections.abc import Iterable
from typing import Final

from thinkscale.engines.load import EngineLoad, samples

_LINE: Final = re.compile(
    r"^sglang:(num_running_reqs|num_queue_reqs|token_usage|max_total_num_tokens"
    r"|realtime_tokens_total)(?:\{([^\n]*)\})? ([^\s]+)",
    re.MULTILINE,
)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')
BLOCK_TOKENS: Final = 1
"""RadixAttention's default page: whatever was computed is found again."""


def parse_load(text: str) -> EngineLoad | None:
    """The engine's load, or None if these are not SGLang's metrics."""
    found = samples(text, _LINE)
    running = _by_group(found.get("num_running_reqs", ()))
    if not running:
        return None
    usage = _by_group(found.get("token_usage", ())) or [0.0]
    capacity = _by_group(found.get("max_total_num_tokens", ()))
    tokens = found.get("realtime_tokens_total", ())
    return EngineLoad(
        running=round(sum(running)),
        waiting=round(sum(_by_group(found.get("num_queue_reqs", ())))),
        kv_usage=min(1.0, sum(usage) / len(usage)),
        kv_capacity_tokens=round(sum(capacity)) if capacity else None,
        prefix_block_tokens=BLOCK_TOKENS,
        prompt_tokens=_mode(tokens, "prefill_compute"),
        generated_tokens=_mode(tokens, "decode"),
    )


def _by_group(found: Iterable[tuple[str, float]]) -> list[float]:
    """One value for each data-parallel group: that of its first rank."""
    first: dict[str, tuple[int, float]] = {}
    for text, value in found:
        labels = dict(_LABEL.findall(text))
        rank = int(labels.get("tp_rank", "0"))
        group = labels.get("dp_rank", "0")
        if group not in first or rank < first[group][0]:
            first[group] = (rank, value)
    return [value for _, value in first.values()]


def _mode(found: Iterable[tuple[str, float]], mode: str) -> int | None:
    values = _by_group((labels, value) for labels, value in found if f'mode="{mode}"' in labels)
    return round(sum(values)) if values else None
