"""Chains of arithmetic: the task of the tiny reasoning model, its words, and data to ask it with.

A problem is a first digit and N steps, all modulo ten: `7#1:+3#2:*7#3:-4`. The multipliers are 3, 7
and 9, so every step is a permutation of the digits: none can be skipped or guessed. A thought works
the steps out one after the other, `#1:7+3=0`, seven tokens each, and N is heavy-tailed, so thoughts
are as unequal as those of large models; the answer is one digit.

`python chains.py 500` writes a dataset for `thinkscale sweep` to standard output. No dependency.
"""

import argparse
import json
import math
import random
import re
from dataclasses import dataclass

MOST_STEPS, LABELS = 80, 96
MEDIAN_STEPS, SIGMA = 9, 0.9
STEP_TOKENS = 7
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
END, OPEN, CLOSE = 2, 3, 4
WORDS = (
    "\n", "\n\n", "system", "user", "assistant", "The", " answer", " is", " ", ".", "Wait", ",",
    "<unk>", *"0123456789+-*=",
)  # fmt: skip
SYMBOLS = (*SPECIAL, *WORDS, *(f"#{label}:" for label in range(1, LABELS + 1)))
VOCABULARY = {symbol: number for number, symbol in enumerate(SYMBOLS)}
SPLIT = r"#\d+:|\n\n| ?[A-Za-z]+|[\s\S]"
_TOKEN = re.compile("|".join(map(re.escape, SPECIAL)) + "|" + SPLIT)
USE_CASES = ((9, "short"), (18, "middle"), (MOST_STEPS, "long"))
"""By the number of steps at most."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: `#label:operator digit`."""

    label: int
    operator: str
    digit: int


@dataclass(frozen=True, slots=True)
class Problem:
    """A first digit and what is done to it."""

    start: int
    steps: tuple[Step, ...]

    @property
    def question(self) -> str:
        """As it is asked."""
        return f"{self.start}" + "".join(f"#{s.label}:{s.operator}{s.digit}" for s in self.steps)

    def worked(self) -> tuple[list[str], list[int]]:
        """The lines of the thought, and the value after each."""
        lines, values, value = [], [], self.start
        for step in self.steps:
            result = applied(value, step)
            lines.append(f"#{step.label}:{value}{step.operator}{step.digit}={result}\n")
            values.append(result)
            value = result
        return lines, values

    @property
    def answer(self) -> int:
        """The last value."""
        return self.worked()[1][-1]


def applied(value: int, step: Step) -> int:
    """The value after one step."""
    match step.operator:
        case "+":
            return (value + step.digit) % 10
        case "-":
            return (value - step.digit) % 10
        case _:
            return value * step.digit % 10


def problem(rng: random.Random, count: int | None = None) -> Problem:
    """A random problem; the number of steps is lognormal unless it is given."""
    if count is None:
        drawn = round(rng.lognormvariate(math.log(MEDIAN_STEPS), SIGMA))
        count = min(MOST_STEPS, max(1, drawn))
    steps = []
    for label in range(1, count + 1):
        operator = rng.choice("++-*")
        digit = rng.choice((3, 7, 9)) if operator == "*" else rng.randint(1, 9)
        steps.append(Step(label, operator, digit))
    return Problem(rng.randint(0, 9), tuple(steps))


def encode(text: str) -> list[int]:
    """Token ids; KeyError: a symbol that the model does not have."""
    return [VOCABULARY[token] for token in _TOKEN.findall(text)]


def prompt(question: str) -> str:
    """The chat template's work, up to the thought."""
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n<think>\n"


def use_case(steps: int) -> str:
    """The name by which the sweep tells problems apart."""
    return next(name for most, name in USE_CASES if steps <= most)


def row(number: int, made: Problem) -> dict[str, object]:
    """One line of a dataset."""
    return {
        "id": f"chain-{number:04}",
        "use_case": use_case(len(made.steps)),
        "messages": [{"role": "user", "content": made.question}],
        "answer": str(made.answer),
        "grader": {"type": "regex", "pattern": r"answer is (\d)"},
    }


def main() -> None:
    """Write a dataset."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", type=int)
    parser.add_argument("--seed", type=int, default=12345)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    for number in range(options.rows):
        print(json.dumps(row(number, problem(rng))))


if __name__ == "__main__":
    main()
