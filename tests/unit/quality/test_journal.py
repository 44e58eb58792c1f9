"""The record of what was paid for: it survives crashes, and counts honestly."""

import json
from pathlib import Path

import pytest

from thinkscale.engines.dialect import Route
from thinkscale.quality.calls import Call, Reply, ReplyError, reply_of
from thinkscale.quality.journal import Journal, JournalError
from thinkscale.quality.settings import Method, Settings
from thinkscale.quality.spending import Limits, Spending

SETTINGS = Settings(
    model="m", method=Method.REUSE, temperature=0.0, answer_tokens=10, request_tokens=None,
    budget_field="thinking_token_budget",
)  # fmt: skip
REPLY = Reply(
    text="4", finish_reason="stop", prompt_tokens=7, output_tokens=5, thought_tokens=None,
    thought_characters=0, prompt_ids=(1, 2), token_ids=(3, 4, 5),
)  # fmt: skip


def call(key: str = "row#0/full") -> Call:
    return Call(
        key=key, route=Route.CHAT, body={"max_tokens": 90}, most_output_tokens=90,
        most_prompt_tokens=10,
    )  # fmt: skip


def test_a_reply_is_found_again_as_it_was(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.begin(SETTINGS)
    journal.sent(call())
    journal.done(call(), REPLY)
    journal.judged("v", right=True)
    journal.close()
    again = Journal(tmp_path)
    again.begin(SETTINGS)
    assert again.past.replies == {"row#0/full": REPLY}
    assert again.past.verdicts == {"v": True}
    assert (again.past.requests, again.past.tokens) == (1, 12)
    again.close()


def test_a_line_that_a_crash_tore_is_cut_off(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.begin(SETTINGS)
    journal.sent(call())
    journal.done(call(), REPLY)
    journal.close()
    with journal.path.open("ab") as file:
        file.write(b'{"type":"done","key":"other#0/full","reply":{"te')
    again = Journal(tmp_path)
    again.begin(SETTINGS)
    again.judged("v", right=False)
    again.close()
    last = Journal(tmp_path)
    assert set(last.past.replies) == {"row#0/full"}
    assert last.past.verdicts == {"v": False}
    last.close()


def test_what_was_under_way_when_it_died_counts_as_spent(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.begin(SETTINGS)
    journal.sent(call())
    journal.close()
    again = Journal(tmp_path)
    assert (again.past.requests, again.past.tokens) == (1, 10)
    again.close()


def test_refused_costs_nothing_and_lost_costs_a_request(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.sent(call("a"))
    journal.lost(call("a"), "HTTP 429", processed=False)
    journal.sent(call("b"))
    journal.lost(call("b"), "reset", processed=True)
    assert (journal.past.requests, journal.past.tokens) == (1, 10)
    journal.close()


def test_only_one_sweep_may_write(tmp_path: Path):
    journal = Journal(tmp_path)
    with pytest.raises(JournalError, match="another sweep writes there"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


@pytest.mark.parametrize(
    "line", ['{"type":"head","version":99,"settings":{}}', '{"type":"other"}', "[]", "nonsense"]
)
def test_a_record_of_somebody_else_is_left_alone(tmp_path: Path, line: str):
    file = tmp_path / "journal.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(JournalError, match=r"journal.jsonl:1: is not a record of this version"):
        Journal(tmp_path)
    assert file.read_text() == line + "\n"


def test_a_second_look_is_one_only_if_there_is_more_to_see(tmp_path: Path):
    journal = Journal(tmp_path)
    for answers in (10, 10, 20):
        journal.looked(answers)
    assert journal.past.looks == 2
    journal.close()


def test_what_is_under_way_is_held_back_from_the_limit():
    spending = Spending(Limits(requests=3, tokens=250))
    spending.send(call())
    spending.send(call())
    assert "does not hold one more request of up to 100" in str(spending.refusal(call()))
    spending.settle(call(), REPLY)  # 12 of its 100
    assert spending.refusal(call()) is None
    spending.send(call())
    assert spending.refusal(call()) == "--max-requests 3 is used up"
    spending.lose(call(), processed=False)
    assert spending.refusal(call()) is None
    spending.send(call())
    spending.lose(call(), processed=True)
    assert (spending.requests, spending.tokens) == (3, 12 + 10)


def test_a_reply_of_another_shape_is_an_error():
    for payload in ({}, {"choices": []}, {"choices": ["x"]}, [], None):
        with pytest.raises(ReplyError, match="has not OpenAI's shape"):
            reply_of(payload)


def test_replies_are_read_in_every_spelling():
    chat = {
        "choices": [{"message": {"content": "4", "reasoning_content": "2+2"},
                     "finish_reason": "stop", "token_ids": [1, 2]}],
        "prompt_token_ids": [9],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2,
                  "completion_tokens_details": {"reasoning_tokens": 1}},
    }  # fmt: skip
    reply = reply_of(json.loads(json.dumps(chat)))
    assert (reply.text, reply.thought_tokens, reply.thought_characters) == ("4", 1, 3)
    assert (reply.prompt_ids, reply.token_ids, reply.tokens) == ((9,), (1, 2), 3)
    raw = reply_of({"choices": [{"text": "x" * 40, "finish_reason": "length"}]})
    assert (raw.output_tokens, raw.token_ids, raw.thought_tokens) == (10, None, None)
