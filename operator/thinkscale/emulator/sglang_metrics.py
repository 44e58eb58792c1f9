"""SGLang's metrics: gauges and the running count of tokens live, all other counters when a request
ends.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from thinkscale.emulator.lag import Lag
from thinkscale.emulator.metrics import (
    Histogram,
    Metrics,
    escaped,
    histogram_lines,
    lag_lines,
)

_FIRST: Final = (
    0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0,
    400.0,
)  # fmt: skip
_TOKEN: Final = (
    0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08, 0.1, 0.2,
    0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0,
)  # fmt: skip
_ENDED: Final = (
    0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0,
    400.0, 600.0, 1200.0, 1800.0, 2400.0,
)  # fmt: skip


class SglangMetrics(Metrics):
    """All families of one SGLang; the engine writes to the same fields as for vLLM."""

    def __init__(self, model: str, max_tokens: int) -> None:
        super().__init__(model, max_tokens)
        name = f'model_name="{escaped(model)}"'
        self._tokenizer = name
        self._scheduler = f'engine_type="unified",{name},moe_ep_rank="0",pp_rank="0",tp_rank="0"'
        self.time_to_first_token = Histogram(_FIRST)
        self.inter_token = Histogram(_TOKEN)
        self.finished["e2e_request_latency_seconds"] = Histogram(_ENDED)

    def text(self, gauges: Mapping[str, float], kv_tokens: int, preemptions: int, lag: Lag) -> str:
        """The exposition."""
        return "\n".join((*self._lines(gauges, kv_tokens, preemptions), *lag_lines(lag), ""))

    def _lines(
        self, gauges: Mapping[str, float], kv_tokens: int, preemptions: int
    ) -> Iterator[str]:
        usage = gauges["kv_cache_usage_perc"]
        for name, value in (
            ("num_running_reqs", gauges["num_requests_running"]),
            ("num_queue_reqs", gauges["num_requests_waiting"]),
            ("token_usage", usage),
            ("num_used_tokens", round(usage * kv_tokens)),
            ("max_total_num_tokens", kv_tokens),
        ):
            yield f"# TYPE sglang:{name} gauge"
            yield f"sglang:{name}{{{self._scheduler}}} {float(value)}"
        yield "# TYPE sglang:realtime_tokens_total counter"
        for mode, count in (
            ("prefill_compute", self.prompt_tokens - self.cached_tokens),
            ("prefill_cache", self.cached_tokens),
            ("decode", self.generation_tokens),
        ):
            labels = f'{self._scheduler},mode="{mode}"'
            yield f"sglang:realtime_tokens_total{{{labels}}} {float(count)}"
        ended = self.finished["request_generation_tokens"]
        for name, count in (
            ("prompt_tokens_total", round(self.finished["request_prompt_tokens"].total)),
            ("generation_tokens_total", round(ended.total)),
            ("num_requests_total", sum(ended.counts)),
            ("num_aborted_requests_total", self.aborted),
            ("num_retracted_requests_total", preemptions),
        ):
            yield f"# TYPE sglang:{name} counter"
            yield f"sglang:{name}{{{self._tokenizer}}} {float(count)}"
        for name, histogram in (
            ("time_to_first_token_seconds", self.time_to_first_token),
            ("inter_token_latency_seconds", self.inter_token),
            ("e2e_request_latency_seconds", self.finished["e2e_request_latency_seconds"]),
        ):
            yield from histogram_lines(f"sglang:{name}", self._tokenizer, histogram)
