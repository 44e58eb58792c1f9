"""The closed forms against what others have published, and the facts that they are made of."""

import pytest

from thinkscale.api.v1alpha1 import GpuProduct
from thinkscale.fleet.catalogue import GPUS, MODELS, Model, estimate, lookup
from thinkscale.fleet.profile import PROFILES, REFERENCE, Profile

QWEN_32B = "hf://deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"
LLAMA_8B = "hf://deepseek-ai/DeepSeek-R1-Distill-Llama-8B"
LLAMA_70B = "hf://deepseek-ai/DeepSeek-R1-Distill-Llama-70B"
QWEN3_14B = "hf://Qwen/Qwen3-14B"
QWEN3_32B = "hf://Qwen/Qwen3-32B"
MISTRAL_24B = Model(parameters=23.57e9, layers=40, kv_heads=8)
CODELLAMA_34B = Model(parameters=33.74e9, layers=48, kv_heads=8)


def known(uri: str, product: str, gpus: int) -> Profile:
    profile = lookup(uri, product, gpus, 128)
    assert profile is not None
    return profile


@pytest.mark.parametrize(
    ("uri", "product", "gpus", "milliseconds", "published"),
    [
        (LLAMA_8B, "H100", 1, 7.7, (6.96, 7.47, 7.7, 6.5)),
        (LLAMA_8B, "L40S", 1, 26.5, (22.6,)),
        (LLAMA_8B, "A100-80GB", 1, 11.9, (12.9, 16.4)),
        (QWEN3_14B, "H100", 1, 13.4, (13.6,)),
        (LLAMA_70B, "H100", 4, 17.0, (16.3, 14.3, 12.6)),
        (LLAMA_70B, "H100", 8, 9.9, (8.8, 14.1)),
        (LLAMA_70B, "A100-80GB", 4, 26.2, (27.4, 21.9)),
        (QWEN3_32B, "H100", 1, 28.8, (43.3,)),
        (QWEN3_32B, "A100-80GB", 1, 45.9, (48.6,)),
    ],
)
def test_the_intercept_lies_within_the_spread_of_the_published_ones(
    uri: str, product: str, gpus: int, milliseconds: float, published: tuple[float, ...]
) -> None:
    made = known(uri, product, gpus).base_seconds * 1000
    assert made == pytest.approx(milliseconds, rel=0.01)
    closest = min(published, key=lambda other: abs(other - made))
    assert made == pytest.approx(closest, rel=0.35), "50 % apart once, as seen from the formula"
    if (uri, product) != (QWEN3_32B, "H100"):
        assert made == pytest.approx(closest, rel=0.25)


@pytest.mark.parametrize(
    ("model", "milliseconds", "published"),
    [(MISTRAL_24B, 20.6, 25.5), (CODELLAMA_34B, 29.1, 26.6)],
)
def test_the_forms_hold_for_models_that_do_not_think_too(
    model: Model, milliseconds: float, published: float
) -> None:
    made = estimate(model, GPUS["H100"], 1, 128, name="x").base_seconds * 1000
    assert made == pytest.approx(milliseconds, rel=0.01)
    assert made == pytest.approx(published, rel=0.25)


@pytest.mark.parametrize(
    ("uri", "product", "gpus", "tokens"),
    [
        (QWEN_32B, "H100", 2, 312_000),
        (QWEN3_32B, "H100", 1, 31_000),
        (LLAMA_70B, "H100", 4, 469_000),
        (LLAMA_8B, "H100", 1, 440_000),
        (QWEN3_14B, "H100", 1, 270_000),
        (LLAMA_8B, "L40S", 1, 181_000),
    ],
)
def test_what_the_weights_leave_is_the_kv_cache(
    uri: str, product: str, gpus: int, tokens: int
) -> None:
    assert known(uri, product, gpus).kv_tokens == pytest.approx(tokens, rel=0.015)


def test_the_reference_replica_comes_out_within_the_stated_spread() -> None:
    made = known(QWEN_32B, "H100", 2)
    assert made.base_seconds == pytest.approx(REFERENCE.base_seconds, rel=0.01)
    assert made.context_token_seconds == pytest.approx(REFERENCE.context_token_seconds, rel=0.01)
    assert made.prompt_token_seconds == pytest.approx(REFERENCE.prompt_token_seconds, rel=0.01)
    assert made.sequence_seconds == pytest.approx(REFERENCE.sequence_seconds, rel=0.25)
    assert made.step_seconds(97, 289_933, 0) == pytest.approx(0.0402, rel=0.02)


@pytest.mark.parametrize(
    ("uri", "gpus", "profile"),
    [(LLAMA_8B, 1, "8b-1xh100"), (QWEN3_14B, 1, "14b-1xh100"), (LLAMA_70B, 4, "70b-4xh100")],
)
def test_the_emulator_s_profiles_are_these_forms(uri: str, gpus: int, profile: str) -> None:
    made, listed = known(uri, "H100", gpus), PROFILES[profile]
    for name in ("base_seconds", "context_token_seconds", "kv_tokens"):
        assert getattr(made, name) == pytest.approx(getattr(listed, name), rel=0.015)
    assert made.prompt_token_seconds == pytest.approx(listed.prompt_token_seconds, rel=0.25)
    assert made.sequence_seconds == pytest.approx(listed.sequence_seconds, rel=0.40)


def test_kv_heads_bound_what_more_gpus_bring() -> None:
    narrow = "hf://deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
    two, four = known(narrow, "L40S", 2), known(narrow, "L40S", 4)
    assert four.context_token_seconds == pytest.approx(two.context_token_seconds)
    assert four.kv_tokens == pytest.approx(two.kv_tokens, rel=0.05)
    assert four.base_seconds < two.base_seconds


@pytest.mark.parametrize(
    ("uri", "product", "gpus"),
    [
        ("hf://acme/secret", "H100", 1),
        ("pvc://claim/deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "H100", 2),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "H100", 2),
        (QWEN_32B, "H300", 2),
        (QWEN_32B, None, 2),
        (QWEN_32B, "H100", 0),
        (QWEN_32B, "L40S", 1),
    ],
    ids=["model", "claim", "no scheme", "gpu", "no product", "no gpu", "does not fit"],
)
def test_nothing_is_said_of_what_is_not_known(uri: str, product: str | None, gpus: int) -> None:
    assert lookup(uri, product, gpus, 128) is None


def test_the_catalogue_and_the_resource_know_the_same_gpus() -> None:
    assert set(GPUS) == {product.value for product in GpuProduct}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_fits_somewhere_and_is_slower_where_the_memory_is(name: str) -> None:
    times = {p: known(f"hf://{name}", p, 8).base_seconds for p in GPUS}
    assert times["H100"] < times["A100-80GB"] < times["L40S"]
