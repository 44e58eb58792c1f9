"""Trains the tiny reasoning model from nothing: half a million parameters, minutes on two cores.

usage: `python train.py DIRECTORY` with torch, transformers and tokenizers installed. All examples
are made on the fly; the loss counts the model's own tokens alone. Three things make it a subject
for budgets and not only a calculator:

- Some thoughts are cut at a random token and closed in one of the ways that engines and gateways do
  it. The answer behind is still the true one, so the model learns to guess from what it has.
- After a step `v-d=0` with d of 7 or more the teacher mostly stops at once, done or not: hasty, as
  large models are at times. A minimum budget mends exactly that.
- `\\nWait,` in place of the end, as a gateway puts it there: a hasty thought goes on with the next
  step, a finished one checks its last step again and ends. Longer thinking so does not hurt.

With the step limit, not the time limit, binding, a run is a function of its seed.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from chains import (
    CLOSE,
    END,
    LABELS,
    MOST_STEPS,
    OPEN,
    SPECIAL,
    SPLIT,
    VOCABULARY,
    Problem,
    Step,
    encode,
    problem,
    prompt,
)
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import Qwen3Config, Qwen3ForCausalLM

HASTY = 0.7
"""How often the teacher stops at a trap."""
TRAP_DIGIT = 7
PLANTED = 0.3
WAITS, WAITS_MORE, OWN_WAITS = 0.5, 0.6, 0.07
"""Thoughts with a Wait put in, the chance of one more there, and of the model's own."""
CUT, CUT_AT_ONCE = 0.3, 0.2
LONGEST_TOKENS = 1100
MERGED = VOCABULARY["\n\n"]
NEWLINE = VOCABULARY["\n"]
NUDGE = encode("\nWait,")
CURRICULUM_STEPS = 400
TEMPLATE = (
    "{%- for m in messages %}{%- set c = m.content %}"
    "{%- if m.role == 'assistant' and '</think>' in c"
    " and not (loop.last and continue_final_message|default(false)) %}"
    "{%- set c = c.split('</think>')[-1].lstrip('\\n') %}{%- endif %}"
    "{{- '<|im_start|>' + m.role + '\\n' + c + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"
)
Example = tuple[list[int], list[int]]
"""Token ids, and 1 where the loss counts."""


def prepared(rng: random.Random, count: int | None) -> Problem:
    """A problem with labels moved, so that high ones are seen often, and perhaps with a trap."""
    made = problem(rng, count)
    shift = rng.randint(0, LABELS - len(made.steps)) if rng.random() < 0.5 else 0
    steps = [Step(s.label + shift, s.operator, s.digit) for s in made.steps]
    if rng.random() < PLANTED:
        place = rng.randrange(len(steps))
        before = Problem(made.start, tuple(steps[:place])).worked()[1] if place else [made.start]
        if before[-1] >= TRAP_DIGIT:
            steps[place] = Step(steps[place].label, "-", before[-1])
    return Problem(made.start, tuple(steps))


class Thought:
    """Puts a thought together, token by token."""

    def __init__(self, rng: random.Random, asked: Problem) -> None:
        self.ids = encode(prompt(asked.question))
        self.mask = [0] * len(self.ids)
        self.begin = len(self.ids)
        self._rng = rng
        self._lines, self._values = asked.worked()
        self._traps = [
            step.operator == "-" and value == 0 and step.digit >= TRAP_DIGIT
            for step, value in zip(asked.steps, self._values, strict=True)
        ]

    def think(self) -> None:
        """To the end, or to a hasty one, with Waits and what follows them."""
        overruled = self._rng.random() < WAITS
        done = self._run(0)
        again = WAITS_MORE if overruled else OWN_WAITS
        while (len(self.ids) < LONGEST_TOKENS or done < len(self._lines)) and (
            self._rng.random() < again
        ):
            self._wait(own=not overruled)
            if done < len(self._lines):
                done = self._run(done)
            else:
                self._write(self._lines[-1])

    def _run(self, done: int) -> int:
        """Work from one step on; returns how many steps are done."""
        for place in range(done, len(self._lines)):
            self._write(self._lines[place])
            if self._traps[place] and self._rng.random() < HASTY:
                return place + 1
        return len(self._lines)

    def _write(self, line: str) -> None:
        ids = encode(line)
        self.ids += ids
        self.mask += [1] * len(ids)

    def _wait(self, *, own: bool) -> None:
        nudge = NUDGE
        if not own and self._rng.random() < 0.2:  # as text: two newlines make one token
            self.ids[-1], self.mask[-1], nudge = MERGED, 0, NUDGE[1:]
        self.ids += nudge
        self.mask += [int(own)] * len(nudge)

    def cut(self) -> None:
        """End it anywhere, in one of the ways in which budgets are forced."""
        at = self.begin
        if self._rng.random() >= CUT_AT_ONCE:
            at = self._rng.randint(self.begin, len(self.ids))
        self.ids, self.mask = self.ids[:at], self.mask[:at]
        way = self._rng.random()
        if way < 0.2 and self.ids[-1] == NEWLINE:
            self.ids[-1], self.mask[-1] = MERGED, 0
        elif way < 0.6:
            self.ids.append(NEWLINE)
            self.mask.append(0)


def example(rng: random.Random, count: int | None) -> Example:
    """One training example."""
    uniform = rng.randint(1, MOST_STEPS) if rng.random() < 0.35 else None
    asked = prepared(rng, count or uniform)
    thought = Thought(rng, asked)
    thought.think()
    forced = rng.random() < CUT
    if forced:
        thought.cut()
    answer = encode(f"\n\nThe answer is {asked.answer}.<|im_end|>")
    ids = [*thought.ids, CLOSE, *answer]
    return ids, [*thought.mask, int(not forced), *([1] * len(answer))]


def batches(rng: random.Random, tokens: int, longest: "list[int]") -> Iterator[list[Example]]:
    """Endless batches of about so many tokens, of similar length each; `longest[0]`: steps that the
    curriculum allows by now.
    """
    while True:
        allowed = longest[0]
        counts = [rng.randint(1, allowed) if allowed < MOST_STEPS else None for _ in range(512)]
        pool = sorted((example(rng, count) for count in counts), key=lambda made: len(made[0]))
        groups: list[list[Example]] = [[]]
        for made in pool:
            if groups[-1] and len(made[0]) * (len(groups[-1]) + 1) > tokens:
                groups.append([])
            groups[-1].append(made)
        rng.shuffle(groups)
        yield from groups


def new_model(hidden: int, layers: int) -> Qwen3ForCausalLM:
    """Qwen3's architecture, small."""
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(VOCABULARY),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 32,
            num_key_value_heads=hidden // 32,
            head_dim=32,
            max_position_embeddings=8192,
            rope_parameters={"rope_type": "default", "rope_theta": 1e5},
            tie_word_embeddings=False,
            bos_token_id=0,
            eos_token_id=END,
            pad_token_id=0,
            initializer_range=0.05,
        )
    )


def loss_of(model: Qwen3ForCausalLM, group: list[Example]) -> torch.Tensor:
    """Mean cross entropy of the tokens that count."""
    longest = max(len(ids) for ids, _ in group)
    ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in group])
    counts = torch.tensor([mask + [0] * (longest - len(mask)) for _, mask in group])
    hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state
    kept = counts[:, 1:] == 1
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[kept]), ids[:, 1:][kept])


def train(model: Qwen3ForCausalLM, options: argparse.Namespace) -> None:
    """Until the steps or the minutes are used up, on a cosine of the one used faster."""
    rng = random.Random(options.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    begun, seen, longest = time.monotonic(), 0, [4]
    for step, group in enumerate(batches(rng, options.tokens, longest)):
        elapsed = time.monotonic() - begun
        done = max(step / options.steps, elapsed / 60 / options.minutes)
        if done >= 1:
            break
        longest[0] = min(MOST_STEPS, 4 + int(done * CURRICULUM_STEPS))
        decay = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
        for part in optimizer.param_groups:
            part["lr"] = options.rate * min(1, step / 100) * decay
        loss = loss_of(model, group)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seen += sum(len(ids) for ids, _ in group)
        if step % 50 == 0:
            millions = f"{seen / 1e6:.2f} M tokens"
            print(f"{elapsed:5.0f} s, step {step}, loss {loss.item():.4f}, {millions}", flush=True)


def save(model: Qwen3ForCausalLM, directory: Path) -> None:
    """Weights in bfloat16, and a tokenizer of whole symbols: text and ids say the same."""
    directory.mkdir(parents=True, exist_ok=True)
    model.eval().to(torch.bfloat16).save_pretrained(directory)
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    tokenizer.decoder = decoders.Fuse()
    special, kept = SPECIAL[:OPEN], SPECIAL[OPEN:]  # the think tags stay in the text, as in Qwen3
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in kept])
    tokenizer.save(str(directory / "tokenizer.json"))
    files = {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "model_max_length": 8192,
            "clean_up_tokenization_spaces": False,
            "chat_template": TEMPLATE,
        },
        "generation_config.json": {
            "bos_token_id": 0,
            "eos_token_id": [END, 0],
            "do_sample": True,
            "temperature": 0.6,
        },
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--tokens", type=int, default=2560, help="of a batch")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    model = new_model(options.hidden, options.layers).float().train()
    train(model, options)
    save(model, options.directory)
    print(f"{sum(w.numel() for w in model.parameters())} parameters in {options.directory}")


if __name__ == "__main__":
    main()
