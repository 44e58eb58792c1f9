"""When a request may go to another replica: anew, onward from what its client has, or never."""

import pytest

from thinkscale.gateway.retry import ATTEMPTS, RESUMES, Loss, Retry
from thinkscale.gateway.whole_answer import WholeAnswer, read_answer


def loss(**facts: bool) -> Loss:
    kinds = ("sent", "resumable", "unconnected", "silent", "refused", "alone")
    return Loss(**{kind: facts.get(kind, False) for kind in kinds})


@pytest.mark.parametrize(
    ("facts", "again", "goes_on"),
    [
        ({}, True, False),
        ({"resumable": True}, True, False),
        ({"silent": True}, False, False),
        ({"refused": True}, True, False),
        ({"refused": True, "alone": True}, False, False),
        ({"alone": True}, True, False),
        ({"sent": True}, False, False),
        ({"sent": True, "unconnected": True}, False, False),
        ({"sent": True, "resumable": True}, True, True),
        ({"sent": True, "resumable": True, "silent": True}, True, True),
        ({"sent": True, "resumable": True, "unconnected": True}, True, True),
    ],
)
def test_nothing_is_begun_again_behind_anybodys_back(
    facts: dict[str, bool], again: bool, goes_on: bool
) -> None:
    retry = Retry(connect_seconds=30)
    assert retry.again(loss(**facts), 0) == again
    assert retry.goes_on == goes_on


def test_attempts_and_resumptions_are_bounded() -> None:
    anew, onward = Retry(30), Retry(30)
    assert [anew.again(loss(), 0) for _ in range(3)].count(True) == ATTEMPTS - 1
    going = loss(sent=True, resumable=True)
    assert [onward.again(going, 0) for _ in range(9)].count(True) == RESUMES


def test_replicas_that_take_no_connection_are_looked_beyond_for_a_while_in_one_piece() -> None:
    retry = Retry(connect_seconds=30)
    away = loss(unconnected=True)
    assert [retry.again(away, at) for at in (100, 110, 129, 130)] == [True, True, True, False]
    retry.connected()
    assert retry.again(away, 200)
    assert not retry.is_last


def test_a_whole_answer_tells_its_tokens_or_is_garbled() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 30}
    told = b'{"choices":[{},{}],"usage":{"prompt_tokens":5,"completion_tokens":30,%s}}'
    details = b'"completion_tokens_details":{"reasoning_tokens":21}'
    assert read_answer(told % details) == WholeAnswer(prompt=5, thinking=21, answer=9, choices=2)
    answer = read_answer(told % details)
    assert answer is not None
    assert answer.thinking_of_one == 11
    assert read_answer(told % b'"completion_tokens_details":null') == WholeAnswer(
        prompt=usage["prompt_tokens"], thinking=0, answer=30, choices=2
    )
    assert read_answer(b"{}") == WholeAnswer(prompt=0, thinking=0, answer=0, choices=0)
    for garbled in (
        b"",
        b"[1]",
        b'{"usage":',
        b'{"usage":{"prompt_tokens":"many"}}',
        b'{"usage":3}',
    ):
        assert read_answer(garbled) is None
