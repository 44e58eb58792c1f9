"""Cutting and lengthening a trace: what is asked, and what is not asked again."""

from dataclasses import replace

import pytest

from thinkscale.engines.dialect import Tags
from thinkscale.quality import independent, reuse
from thinkscale.quality.calls import Reply
from thinkscale.quality.dataset import Row
from thinkscale.quality.endpoint import retry_after
from thinkscale.quality.graders import Exact
from thinkscale.quality.independent import Vigil
from thinkscale.quality.levels import UNLIMITED, Level
from thinkscale.quality.outcome import Answered
from thinkscale.quality.settings import Method, Settings

OPEN, CLOSE, NUDGE, BREAK = 1, 2, 7, 8
TAGS = Tags(
    open_id=OPEN, close_id=CLOSE, closing_ids=(BREAK, CLOSE, BREAK), nudge_ids=(NUDGE,),
    context_tokens=1000,
)  # fmt: skip
SETTINGS = Settings(
    model="m", method=Method.REUSE, temperature=0.0, answer_tokens=20, request_tokens=None,
    budget_field="thinking_token_budget",
)  # fmt: skip
ROW = Row(key="row", name="row", messages=({"role": "user", "content": "?"},), answer="4",
          use_case="all", weight=1.0, grader=Exact())  # fmt: skip
PROMPT = (50, OPEN)
THOUGHT = tuple(range(100, 110))


def reply(*ids: int, text: str = "4", prompt: tuple[int, ...] = PROMPT) -> Reply:
    return Reply(
        text=text, finish_reason="stop", prompt_tokens=len(prompt), output_tokens=len(ids),
        thought_tokens=None, thought_characters=0, prompt_ids=prompt, token_ids=ids,
    )  # fmt: skip


FULL = reply(*THOUGHT, CLOSE, 60, 61)


def limited(tokens: int) -> Level:
    return Level(max_tokens=tokens)


def following(levels: list[Level], known: dict[str, Reply]):
    return reuse.next_call(ROW, "row#0", levels, SETTINGS, TAGS, known)


def test_a_cut_is_prompt_prefix_and_closing_tag_as_the_gateway_writes_it():
    call = following([limited(4), UNLIMITED], {"row#0/full": FULL})
    assert call.key == "row#0/cut4"
    assert call.body["prompt"] == [*PROMPT, *THOUGHT[:4], BREAK, CLOSE, BREAK]
    assert call.body["max_tokens"] == 20
    assert call.body["temperature"] == 0.0


def test_a_thought_of_just_the_budget_was_not_cut():
    levels = [limited(9), limited(10), UNLIMITED]
    known = {"row#0/full": FULL}
    assert following(levels, known).key == "row#0/cut9"
    known["row#0/cut9"] = reply(5, text="3")
    assert following(levels, known) is None
    nine, ten, none = reuse.answers(ROW, "row#0", levels, SETTINGS, TAGS, known)
    assert (nine.text, nine.thinking_tokens, nine.cut) == ("3", 9, True)
    assert (ten.text, ten.thinking_tokens, ten.cut) == ("4", 10, False)
    assert (none.thinking_tokens, none.answer_tokens) == (10, 2)


def test_without_an_unlimited_level_the_trace_is_only_as_long_as_needed():
    call = following([limited(4), limited(16)], {})
    assert call.body["max_tokens"] == 16 + 1 + 20
    assert "max_tokens" not in following([limited(4), UNLIMITED], {}).body
    assert "max_tokens" not in following([limited(4), limited(990)], {}).body  # over the context


def test_a_cut_of_another_trace_is_another_cut():
    short, long = [limited(2), limited(8)], [limited(2), limited(8), UNLIMITED]
    known = {"row#0/full8": FULL}
    while (call := following(short, known)) is not None:
        assert call.key not in known
        known[call.key] = reply(5, text="3")
    assert sorted(known) == ["row#0/cut2 of full8", "row#0/cut8 of full8", "row#0/full8"]
    assert len(reuse.answers(ROW, "row#0", short, SETTINGS, TAGS, known)) == 2
    known["row#0/full"] = reply(*reversed(THOUGHT), CLOSE, 60)  # the temperature is not 0
    (none,) = reuse.answers(ROW, "row#0", long, SETTINGS, TAGS, known)
    assert none.level == UNLIMITED
    call = following(long, known)
    assert call.key == "row#0/cut2"
    assert call.body["prompt"][: len(PROMPT) + 2] == [*PROMPT, *THOUGHT[:-3:-1]]


def test_a_model_that_opens_the_thought_itself_is_cut_behind_its_tag():
    full = reply(30, OPEN, *THOUGHT, CLOSE, 60, prompt=(50,))
    call = following([limited(0), UNLIMITED], {"row#0/full": full})
    assert call.body["prompt"] == [50, 30, OPEN, BREAK, CLOSE, BREAK]


def test_a_model_that_does_not_think_has_nothing_to_cut():
    full = reply(60, 61, prompt=(50,))
    levels = [limited(0), UNLIMITED]
    assert following(levels, {"row#0/full": full}) is None
    zero, _ = reuse.answers(ROW, "row#0", levels, SETTINGS, TAGS, {"row#0/full": full})
    assert (zero.thinking_tokens, zero.answer_tokens, zero.text) == (0, 2, "4")


def test_a_thought_that_the_context_ended_has_no_answer():
    full = reply(*THOUGHT, text="not an answer")
    (none,) = reuse.answers(ROW, "row#0", [UNLIMITED], SETTINGS, TAGS, {"row#0/full": full})
    assert (none.text, none.thinking_tokens) == ("", 10)


def test_longer_minima_go_on_from_shorter_ones():
    levels = [UNLIMITED, Level(min_tokens=12), Level(min_tokens=20)]
    known = {"row#0/full": FULL}
    call = following(levels, known)
    assert call.key == "row#0/wait1"
    assert call.body["prompt"] == [*PROMPT, *THOUGHT, NUDGE]
    known["row#0/wait1"] = reply(200, 201, CLOSE, 62, text="</think>5")
    call = following(levels, known)
    assert call.body["prompt"] == [*PROMPT, *THOUGHT, NUDGE, 200, 201, NUDGE]
    known["row#0/wait2"] = reply(*range(300, 310), CLOSE, 63, text="</think> 6")
    assert following(levels, known) is None
    none, twelve, twenty = reuse.answers(ROW, "row#0", levels, SETTINGS, TAGS, known)
    assert [(a.text, a.thinking_tokens, a.waits) for a in (none, twelve, twenty)] == [
        ("4", 10, 0), ("5", 13, 1), ("6", 24, 2),
    ]  # fmt: skip


def test_a_model_that_insists_is_let_go():
    levels = [UNLIMITED, Level(min_tokens=500)]
    known = {"row#0/full": FULL}
    while (call := following(levels, known)) is not None:
        known[call.key] = reply(CLOSE, 62, text="</think>4")
    assert sorted(known) == ["row#0/full", *(f"row#0/wait{n}" for n in range(1, 5))]
    assert reuse.answers(ROW, "row#0", levels, SETTINGS, TAGS, known)[1].waits == 4


def test_a_wait_that_the_context_does_not_hold_is_not_sent():
    tags = replace(TAGS, context_tokens=len(PROMPT) + len(THOUGHT) + 1)
    levels = [UNLIMITED, Level(min_tokens=500)]
    known = {"row#0/full": FULL}
    assert reuse.next_call(ROW, "row#0", levels, SETTINGS, tags, known) is None
    assert len(reuse.answers(ROW, "row#0", levels, SETTINGS, tags, known)) == 2


def test_a_reply_without_ids_cannot_be_cut():
    bare = replace(FULL, token_ids=None)
    with pytest.raises(ValueError, match="without token ids"):
        following([limited(4), UNLIMITED], {"row#0/full": bare})


def shown(text: str, thought: int, counted: int | None, output: int) -> Reply:
    return Reply(
        text=text, finish_reason="stop", prompt_tokens=1, output_tokens=output,
        thought_tokens=counted, thought_characters=thought,
    )  # fmt: skip


def test_an_endpoint_that_counts_no_thinking_of_what_it_shows_is_not_believed():
    assert independent.thinking_of(shown("4444", 36, 8, 10)) == (8, True)
    assert independent.thinking_of(shown("4444", 36, 0, 10)) == (9, False)
    assert independent.thinking_of(shown("thinking</think>4444", 0, None, 12)) == (8, False)
    assert independent.thinking_of(shown("4444", 0, 0, 4)) == (0, True)
    assert independent.thinking_of(shown("\n</think>\n\n4444", 0, 0, 6)) == (0, True)
    assert independent.thinking_of(shown("4444", 0, None, 4)) == (0, True)


def answered(sample: str, limit: int, thinking: int, *, counted: bool = True) -> Answered:
    return Answered(
        sample=sample, level=limited(limit), text="", prompt_tokens=1, thinking_tokens=thinking,
        answer_tokens=1, cut=thinking >= limit, counted=counted,
    )  # fmt: skip


def test_budgets_that_are_not_held_are_noticed_at_the_third_time():
    vigil = Vigil()
    assert vigil.see([answered("a", 64, 900)]) is None
    assert vigil.see([answered("a", 64, 900), answered("b", 64, 700)]) is None
    complaint = vigil.see([answered("c", 64, 300)])
    assert "asked for 64 thinking tokens, got 900, and 3 times so" in str(complaint)


def test_an_engine_that_closes_with_a_sentence_and_rough_estimates_accuse_nobody():
    vigil = Vigil()
    for name in "abcdef":
        assert vigil.see([answered(name, 64, 90)]) is None
        assert vigil.see([answered(name, 256, 500, counted=False)]) is None


def test_some_long_thoughts_among_many_held_budgets_are_no_proof():
    vigil = Vigil()
    for number in range(10):
        assert vigil.see([answered(f"held{number}", 64, 64)]) is None
    for number in range(5):
        assert vigil.see([answered(f"over{number}", 64, 400)]) is None


def test_a_retry_after_is_read_in_both_forms():
    assert retry_after("2.5", now=0.0) == 2.5
    assert retry_after("Thu, 01 Jan 1970 00:01:40 GMT", now=40.0) == 60.0
    assert retry_after("Thu, 01 Jan 1970 00:01:40 GMT", now=400.0) == 0.0
    assert retry_after("soon", now=0.0) is None
    assert retry_after(None, now=0.0) is None
