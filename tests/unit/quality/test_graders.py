"""What counts as a right answer."""

import pytest

from thinkscale.quality.graders import (
    Choice,
    Exact,
    External,
    GraderError,
    Numeric,
    Regex,
    number_of,
    parse_flag,
)  # fmt: skip


@pytest.mark.parametrize(
    ("grader", "given", "expected", "right"),
    [
        (Exact(), " Paris\n", "Paris", True),
        (Exact(), "paris", "Paris", False),
        (Exact(ignore_case=True), "paris", "Paris", True),
        (Numeric(), "So it is 1,234.50 euros.", "1234.5", True),
        (Numeric(), "first 3, then 4", "3", False),
        (Numeric(), r"about 7, hence \boxed{42} (see 3)", "42", True),
        (Numeric(), "3/4", "0.75", True),
        (Numeric(), "−5", "-5", True),
        (Numeric(), "1.5e3", "1500", True),
        (Numeric(), "nothing", "1", False),
        (Numeric(), "7", "seven", False),
        (Numeric(), "1/0", "1", False),
        (Numeric(), "99", "100", False),
        (Numeric(tolerance=0.02), "99", "100", True),
        (Numeric(), "0", "0", True),
        (Choice(), "The answer is (B).", "B", True),
        (Choice(), "A or B? It must be B", "b", True),
        (Choice(), r"\boxed{C}, though A is close", "C", True),
        (Choice(), "Because A is wrong, the answer is: D", "D", True),
        (Choice(), "An apple", "A", False),
        (Choice(), "it isn't here", "T", False),
        (Regex(pattern=r"answer is (\d)"), "answer is 3. No: answer is 4", "4", True),
        (Regex(pattern=r"answer is (\d)"), "answer is 3", "4", False),
        (Regex(pattern=r"answer is (\d)"), "who knows", "4", False),
        (Regex(pattern="(?i)yes"), "oh YES", "whatever", True),
    ],
)
def test_verdicts(grader, given, expected, right):
    assert grader.right(given, expected) is right


def test_numbers_are_exact():
    assert number_of("0.1") * 3 == number_of("0.3")


def test_graders_are_typed_in_one_word():
    assert parse_flag("exact") == Exact()
    assert parse_flag("regex:a:(b)") == Regex(pattern="a:(b)")
    assert parse_flag("external:python grade.py") == External(command=("python", "grade.py"))
    with pytest.raises(GraderError, match="unknown grader 'exact:x'"):
        parse_flag("exact:x")
    with pytest.raises(GraderError, match="needs a pattern"):
        parse_flag("regex")
