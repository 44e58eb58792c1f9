"""Reads the few lines of vLLM's `/metrics` that a gateway relays; the other few hundred are
skipped.

Old and new names are known: `gpu_cache_usage_perc` became `kv_cache_usage_perc` (0.9), and the KV
capacity is told directly (`kv_cache_size_tokens`) or as blocks times block size. Steps are the
count of the histogram of tokens by iteration. Prompt tokens are those that were computed: without
what the prefix cache gave. Several engines behind one port (data parallel) add up; their KV usage
is the mean, as they share the load. NB: `num_requests_waiting_by_reason` must not be taken for
`num_requests_waiting`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from thinkscale.engines.load import EngineLoad as EngineLoad
from thinkscale.engines.load import plausible

_LINE: Final = re.compile(
    r"^vllm:(num_requests_running|num_requests_waiting|kv_cache_usage_perc|gpu_cache_usage_perc"
    r"|cache_config_info|iteration_tokens_total_count|prompt_tokens_total"
    r"|prompt_tokens_cached_total|generation_tokens_total)(?:\{([^\n]*)\})? ([^\s]+)",
    re.MULTILINE,
)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


def parse_load(text: str) -> EngineLoad | None:
    """The engine's load, or None if these are not vLLM's metrics."""
    sums: dict[str, list[float]] = {}
    capacity: int | None = None
    block: int | None = None
    for name, labels, value in _LINE.findall(text):
        if name == "cache_config_info":
            cache = dict(_LABEL.findall(labels))
            tokens = _capacity(cache)
            if tokens is not None:
                capacity = (capacity or 0) + tokens
            block = block or _prefix_block(cache)
            continue
        number = plausible(value)
        if number is not None:
            sums.setdefault(name, []).append(number)
    running = sums.get("num_requests_running")
    if running is None:
        return None
    usage = sums.get("kv_cache_usage_perc") or sums.get("gpu_cache_usage_perc") or [0.0]
    return EngineLoad(
        running=round(sum(running)),
        waiting=round(sum(sums.get("num_requests_waiting", ()))),
        kv_usage=min(1.0, max(0.0, sum(usage) / len(usage))),
        kv_capacity_tokens=capacity,
        prefix_block_tokens=block,
        steps=_total(sums, "iteration_tokens_total_count"),
        prompt_tokens=_computed(sums),
        generated_tokens=_total(sums, "generation_tokens_total"),
    )


def _total(sums: Mapping[str, Sequence[float]], name: str) -> int | None:
    values = sums.get(name)
    return None if values is None else round(sum(values))


def _computed(sums: Mapping[str, Sequence[float]]) -> int | None:
    prompts = _total(sums, "prompt_tokens_total")
    cached = _total(sums, "prompt_tokens_cached_total") or 0
    return None if prompts is None else max(0, prompts - cached)


def _capacity(labels: dict[str, str]) -> int | None:
    tokens = labels.get("kv_cache_size_tokens", "")
    if tokens.isdecimal():
        return int(tokens)
    blocks, size = labels.get("num_gpu_blocks", ""), labels.get("block_size", "")
    return int(blocks) * int(size) if blocks.isdecimal() and size.isdecimal() else None


def _prefix_block(labels: dict[str, str]) -> int | None:
    size = labels.get("block_size", "")
    if labels.get("enable_prefix_caching") != "True" or not size.isdecimal():
        return None
    return int(size) or None
