"""Evaluation sets: what is read, and what is refused with the line that is wrong."""

import json
from pathlib import Path

import pytest

from thinkscale.quality import dataset
from thinkscale.quality.dataset import DatasetError
from thinkscale.quality.graders import Exact, Numeric, Regex

GOOD = {"prompt": "1+1?", "answer": 2, "grader": "numeric"}
SET = Path("set.jsonl")


def lines(*rows: object) -> list[str]:
    return [row if isinstance(row, str) else json.dumps(row) for row in rows]


def test_a_row_is_read_with_its_defaults():
    (row,) = dataset.parse(SET, lines(GOOD), None)
    assert row.messages == ({"role": "user", "content": "1+1?"},)
    assert (row.answer, row.use_case, row.weight, row.name) == ("2", "all", 1.0, "line 1")
    assert row.grader == Numeric()


def test_all_fields_are_read():
    messages = [{"role": "system", "content": "short"}, {"role": "user", "content": "why?"}]
    full = {"id": 7, "messages": messages, "answer": "because", "use_case": "reasons",
            "weight": 2.5, "grader": {"type": "regex", "pattern": "(b.*e)"},
            "metadata": {"mine": 1}}  # fmt: skip
    (row,) = dataset.parse(SET, lines(full), Exact())
    assert row.messages == tuple(messages)
    assert (row.name, row.use_case, row.weight) == ("7", "reasons", 2.5)
    assert row.grader == Regex(pattern="(b.*e)")
    assert row.metadata == {"mine": 1}


def test_the_flag_is_the_grader_of_rows_that_name_none_and_blank_lines_are_skipped():
    plain = {"prompt": "?", "answer": "x"}
    first, second = dataset.parse(SET, lines(plain, "  ", GOOD), Exact())
    assert (first.grader, second.grader) == (Exact(), Numeric())
    assert second.name == "line 3"


def test_a_key_is_of_what_is_asked_alone():
    moved = dataset.parse(SET, lines({"prompt": "other", "answer": "1"}, GOOD), Exact())[1]
    regraded = dataset.parse(SET, lines({**GOOD, "answer": "3", "weight": 9}), None)[0]
    (row,) = dataset.parse(SET, lines(GOOD), None)
    assert row.key == moved.key == regraded.key


def test_the_same_question_twice_has_two_keys():
    first, second = dataset.parse(SET, lines(GOOD, GOOD), None)
    assert first.key != second.key


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{nonsense", "is not JSON"),
        ("[1, 2]", "is not a JSON object"),
        ({"prompt": "?", "anwser": "x"}, "unknown field 'anwser'"),
        ({"answer": "x"}, "needs either messages or prompt"),
        ({**GOOD, "messages": []}, "needs either messages or prompt"),
        ({"prompt": "", "answer": "x"}, "prompt is not text"),
        ({"messages": [], "answer": "x"}, "messages is not a list"),
        ({"messages": [{"content": "x"}], "answer": "x"}, "a message needs a role"),
        ({"messages": [{"role": "user"}], "answer": "x"}, "the user message has no content"),
        ({"prompt": "?"}, "answer is missing"),
        ({"prompt": "?", "answer": True}, "answer is neither text nor a number"),
        ({"prompt": "?", "answer": None}, "answer is neither text nor a number"),
        ({**GOOD, "weight": 0}, "weight is 0"),
        ({**GOOD, "weight": "big"}, "weight is not a number"),
        ({**GOOD, "use_case": " "}, "use_case is not text"),
        ({**GOOD, "grader": "wise"}, "unknown grader 'wise'; known are exact, numeric"),
        ({**GOOD, "grader": {"type": "regex", "pattern": "("}}, "is no regular expression"),
        ({**GOOD, "grader": {"type": "external", "command": "x"}}, "needs a command, as a list"),
        ({**GOOD, "grader": {"type": "exact", "case": 1}}, "grader exact does not know 'case'"),
        ({**GOOD, "grader": {"type": "numeric", "tolerance": 2}}, "tolerance of grader numeric"),
        ({"prompt": "?", "answer": "x"}, "has no grader"),
    ],
)
def test_a_bad_row_is_named_by_its_line(row, said):
    with pytest.raises(DatasetError) as refused:
        dataset.parse(SET, lines({**GOOD, "id": "a"}, row), None)
    assert refused.value.line == 2
    assert str(refused.value).startswith("set.jsonl:2: ")
    assert said in str(refused.value)


def test_an_id_that_comes_twice_is_refused():
    with pytest.raises(DatasetError, match=r"set\.jsonl:2: id 'a' was used in line 1"):
        dataset.parse(SET, lines({**GOOD, "id": "a"}, {**GOOD, "id": "a"}), None)


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_is_refused(tmp_path, content):
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="holds no row"):
        dataset.read(path, None)


def test_lines_end_where_json_lines_end_and_nowhere_else(tmp_path):
    path = tmp_path / "set.jsonl"
    prompt = "one\u2028two\u0085three"
    rows = [json.dumps({**GOOD, "prompt": p}, ensure_ascii=False) for p in (prompt, "four")]
    path.write_bytes("".join(f"{row}\r\n" for row in rows).encode())
    first, second = dataset.read(path, None)
    assert first.messages[0]["content"] == prompt
    assert (second.messages[0]["content"], second.name) == ("four", "line 2")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "binary.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="is not text in UTF-8"):
        dataset.read(path, None)


def test_the_shipped_set_is_read_and_its_answers_are_right():
    examples = Path(__file__).parents[3] / "examples" / "datasets" / "chains.jsonl"
    rows = dataset.read(examples, None)
    assert {row.use_case for row in rows} == {"short", "middle", "long"}
    for row in rows[:200]:
        start, *steps = row.messages[0]["content"].split("#")
        value = int(start)
        for step in steps:
            operator, digit = step.partition(":")[2][0], int(step[-1])
            value = {"+": value + digit, "-": value - digit, "*": value * digit}[operator] % 10
        assert row.answer == str(value)
