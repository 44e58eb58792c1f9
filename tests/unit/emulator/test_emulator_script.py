"""What the model says, as a pure function of prompt, plan and sampling."""

import pytest

from thinkscale.emulator.lengths import LengthOptions, Lengths
from thinkscale.emulator.prompt import PromptState, Template, Thought, read_prompt
from thinkscale.emulator.script import Plan, Sampling, Script
from thinkscale.emulator.vocabulary import (
    BLANK_LINE,
    END_THINK,
    EOS,
    NEWLINE,
    THINK,
    WORD_IDS,
    encode,
)

OPEN = encode("question<think>\n")


def say(
    prompt: list[int], thinking: int, answer: int, sampling: Sampling | None = None
) -> list[int]:
    """All tokens until the end of text, a stop token or max_tokens."""
    sampling = sampling or Sampling(max_tokens=2_000)
    plan = Plan(thinking_tokens=thinking, answer_tokens=answer)
    script = Script(read_prompt(prompt), len(prompt), plan, sampling, 0)
    said: list[int] = []
    while len(said) < sampling.max_tokens:
        said.append(script.next_token())
        if said[-1] == EOS or said[-1] in sampling.stop_token_ids:
            break
    return said


def thought(said: list[int]) -> int:
    """Words before the end of the thought."""
    return said.index(END_THINK)


def test_a_generation_thinks_closes_answers_and_ends() -> None:
    said = say(OPEN, 5, 3)
    assert [t in WORD_IDS for t in said] == [True] * 5 + [False] * 2 + [True] * 3 + [False]
    assert said[5:7] == [END_THINK, BLANK_LINE]
    assert said[-1] == EOS


def test_without_an_opened_thought_the_model_opens_it_itself() -> None:
    assert say(encode("question"), 2, 1)[:2] == [THINK, NEWLINE]
    assert len(say(encode("question"), 2, 1)) == 2 + 2 + 2 + 1 + 1


def test_no_thinking_planned_closes_at_once() -> None:
    assert say(OPEN, 0, 1)[0] == END_THINK


@pytest.mark.parametrize("cut", [1, 7, 11])
def test_a_continuation_says_what_would_have_come(cut: int) -> None:
    whole = say(OPEN, 20, 10)
    assert say(OPEN + whole[:cut], 20, 10) == whole[cut:]
    assert say(OPEN + whole[: 20 + cut], 20, 10) == whole[20 + cut :]


def test_a_thought_closed_by_somebody_else_is_answered_in_full() -> None:
    said = say(OPEN + say(OPEN, 20, 3)[:8] + encode("\n</think>\n\n"), 20, 3)
    assert [t in WORD_IDS for t in said] == [True, True, True, False]


def test_a_thought_kept_open_after_its_end_goes_on_for_a_quarter() -> None:
    kept = OPEN + say(OPEN, 20, 3)[:20] + encode(" wait")
    assert thought(say(kept, 20, 3)) == 5
    assert thought(say(OPEN + [*WORD_IDS][:1], 1, 3)) == 1


@pytest.mark.parametrize(("budget", "words"), [(0, 0), (1, 0), (2, 1), (10, 9), (50, 20)])
def test_the_native_budget_counts_the_newline_of_the_template(budget: int, words: int) -> None:
    said = say(OPEN, 20, 3, Sampling(max_tokens=100, thinking_budget=budget))
    assert thought(said) == words
    assert said[-4:-1] == say(OPEN, words, 3)[-4:-1]


@pytest.mark.parametrize("budget", [0, 1, 10])
def test_without_that_newline_it_is_exact(budget: int) -> None:
    said = say(encode("q<think>"), 20, 3, Sampling(max_tokens=100, thinking_budget=budget))
    assert thought(said) == budget


def test_the_native_budget_counts_thinking_in_the_prompt() -> None:
    begun = OPEN + [*WORD_IDS][:4]
    assert thought(say(begun, 20, 3, Sampling(max_tokens=100, thinking_budget=10))) == 5


def test_a_closed_thought_knows_no_budget() -> None:
    closed = OPEN + encode("</think>\n\n")
    assert say(closed, 20, 3, Sampling(max_tokens=100, thinking_budget=0)) == say(closed, 20, 3)


def test_a_custom_end_is_forced_token_by_token() -> None:
    end = tuple(encode("\n\n time to answer</think>\n\n"))
    said = say(OPEN, 20, 2, Sampling(max_tokens=100, thinking_budget=5, forced_end=end))
    assert said[4 : 4 + len(end)] == list(end)
    assert len(said) == 4 + len(end) + 2 + 1


def test_min_tokens_with_the_end_of_thought_as_stop_token_is_a_minimum_budget() -> None:
    stop = frozenset({END_THINK})
    assert len(say(OPEN, 5, 3, Sampling(max_tokens=99, stop_token_ids=stop))) == 6
    assert len(say(OPEN, 5, 3, Sampling(max_tokens=99, stop_token_ids=stop, min_tokens=30))) == 31


def test_min_tokens_alone_only_holds_back_the_end_of_text() -> None:
    said = say(OPEN, 5, 3, Sampling(max_tokens=99, min_tokens=30))
    assert thought(said) == 5
    assert len(said) == 31


def test_ignore_eos_goes_on_until_max_tokens() -> None:
    said = say(OPEN, 5, 3, Sampling(max_tokens=40, ignore_eos=True))
    assert len(said) == 40
    assert EOS not in said


def test_a_banned_end_never_comes() -> None:
    assert END_THINK not in say(OPEN, 5, 3, Sampling(max_tokens=40, never_closes=True))


def test_the_template_strips_earlier_thoughts_and_opens_the_next() -> None:
    history = [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nb"},
        {"role": "user", "content": "c"},
    ]
    text = Template(opens_think=True).render(history)
    assert "hm" not in text
    assert text.endswith("<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n<think>\n")
    closed = Template(opens_think=True).render(history, think=False)
    assert closed.endswith("<think>\n\n</think>\n\n")
    resumed = Template(opens_think=True).render(history[:2][::-1], resume=True)
    assert resumed.endswith("<|im_start|>user\na")


def test_the_last_tag_of_a_prompt_decides_where_the_model_is() -> None:
    assert read_prompt(encode("x")).thought is Thought.UNOPENED
    assert read_prompt(encode("x<think>y</think>z<think>\n")).thought is Thought.OPEN
    closed = read_prompt(encode("x<think>\n</think>\n\n the answer"))
    assert (closed.thought, closed.said) == (Thought.CLOSED, 2)


def lengths_of(distribution: str, draws: int = 4_000) -> list[int]:
    source = Lengths(LengthOptions(thinking_mean=300, answer_mean=0, distribution=distribution))
    states = (
        PromptState(thought=Thought.OPEN, after_tag=1, said=0, key=key) for key in range(draws)
    )
    return [source.plan({}, state).thinking_tokens for state in states]


@pytest.mark.parametrize("distribution", ["geometric", "lognormal", "constant"])
def test_drawn_lengths_have_the_declared_mean_and_a_fixed_seed(distribution: str) -> None:
    drawn = lengths_of(distribution)
    assert sum(drawn) / len(drawn) == pytest.approx(300, rel=0.08)
    assert drawn == lengths_of(distribution)
    assert min(drawn) >= 1
    assert (len(set(drawn)) == 1) == (distribution == "constant")


def test_a_continuation_gets_the_plan_of_what_it_continues() -> None:
    source = Lengths(LengthOptions(thinking_mean=300, answer_mean=80))
    fresh = source.plan({}, read_prompt(OPEN))
    source.plan({}, read_prompt(encode("another<think>\n")))
    assert source.plan({}, read_prompt(OPEN + [*WORD_IDS][:9])) == fresh
    assert source.plan({}, read_prompt(OPEN + encode("</think>"))) == fresh


def test_a_plan_is_read_only_from_the_field_that_was_named() -> None:
    body: dict[str, object] = {"p": {"thinking_tokens": 7, "answer_tokens": 2}}
    state = read_prompt(OPEN)
    constant = LengthOptions(thinking_mean=300, answer_mean=80, distribution="constant")
    assert Lengths(constant).plan(body, state).thinking_tokens == 300
    named = LengthOptions(plan_field="p")
    assert Lengths(named).plan(body, state) == Plan(thinking_tokens=7, answer_tokens=2)
    with pytest.raises(ValueError, match="whole numbers"):
        Lengths(named).plan({"p": {"thinking_tokens": "7"}}, state)
