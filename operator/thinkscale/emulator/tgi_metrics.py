"""TGI's metrics: no label of the model, no time to first token, no KV cache, no token counter.

All its histograms of requests move when a request ends, and reach 146 s. The queue's size counts
generations that came back for another round; prompts are measured once more with each round.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from thinkscale.emulator.lag import Lag
from thinkscale.emulator.metrics import Histogram, Metrics, histogram_lines, lag_lines

_SECONDS: Final = tuple(round(0.0001 * 1.5**power, 10) for power in range(1, 36))
_ENDED: Final = {
    "tgi_request_duration": "e2e_request_latency_seconds",
    "tgi_request_queue_duration": "request_queue_time_seconds",
    "tgi_request_inference_duration": "request_inference_time_seconds",
    "tgi_request_mean_time_per_token_duration": "request_time_per_output_token_seconds",
    "tgi_request_generated_tokens": "request_generation_tokens",
    "tgi_request_max_new_tokens": "request_params_max_tokens",
    "tgi_request_input_length": "request_prompt_tokens",
}
FAILURES: Final = ("overloaded", "validation", "dropped")


class TgiMetrics(Metrics):
    """All families of one TGI; the engine writes to the same fields as for vLLM."""

    def __init__(self, model: str, max_total_tokens: int, max_input_tokens: int) -> None:
        super().__init__(model, max_total_tokens)
        self.requests = 0
        self.failures: Counter[str] = Counter()
        for name in _ENDED.values():
            self.finished[name] = Histogram(_SECONDS)
        for name in ("request_generation_tokens", "request_params_max_tokens"):
            self.finished[name] = Histogram(_linear(max_total_tokens))
        self.finished["request_prompt_tokens"] = Histogram(_linear(max_input_tokens))

    def text(self, gauges: Mapping[str, float], kv_tokens: int, preemptions: int, lag: Lag) -> str:
        """The exposition."""
        return "\n".join((*self._lines(gauges, kv_tokens), *lag_lines(lag), ""))

    def _lines(self, gauges: Mapping[str, float], kv_tokens: int) -> Iterator[str]:
        reserved = gauges["kv_cache_usage_perc"] * kv_tokens
        yield from _gauge("tgi_queue_size", gauges["num_requests_waiting"])
        yield from _gauge("tgi_batch_current_size", gauges["num_requests_running"])
        yield from _gauge("tgi_batch_current_max_tokens", reserved)
        yield from _gauge("tgi_batch_max_total_tokens", kv_tokens)
        yield from _counter("tgi_request_count", "", self.requests)
        yield from _counter("tgi_request_success", "", sum(self.successes.values()))
        yield "# TYPE tgi_request_failure counter"
        failures = self.failures + Counter({"dropped": self.aborted})
        for cause in FAILURES:
            yield f'tgi_request_failure{{err="{cause}"}} {failures[cause]}'
        steps = sum(self.iteration_tokens.counts)
        yield from _counter("tgi_batch_inference_count", '{method="decode"}', steps)
        for shown, name in _ENDED.items():
            yield from histogram_lines(shown, "", self.finished[name])


def _linear(most: int) -> tuple[float, ...]:
    return tuple(most * step / 100 for step in range(1, 101))


def _gauge(name: str, value: float) -> Iterator[str]:
    yield f"# TYPE {name} gauge"
    yield f"{name} {float(value)}"


def _counter(name: str, labels: str, value: float) -> Iterator[str]:
    yield f"# TYPE {name} counter"
    yield f"{name}{labels} {value}"
