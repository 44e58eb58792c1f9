"""vLLM's metrics, by its names, labels and buckets, and the emulator's own lag.

Written directly, since observing a token must cost next to nothing. What moves when is kept too:
gauges and token counters live (a prompt's when its prefill is done), inter-token latency and time
to first token at the token, all `request_*` and e2e histograms only when a request finishes, and
nothing of them when it is aborted.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

from thinkscale.emulator.lag import EDGES_SECONDS, Lag
from thinkscale.emulator.prefix_cache import BLOCK_TOKENS

_FIRST: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
_TOKEN: Final = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
)  # fmt: skip
_REQUEST: Final = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
_ITERATION: Final = (
    1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0,
)  # fmt: skip
_CHOICES: Final = (1.0, 2.0, 5.0, 10.0, 20.0)
_INTER_TOKEN: Final = ("time_per_output_token_seconds", "inter_token_latency_seconds")
FINISH_REASONS: Final = ("stop", "length", "abort", "error", "repetition")


class Histogram:
    """Counts by bucket, and the sum."""

    __slots__ = ("counts", "edges", "total")

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.edges, value)] += 1
        self.total += value


def _decades(most: int) -> tuple[float, ...]:
    """1, 2, 5, 10, ... up to the longest context."""
    edges, power = [], 1
    while power <= most:
        edges += [float(m * power) for m in (1, 2, 5) if m * power <= most]
        power *= 10
    return tuple(edges)


class Metrics:
    """All families of one engine."""

    def __init__(self, model: str, max_tokens: int, *, renamed: bool = True) -> None:
        """`renamed`: the names of 0.10 and later."""
        self._renamed = renamed
        self._labels = f'engine="0",model_name="{escaped(model)}"'
        tokens = _decades(max_tokens)
        self.time_to_first_token = Histogram(_FIRST)
        self.inter_token = Histogram(_TOKEN)
        self.iteration_tokens = Histogram(_ITERATION)
        self.finished: dict[str, Histogram] = {
            "request_time_per_output_token_seconds": Histogram(_TOKEN),
            "e2e_request_latency_seconds": Histogram(_REQUEST),
            "request_queue_time_seconds": Histogram(_REQUEST),
            "request_inference_time_seconds": Histogram(_REQUEST),
            "request_prefill_time_seconds": Histogram(_REQUEST),
            "request_decode_time_seconds": Histogram(_REQUEST),
            "request_prompt_tokens": Histogram(tokens),
            "request_generation_tokens": Histogram(tokens),
            "request_max_num_generation_tokens": Histogram(tokens),
            "request_params_n": Histogram(_CHOICES),
            "request_params_max_tokens": Histogram(tokens),
        }
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generation_tokens = 0
        self.rejections = 0
        self.rounds = 0
        """How often a generation went back to the queue for more (TGI)."""
        self.aborted = 0
        self.successes = dict.fromkeys(FINISH_REASONS, 0)

    def text(self, gauges: Mapping[str, float], kv_tokens: int, preemptions: int, lag: Lag) -> str:
        """The exposition; `gauges` are num_requests_running, _waiting and kv_cache_usage_perc."""
        return "\n".join((*self._engine(gauges, kv_tokens, preemptions), *lag_lines(lag), ""))

    def _engine(
        self, gauges: Mapping[str, float], kv_tokens: int, preemptions: int
    ) -> Iterator[str]:
        for name, value in gauges.items():
            if name == "kv_cache_usage_perc" and not self._renamed:
                name = "gpu_cache_usage_perc"
            yield from self._family(name, "gauge", {"": value})
        waiting = gauges["num_requests_waiting"]
        by_reason = {'reason="capacity"': waiting, 'reason="deferred"': 0.0}
        if self._renamed:
            yield from self._family("num_requests_waiting_by_reason", "gauge", by_reason)
        cache = (
            f'block_size="{BLOCK_TOKENS}",enable_prefix_caching="True",'
            f'kv_cache_size_tokens="{kv_tokens}"'
        )
        yield "# TYPE vllm:cache_config_info gauge"
        yield f'vllm:cache_config_info{{engine="0",{cache}}} 1.0'
        for name, count in (
            ("num_preemptions", preemptions),
            ("prompt_tokens", self.prompt_tokens),
            ("prompt_tokens_cached", self.cached_tokens),
            ("generation_tokens", self.generation_tokens),
            ("prefix_cache_queries", self.prompt_tokens),
            ("prefix_cache_hits", self.cached_tokens),
        ):
            yield from self._family(name, "counter", {"": count})
        reasons = {f'finished_reason="{r}"': float(n) for r, n in self.successes.items()}
        yield from self._family("request_success", "counter", reasons)
        rejected = {'reason="max_num_queued_reqs"': float(self.rejections)}
        yield from self._family("admission_rejections", "counter", rejected)
        histograms = {
            "time_to_first_token_seconds": self.time_to_first_token,
            _INTER_TOKEN[self._renamed]: self.inter_token,
            "iteration_tokens_total": self.iteration_tokens,
            **self.finished,
        }
        for name, histogram in histograms.items():
            yield from histogram_lines(f"vllm:{name}", self._labels, histogram)

    def _family(self, name: str, kind: str, samples: Mapping[str, float]) -> Iterator[str]:
        suffix = "_total" if kind == "counter" else ""
        yield f"# TYPE vllm:{name}{suffix} {kind}"
        for label, value in samples.items():
            extra = f",{label}" if label else ""
            yield f"vllm:{name}{suffix}{{{self._labels}{extra}}} {float(value)}"


def histogram_lines(name: str, labels: str, histogram: Histogram) -> Iterator[str]:
    yield f"# TYPE {name} histogram"
    lead = f"{labels}," if labels else ""
    edges = (*(str(float(e)) for e in histogram.edges), "+Inf")
    for edge, count in zip(edges, accumulate(histogram.counts), strict=True):
        yield f'{name}_bucket{{{lead}le="{edge}"}} {float(count)}'
    braced = f"{{{labels}}}" if labels else ""
    yield f"{name}_count{braced} {float(sum(histogram.counts))}"
    yield f"{name}_sum{braced} {histogram.total}"


def lag_lines(lag: Lag) -> Iterator[str]:
    shown = Histogram(EDGES_SECONDS)
    shown.counts, shown.total = lag.counts, lag.sum_seconds
    yield from histogram_lines("thinkscale_emulator_lag_seconds", "", shown)
    yield "# TYPE thinkscale_emulator_lag_p99_seconds gauge"
    yield f"thinkscale_emulator_lag_p99_seconds {lag.p99_seconds}"
    yield "# TYPE thinkscale_emulator_void gauge"
    yield f"thinkscale_emulator_void {float(lag.void)}"


def escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
