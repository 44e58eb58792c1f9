"""Streams without token ids: handles count like ids, and say what was said."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkscale.engines import DIALECTS
from thinkscale.engines.dialect import Question, Route, Tags
from thinkscale.engines.sglang_requests import SglangReader
from thinkscale.engines.tgi_requests import TgiReader, leaves_open

TAGS = Tags(
    open_id=7, close_id=8, closing_ids=(1, 8, 2), nudge_ids=(3, 4), template_opens=True, parses=True
)
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}


def tgi(tags: Tags = TAGS) -> TgiReader:
    return TgiReader(Route.CHAT, CHAT, tags)


def token(text: str, reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}


def sglang_chunk(
    *, thinking: str | None = None, text: str | None = None, told: int | None = None, **end: Any
) -> dict[str, Any]:
    choice = {
        "index": 0,
        "delta": {"role": None, "content": text, "reasoning_content": thinking},
        "finish_reason": None,
        **end,
    }
    return {"choices": [choice], "usage": None if told is None else {"completion_tokens": told}}


@given(st.lists(st.text(max_size=4)))
def test_what_was_said_is_the_text_of_its_handles_one_a_token(texts: list[str]) -> None:
    reader = tgi()
    handles: list[int] = []
    for text in texts:
        handles += reader.read(token(text)).token_ids or ()
    assert len(handles) == len(texts)
    assert reader.text(handles) == "".join(texts)


def test_the_tags_have_handles_only_where_they_are_tokens() -> None:
    reader = tgi()
    assert reader.read(token("</think>")).token_ids == (reader.tags.close_id,)
    assert reader.text(reader.tags.closing_ids) == "\n</think>\n\n"
    assert reader.text(reader.tags.nudge_ids) == "\nWait,"
    assert len(reader.tags.closing_ids) == 3
    assert tgi(Tags(closing_ids=(1,))).tags.close_id is None


@pytest.mark.parametrize(
    ("reason", "read", "stopped"),
    [("", None, None), ("eos_token", "stop", None), ("length", "length", None),
     ("stop_sequence", "stop", "stop_sequence")],
)  # fmt: skip
def test_tgis_own_finish_reasons_are_told_in_openais_words(
    reason: str, read: str | None, stopped: str | None
) -> None:
    chunk = tgi().read({"choices": [{"index": 0, "text": "<|end|>", "finish_reason": reason}]})
    assert (chunk.finish_reason, chunk.stop_reason) == (read, stopped)
    assert chunk.text == ("" if reason == "eos_token" else "<|end|>")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"error": "Model is overloaded", "error_type": "overloaded"}, 503),
        ({"error": {"message": "Model is overloaded", "http_status_code": 422}}, 503),
        ({"error": {"message": "Input validation error: x", "http_status_code": 422}}, 422),
        ({"error": "Input validation error: x", "error_type": "validation"}, 422),
        ({"error": "Request failed during generation: x", "error_type": "generation"}, 500),
        ({"error": {"message": "Incomplete generation", "http_status_code": 422}}, 500),
        ({"error": "never heard of", "error_type": "new"}, 500),
    ],
)
def test_tgis_errors_inside_http_200_say_whose_fault_it_is(
    payload: dict[str, Any], code: int
) -> None:
    error = tgi().read(payload).error
    assert error is not None
    assert error["code"] == code
    assert set(error) == {"message", "type", "param", "code"}


def test_refusals_of_every_engine_are_told_in_openais_shape() -> None:
    flat = b'{"object":"error","message":"too long","type":"BadRequest","code":400}'
    assert b'"error":{"message":"too long"' in DIALECTS["SGLang"].refusal(400, flat)
    named = b'{"error":"Input validation error: x","error_type":"validation"}'
    assert b'"code":422' in DIALECTS["TGI"].refusal(422, named)
    for name in ("TGI", "SGLang"):
        assert b"<html>" in DIALECTS[name].refusal(502, b"<html>")
        assert b"detail" in DIALECTS[name].refusal(404, b'{"detail":"x"}')


def test_sglangs_running_usage_counts_what_its_parser_hides() -> None:
    reader = SglangReader(CHAT, TAGS)
    thought = reader.read(sglang_chunk(thinking="so", told=1))
    more = reader.read(sglang_chunk(thinking=" it is", told=3))
    answer = reader.read(sglang_chunk(text="yes", told=5))
    end = reader.read(sglang_chunk(finish_reason="stop", matched_stop=151645))
    ids = [list(chunk.token_ids or ()) for chunk in (thought, more, answer, end)]
    assert [len(each) for each in ids] == [1, 2, 2, 1]
    assert ids[2][0] == reader.tags.close_id
    assert end.stop_reason is None
    assert reader.text([handle for each in ids for handle in each]) == "so it is</think>yes"


def test_a_step_that_ends_the_thought_and_begins_the_answer_is_told_apart() -> None:
    reader = SglangReader(CHAT, TAGS)
    both = sglang_chunk(thinking="so it is", told=5)
    both["usage"]["reasoning_tokens"] = 3
    assert len(reader.read(both).token_ids or ()) == 3
    assert len(reader.read(sglang_chunk(text="yes", told=5)).token_ids or ()) == 2


def test_the_words_of_a_function_call_are_counted_too() -> None:
    reader = SglangReader(CHAT, TAGS)
    reader.read(sglang_chunk(thinking="so", told=1))
    call = sglang_chunk(told=6)
    call["choices"][0]["delta"]["tool_calls"] = [{"function": {"arguments": "{}"}}]
    again = sglang_chunk(told=6)
    again["choices"][0]["delta"]["tool_calls"] = [{"function": {"arguments": "{}"}}]
    assert len(reader.read(call).token_ids or ()) == 5  # the tag is one of them
    assert reader.read(again).token_ids == ()


def test_a_thought_that_the_model_opened_itself_has_its_tag_back() -> None:
    reader = SglangReader(CHAT, Tags(open_id=7, close_id=8, parses=True))
    ids = reader.read(sglang_chunk(thinking="so", told=2)).token_ids or ()
    assert reader.text(ids) == "<think>so"


@pytest.mark.parametrize("switch", ["enable_thinking", "thinking"])
@pytest.mark.parametrize("opens_when_off", [True, False])
def test_a_switch_closes_the_thought_only_where_the_template_obeys_it(
    switch: str, opens_when_off: bool
) -> None:
    tags = Tags(open_id=7, close_id=8, template_opens=True, opens_when_off=opens_when_off)
    off = SglangReader(CHAT | {"chat_template_kwargs": {switch: False}}, tags)
    on = SglangReader(CHAT | {"chat_template_kwargs": {switch: True}}, tags)
    assert (off.opened, on.opened) == (opens_when_off, True)


def test_sglang_is_asked_how_a_chat_without_thinking_begins() -> None:
    dialect = DIALECTS["SGLang"]
    off = dialect.tag_questions("m")[-1]
    assert off.body is not None
    assert off.body["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False}
    tag = [{"tokens": [5]}, {"tokens": [6]}, {"tokens": [6]}, {"tokens": [9]}]
    rendered = {"tokens": [1, 5]}
    closed = {"tokens": [1, 5, 6]}
    assert dialect.tags([*tag, None, None, rendered, rendered]).opens_when_off
    assert not dialect.tags([*tag, None, None, rendered, closed]).opens_when_off
    assert not dialect.tags([*tag, None, None, rendered, None]).opens_when_off


def test_a_stop_string_is_no_natural_end() -> None:
    reader = SglangReader(CHAT, TAGS)
    end = reader.read(sglang_chunk(finish_reason="stop", matched_stop="END"))
    assert end.stop_reason == "END"
    assert end.token_ids == ()


def test_tgi_goes_on_behind_the_rendered_chat_without_its_first_token() -> None:
    reader = tgi()
    said = reader.read(token("so")).token_ids or ()
    (question,) = reader.prompt_questions(said, "m")
    assert question.path == "/chat_tokenize"
    assert question.body == {"model": "tgi", "messages": CHAT["messages"]}
    told = {"templated_text": "<s>user: hi<think>\n", "tokenize_response": [{}, {}, {}]}
    prompt = reader.prompt(said, [told])
    assert prompt is not None
    assert (prompt.value, prompt.tokens) == ("user: hi<think>\nso", 3)
    assert reader.prompt(said, [None]) is None


def test_tgi_counts_a_raw_prompt_and_estimates_it_where_it_does_not_tell() -> None:
    reader = TgiReader(Route.COMPLETIONS, {"prompt": "why <think>\n"}, TAGS)
    said = reader.read({"choices": [{"index": 0, "text": "so"}]}).token_ids or ()
    (question,) = reader.prompt_questions(said, "m")
    assert question == Question(path="/tokenize", body={"inputs": "why <think>\n"})
    for answer, tokens in (([{"id": 0}, {"id": 7}, {"id": 9}, {"id": 8}], 4), (None, 3)):
        prompt = reader.prompt(said, [answer])
        assert prompt is not None
        assert (prompt.value, prompt.tokens) == ("why <think>\nso", tokens)


def test_sglang_goes_on_behind_ids() -> None:
    reader = SglangReader(CHAT | {"chat_template_kwargs": {"a": 1}}, TAGS)
    said = reader.read(sglang_chunk(thinking="so", told=1)).token_ids or ()
    chat, text = reader.prompt_questions(said, "m")
    assert chat.body == {
        "model": "m", "messages": CHAT["messages"], "chat_template_kwargs": {"a": 1}
    }  # fmt: skip
    assert text.body == {"model": "m", "prompt": "so", "add_special_tokens": False}
    prompt = reader.prompt(said, [{"tokens": [1, 2]}, {"tokens": [9]}])
    assert prompt is not None
    assert (prompt.value, prompt.tokens) == ([1, 2, 9], 2)
    assert reader.prompt(said, [{"tokens": [1, 2]}, None]) is None


def test_what_an_engine_cannot_tell_leaves_nothing_to_go_on_behind() -> None:
    for name in ("TGI", "SGLang", "VLLM"):
        dialect = DIALECTS[name]
        silence = [None] * len(dialect.tag_questions("m"))
        tags = dialect.tags(silence)
        assert not (tags.closing_ids)
        assert not (tags.nudge_ids)
        assert not (tags.template_opens)


def test_a_chat_that_cannot_be_rendered_cannot_be_gone_on_with() -> None:
    dialect = DIALECTS["SGLang"]
    tokens = {"tokens": [5]}
    tags = dialect.tags([tokens, tokens, tokens, tokens, None, None, None, None])
    assert dialect.reader(Route.COMPLETIONS, {"prompt": "x"}, tags).tags.closing_ids == (5,)
    assert dialect.reader(Route.CHAT, CHAT, tags).tags.closing_ids == ()


def test_a_tgi_without_a_chat_template_goes_on_with_completions_alone() -> None:
    dialect = DIALECTS["TGI"]
    token = [{"id": 5, "text": "x", "start": 0, "stop": 1}]
    tags = dialect.tags([token, token, token, token, {"max_total_tokens": 9}, None])
    assert tags.context_tokens == 9
    assert dialect.reader(Route.CHAT, CHAT, tags).tags.closing_ids == ()
    reader = dialect.reader(Route.COMPLETIONS, {"prompt": "x <think>"}, tags)
    assert reader.opened
    assert isinstance(reader, TgiReader)
    assert reader.text(reader.tags.closing_ids) == "\n</think>\n\n"
    ids = dialect.reader(Route.COMPLETIONS, {"prompt": [1, 2]}, tags)
    assert ids.tags.closing_ids == ()


def test_only_the_first_choice_of_several_is_counted() -> None:
    reader = SglangReader(CHAT, TAGS)
    second = sglang_chunk(thinking="so", told=5)
    second["choices"][0]["index"] = 1
    assert reader.read(second).token_ids is None
    assert len(reader.read(sglang_chunk(thinking="so", told=1)).token_ids or ()) == 1


def test_a_native_budget_is_spelled_as_each_engine_reads_it() -> None:
    def sent(name: str) -> dict[str, Any]:
        return DIALECTS[name].first_body(CHAT, model="m", native_budget=9, most_tokens=None)

    assert sent("VLLM")["thinking_token_budget"] == 9
    assert sent("SGLang")["custom_params"] == {"thinking_budget": 9}
    assert "thinking_token_budget" not in sent("SGLang")
    assert not {"thinking_token_budget", "custom_params"} & sent("TGI").keys()


def test_tgi_is_never_sent_a_limit_twice_nor_an_adapters_name() -> None:
    body = {**CHAT, "max_tokens": 50, "max_completion_tokens": 40, "n": 2, "min_tokens": 5}
    for write in (DIALECTS["TGI"].first_body, DIALECTS["TGI"].plain_body):
        out = write(body, model="alias", native_budget=None, most_tokens=45)
        assert out["max_tokens"] == 40
        assert out["model"] == "tgi"
        assert not {"max_completion_tokens", "n", "min_tokens"} & out.keys()


def test_questions_without_a_body_are_gets() -> None:
    assert Question(path="/info") in DIALECTS["TGI"].tag_questions("m")
    assert Question(path="/get_server_info") in DIALECTS["SGLang"].tag_questions("m")


@pytest.mark.parametrize(
    ("prompt", "is_open"),
    [("<think>\n", True), ("<think>a</think>", False), ("", False), ("</think><think>", True)],
)
def test_a_prompt_shows_whether_a_thought_is_open(prompt: str, is_open: bool) -> None:
    assert leaves_open(prompt) is is_open
