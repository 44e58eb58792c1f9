"""What is known of a replica before it has served anybody: from facts about its GPU and its model.

Closed forms for one engine step (`fleet.profile`), fitted on published traces of H100s, with the
data sheets' bandwidth and peak: weights are read once a step, the KV cache of every running
sequence once, and a prompt costs its arithmetic. All for BF16 weights and KV cache and tensor
parallelism over all GPUs of the replica; a quantised model is another model, and not known here.

Honest published measurements differ from these forms, and among each other, by 25 %, once by 50 %.
They are priors for the law to mend, never measurements.
"""

from dataclasses import dataclass
from typing import Final

from thinkscale.fleet.profile import Profile

GIB: Final = 1024**3
BYTES: Final = 2
"""Of one weight, and of one number in the KV cache: BF16."""
HF: Final = "hf://"

WEIGHT_READS: Final = 1.3625
"""Time to read the weights, over what bandwidth alone would allow."""
LAYER_SECONDS: Final = 32.1e-6
STEP_SECONDS: Final = 126e-6
SCHEDULING_SECONDS: Final = 4.4e-6
"""One more sequence for the engine's scheduler."""
CONTEXT_READS: Final = 1.947
"""Time to read the KV cache, over what bandwidth alone would allow."""
MFU: Final = 0.65
"""Of the peak that prefill reaches; measured slopes give 0.64 to 0.75."""
GEMM_SLOPE: Final = 0.35
"""One more decoding sequence in the matrix products, over one more prompt token: measured 0.3 (34B
on one H100), 0.4 (70B on four), 0.55 (70B on eight). The roughest number here, and the least: the
context weighs 5 to 10 times more.
"""
UTILISATION: Final = 0.9
"""Of a GPU's memory that the engine takes."""
ACTIVATIONS_BYTES: Final = 3 * GIB
"""Per GPU: activations and captured graphs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU, by its data sheet."""

    bandwidth: float
    """Bytes a second."""
    peak: float
    """Dense BF16 operations a second."""
    memory_bytes: float
    """As its driver reports it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model, by its published configuration."""

    parameters: float
    layers: int
    kv_heads: int
    head_width: int = 128

    @property
    def weight_bytes(self) -> float:
        """All weights."""
        return BYTES * self.parameters

    @property
    def kv_bytes(self) -> int:
        """Keys and values of one token. 64 layers, 8 heads: 2 * 64 * 8 * 128 * 2 = 256 KiB."""
        return 2 * self.layers * self.kv_heads * self.head_width * BYTES


GPUS: Final[dict[str, Gpu]] = {
    "H100": Gpu(bandwidth=3.35e12, peak=989e12, memory_bytes=79.65 * GIB),
    "A100-80GB": Gpu(bandwidth=2.039e12, peak=312e12, memory_bytes=79.65 * GIB),
    "L40S": Gpu(bandwidth=0.864e12, peak=362e12, memory_bytes=44.5 * GIB),
}
"""By `spec.engine.gpus.product`; SXM modules where there are several."""

_QWEN_32B: Final = Model(parameters=32.76e9, layers=64, kv_heads=8)
_QWEN2_14B: Final = Model(parameters=14.77e9, layers=48, kv_heads=8)
_LLAMA_8B: Final = Model(parameters=8.03e9, layers=32, kv_heads=8)
_LLAMA_70B: Final = Model(parameters=70.55e9, layers=80, kv_heads=8)

MODELS: Final[dict[str, Model]] = {
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": Model(parameters=1.78e9, layers=28, kv_heads=2),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": Model(parameters=7.62e9, layers=28, kv_heads=4),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": _QWEN2_14B,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": _QWEN_32B,
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": _LLAMA_8B,
    "deepseek-ai/DeepSeek-R1-Distill-Llama-70B": _LLAMA_70B,
    "Qwen/QwQ-32B": _QWEN_32B,
    "Qwen/Qwen3-4B": Model(parameters=4.02e9, layers=36, kv_heads=8),
    "Qwen/Qwen3-8B": Model(parameters=8.19e9, layers=36, kv_heads=8),
    "Qwen/Qwen3-14B": Model(parameters=14.77e9, layers=40, kv_heads=8),
    "Qwen/Qwen3-32B": _QWEN_32B,
}
"""By name on Hugging Face."""


def lookup(model_uri: str, product: str | None, gpus: int, seats: int) -> Profile | None:
    """The replica that serves this model on so many of these GPUs, with so many seats.

    None: the model or the GPU is not known, there is no GPU, or the model does not fit.
    """
    model = MODELS.get(model_uri.removeprefix(HF)) if model_uri.startswith(HF) else None
    gpu = GPUS.get(product or "")
    if model is None or gpu is None or gpus < 1:
        return None
    profile = estimate(model, gpu, gpus, seats, name=f"{model_uri.removeprefix(HF)} {product}")
    return profile if profile.kv_tokens > 0 else None


def estimate(model: Model, gpu: Gpu, gpus: int, seats: int, *, name: str) -> Profile:
    """The closed forms.

    32B on two H100: a0 = 1.3625 * 65.5 GB / (2 * 3.35 TB/s) + 64 * 32.1 us + 126 us = 15.5 ms;
    a2 = 1.947 * 256 KiB / (2 * 3.35 TB/s) = 0.076 us; a3 = 2 * 32.76e9 / (2 * 0.65 * 989e12) =
    51 us; a1 = 4.4 us + 0.35 * 51 us = 22 us;
    KV = (2 * (0.9 * 79.65 GiB - 3 GiB) - 65.5 GB) / 256 KiB = 312,800 tokens.
    """
    prompt = 2 * model.parameters / (gpus * MFU * gpu.peak)
    # More GPUs than KV heads hold copies of them: the cache and its reading gain nothing more.
    kv_bytes = model.kv_bytes * gpus / min(gpus, model.kv_heads)
    weights = WEIGHT_READS * model.weight_bytes / (gpus * gpu.bandwidth)
    free = gpus * (UTILISATION * gpu.memory_bytes - ACTIVATIONS_BYTES) - model.weight_bytes
    return Profile(
        name=name,
        base_seconds=weights + LAYER_SECONDS * model.layers + STEP_SECONDS,
        sequence_seconds=SCHEDULING_SECONDS + GEMM_SLOPE * prompt,
        context_token_seconds=CONTEXT_READS * kv_bytes / (gpus * gpu.bandwidth),
        prompt_token_seconds=prompt,
        kv_tokens=max(0, int(free / kv_bytes)),
        seats=seats,
        gpus=gpus,
    )
