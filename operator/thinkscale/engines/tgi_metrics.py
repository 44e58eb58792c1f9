"""Reads TGI's `/metrics`: what runs and waits, and the memory reserved.

TGI reserves memory ahead (prompt and the next 1,024 tokens) and has no gauge of the KV cache: the
tokens reserved, out of the most that a batch may hold, stand for it. Steps are the decode passes of
the batch. Prompt lengths are observed once more whenever a long generation re-enters the queue
(each 1,024 tokens), and generated tokens at the end of a request alone, so neither is a live count:
both stay None.

NB: `tgi_queue_size` counts re-entered generations like new arrivals.
"""

import re
from typing import Final

from thinkscale.engines.load import EngineLoad, samples, total

_LINE: Final = re.compile(
    r"^(tgi_batch_current_size|tgi_queue_size|tgi_batch_current_max_tokens"
    r"|tgi_batch_max_total_tokens|tgi_batch_total_tokens|tgi_batch_inference_count)"
    r"(?:\{([^\n]*)\})? ([^\s]+)",
    re.MULTILINE,
)


def parse_load(text: str) -> EngineLoad | None:
    """The engine's load, or None if these are not TGI's metrics. A gauge that has never been set
    is not on the page: an engine that has just started has none but its capacity.
    """
    found = samples(text, _LINE)
    if not found:
        return None
    capacity = total(found, "tgi_batch_max_total_tokens") or total(found, "tgi_batch_total_tokens")
    reserved = total(found, "tgi_batch_current_max_tokens") or 0
    decodes = [
        value
        for labels, value in found.get("tgi_batch_inference_count", ())
        if 'method="decode"' in labels
    ]
    return EngineLoad(
        running=total(found, "tgi_batch_current_size") or 0,
        waiting=total(found, "tgi_queue_size") or 0,
        kv_usage=min(1.0, reserved / capacity) if capacity else 0.0,
        kv_capacity_tokens=capacity,
        steps=round(sum(decodes)) if decodes else None,
    )
