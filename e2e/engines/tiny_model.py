"""Writes a tiny Qwen3 "reasoning" model whose thoughts and answers have known lengths; run by the
engine's own Python: `tiny_model.py DIRECTORY`.

It is not trained: its words are random. What is wired by hand, in residual dimensions that nothing
else writes, is when it stops. In layer 0, head 0 looks for `</think>` anywhere in the context.
While there is none, every step closes the thought with probability 1/THINKING; the step after it
says a blank line; then every step ends the answer with probability 1/ANSWER. So both lengths are
geometric at temperature 1, and it is the engine that samples them. The rows of the output matrix
that make these probabilities are solved for, from the hidden states of random texts.

The size is chosen for the measurement, not for the words: on one core a step takes some 10 to 40 ms
and grows with the batch and with the context, so that the HTTP server on the other core is no
bottleneck. Same versions, same bytes.
"""

import json
import math
import pydoc_data.topics
import sys
from pathlib import Path

import torch  # type: ignore[import-not-found]
from safetensors.torch import save_file  # type: ignore[import-not-found]
from tokenizers import (  # type: ignore[import-not-found]
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)
from transformers import Qwen3Config, Qwen3Model  # type: ignore[import-not-found]

THINKING, ANSWER = 300.0, 75.0
"""Mean tokens."""
VOCABULARY = 512
HIDDEN, FEED_FORWARD, LAYERS, HEADS, HEAD = 512, 1408, 8, 4, 64
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
END_OF_TEXT, START, END, OPEN, CLOSE = range(len(SPECIAL))
IS_CONSTANT, IS_CLOSE, GATE, WIRED = 0, 1, 2, 3
"""Residual dimensions: always 1; 1 at `</think>`; 1 once it was said; how many are wired."""
NEVER = -30.0

TEMPLATE = (
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}"
)


def tokenizer() -> Tokenizer:
    """Byte pairs over Python's own documentation; every word begins with its space, so text to ids
    is the inverse of ids to text.
    """
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    topics = sorted(pydoc_data.topics.topics.items())
    text = [value.replace("   ", " ") for _, value in topics] + ["a\n\nb\n\nc"] * 5000
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator(text, trainer)
    return made


def words_of(vocabulary: dict[str, int]) -> list[int]:
    """Ids of whole words, in order."""
    return [
        token
        for text, token in sorted(vocabulary.items(), key=lambda item: item[1])
        if len(text) > 2 and text[0] == "Ġ" and text[1:].isalpha() and text[1:].isascii()
    ]


def config(size: int) -> dict[str, object]:
    """`config.json`."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": size,
        "hidden_size": HIDDEN,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": LAYERS,
        "head_dim": HEAD,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": 32768,
        "rope_theta": 1e9,
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": END_OF_TEXT,
        "eos_token_id": END,
        "pad_token_id": END_OF_TEXT,
        "hidden_act": "silu",
        "use_cache": True,
        "torch_dtype": "bfloat16",
    }


class Weights:
    """Makes the tensors; the noise of the random parts stays small beside the wired dimensions."""

    def __init__(self, size: int) -> None:
        self._generator = torch.Generator().manual_seed(0)
        embedding = self.noise(size, HIDDEN, std=0.03 * math.sqrt(128 / HIDDEN))
        embedding[:, :WIRED] = 0
        embedding[:, IS_CONSTANT] = 1
        embedding[CLOSE, IS_CLOSE] = 1
        self.tensors = {
            "model.embed_tokens.weight": embedding,
            "model.norm.weight": torch.ones(HIDDEN),
        }
        for layer in range(LAYERS):
            self._add_layer(layer)

    def noise(self, *shape: int, std: float) -> torch.Tensor:
        """Normal numbers."""
        return torch.randn(*shape, generator=self._generator) * std

    def _add_layer(self, layer: int) -> None:
        inward, quiet = 0.02 * math.sqrt(128 / HIDDEN), 0.02 * math.sqrt(2 / LAYERS)
        width = HEADS * HEAD
        query, key, value = (self.noise(width, HIDDEN, std=inward) for _ in range(3))
        out = self.noise(HIDDEN, width, std=quiet)
        down = self.noise(HIDDEN, FEED_FORWARD, std=quiet * math.sqrt(256 / FEED_FORWARD))
        out[:WIRED] = 0
        down[:WIRED] = 0
        if layer == 0:
            _wire_gate(query, key, value, out)
        prefix = f"model.layers.{layer}."
        made = {
            "self_attn.q_proj": query,
            "self_attn.k_proj": key,
            "self_attn.v_proj": value,
            "self_attn.o_proj": out,
            "self_attn.q_norm": torch.full((HEAD,), 2.0),
            "self_attn.k_norm": torch.full((HEAD,), 2.0),
            "mlp.gate_proj": self.noise(FEED_FORWARD, HIDDEN, std=inward),
            "mlp.up_proj": self.noise(FEED_FORWARD, HIDDEN, std=inward),
            "mlp.down_proj": down,
            "input_layernorm": torch.ones(HIDDEN),
            "post_attention_layernorm": torch.ones(HIDDEN),
        }
        self.tensors |= {f"{prefix}{name}.weight": tensor for name, tensor in made.items()}


def _wire_gate(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, out: torch.Tensor
) -> None:
    """Head 0 writes 1 into GATE when the context has a `</think>`: other tokens' keys are
    orthogonal to its query, in the pair of dimensions that the rotation turns slowest.
    """
    query[:HEAD], key[:HEAD], value[:HEAD] = 0, 0, 0
    out[:, :HEAD] = 0
    query[HEAD - 1, IS_CONSTANT] = 1
    key[HEAD - 2, IS_CONSTANT] = 1
    key[HEAD - 1, IS_CLOSE] = 100
    value[0, IS_CLOSE] = 1
    out[GATE, 0] = 1 / math.sqrt(HIDDEN / 2)


def hidden_states(
    settings: dict[str, object], tensors: dict[str, torch.Tensor], ids: list[int]
) -> torch.Tensor:
    """What the last layer says of a text, in full precision."""
    model = Qwen3Model(Qwen3Config(**settings)).eval().float()
    model.load_state_dict({name.removeprefix("model."): t for name, t in tensors.items()})
    with torch.no_grad():
        return model(torch.tensor([ids])).last_hidden_state[0]


def output_matrix(
    weights: Weights, settings: dict[str, object], words: list[int], blank: int
) -> torch.Tensor:
    """Logits of the words by chance, those of the three ends solved for."""
    size = len(weights.tensors["model.embed_tokens.weight"])
    head = torch.zeros(size, HIDDEN)
    head[:, IS_CONSTANT] = NEVER / math.sqrt(HIDDEN)
    head[words, IS_CONSTANT] = 0
    head[words, WIRED:] = weights.noise(
        len(words), HIDDEN - WIRED, std=0.1 * math.sqrt(128 / HIDDEN)
    )
    chosen = torch.randint(len(words), (256,), generator=weights._generator)
    text = [words[int(index)] for index in chosen]
    thinking = hidden_states(settings, weights.tensors, [START, *text])[1:]
    answering = hidden_states(settings, weights.tensors, [START, OPEN, CLOSE, blank, *text])[8:]
    closing = hidden_states(settings, weights.tensors, [START, *text, CLOSE])[-1]

    def total(states: torch.Tensor) -> float:
        return float(torch.logsumexp(states @ head[words].T, -1).mean())

    def row(while_thinking: float, while_answering: float) -> torch.Tensor:
        """Weights of (constant, gate) with these logits in the two states."""
        means = torch.stack([s.mean(0)[[IS_CONSTANT, GATE]] for s in (thinking, answering)])
        wanted = torch.tensor([while_thinking, while_answering]).double()
        return torch.linalg.solve(means.double(), wanted).float()

    head[CLOSE, [IS_CONSTANT, GATE]] = row(total(thinking) - math.log(THINKING), NEVER)
    head[END, [IS_CONSTANT, GATE]] = row(NEVER, total(answering) - math.log(ANSWER))
    head[blank, IS_CLOSE] = -2 * NEVER / float(closing[IS_CLOSE])
    return head


def write(directory: Path) -> None:
    """Make all the files."""
    directory.mkdir(parents=True)
    text = tokenizer()
    vocabulary = text.get_vocab()
    settings = config(len(vocabulary))
    weights = Weights(len(vocabulary))
    head = output_matrix(weights, settings, words_of(vocabulary), vocabulary["ĊĊ"])
    tensors = {**weights.tensors, "lm_head.weight": head}
    save_file(
        {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in tensors.items()},
        directory / "model.safetensors",
        metadata={"format": "pt"},
    )
    # As in Qwen3, the think tags are added tokens but not special: they stay in the text.
    shown = json.loads(text.to_str())
    for token in shown["added_tokens"]:
        token["special"] = token["content"] not in ("<think>", "</think>")
    files: dict[str, object] = {
        "tokenizer.json": shown,
        "config.json": settings,
        "generation_config.json": {
            "bos_token_id": END_OF_TEXT,
            "eos_token_id": [END, END_OF_TEXT],
            "do_sample": True,
            "temperature": 1.0,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "model_max_length": 32768,
            "clean_up_tokenization_spaces": False,
            "chat_template": TEMPLATE,
        },
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=1, ensure_ascii=False))
    count = sum(tensor.numel() for tensor in tensors.values())
    print(f"{directory}: {count} parameters, {len(vocabulary)} tokens")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
