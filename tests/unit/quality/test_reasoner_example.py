"""The shipped reasoner: its task, its words, its weights, and how the demo compares verdicts."""

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from e2e.sweep import demo

EXAMPLES = Path(__file__).parents[3] / "examples"
REASONER = EXAMPLES / "reasoner"


@pytest.fixture(scope="module")
def chains() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chains", REASONER / "chains.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["chains"] = module
    spec.loader.exec_module(module)
    return module


def test_a_chain_is_worked_out_step_by_step(chains):
    steps = (chains.Step(1, "+", 3), chains.Step(2, "*", 7), chains.Step(3, "-", 4))
    asked = chains.Problem(8, steps)
    assert asked.question == "8#1:+3#2:*7#3:-4"
    assert asked.worked() == (["#1:8+3=1\n", "#2:1*7=7\n", "#3:7-4=3\n"], [1, 7, 3])
    assert asked.answer == 3


def test_every_step_takes_seven_tokens_and_no_word_is_missing(chains):
    rng = random.Random(1)
    for count in (1, 9, 80):
        lines, _ = chains.problem(rng, count).worked()
        assert len(chains.encode("".join(lines))) == chains.STEP_TOKENS * count


def test_the_weights_speak_the_same_words(chains):
    tokenizer = json.loads((REASONER / "model" / "tokenizer.json").read_text())
    assert tokenizer["model"]["vocab"] == chains.VOCABULARY
    config = json.loads((REASONER / "model" / "config.json").read_text())
    assert config["vocab_size"] == len(chains.VOCABULARY)
    assert (REASONER / "model" / "model.safetensors").stat().st_size < 2**21


def test_the_shipped_questions_are_what_the_generator_makes():
    shipped = (EXAMPLES / "datasets" / "chains.jsonl").read_text()
    rows = shipped.count("\n")
    made = subprocess.run(
        [sys.executable, str(REASONER / "chains.py"), str(rows)], capture_output=True, check=True
    )
    assert made.stdout.decode() == shipped


def test_verdicts_are_compared_where_both_ways_have_one():
    one = {("a", "0"): True, ("a", "none"): True, ("b", "0"): False, ("c", "0"): True}
    other = {("a", "0"): True, ("a", "none"): False, ("b", "0"): False}
    agreement = demo.agreement_of(one, other)
    assert (agreement.compared, agreement.same) == (3, 2)
    assert agreement.by_budget == {"0": 1.0, "none": 0.0}
