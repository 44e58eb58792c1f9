r"""Tells right answers from wrong ones. Pure, but for `External`, which only says what to run.

- exact: the whole answer, but for white space around it (`ignore_case` if told).
- numeric: the last `\boxed{...}`, else the last number; commas, percent signs and fractions are
  read; equal within `tolerance` of the expected value, relative.
- choice: the last single capital letter that stands alone, `\boxed{B}` and "answer is (B)" first.
- regex: what the last match of `pattern` captures is the answer; a pattern without a group must
  only match.
- external: a command that gets the row and the answer as JSON and gives a verdict (`external`).

A verdict is about the answer alone; the thought is never looked at. No answer is a wrong answer.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from thinkscale.errors import ThinkscaleError

NUMBER: Final = re.compile(
    r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?(?:\s*/\s*\d+)?|[-+−]?\.\d+"
)
BOXED: Final = re.compile(r"\\boxed\s*\{\s*(?:\\text\s*\{)?([^{}]*)\}")
TOLD: Final = re.compile(r"answer\s*(?:is|:)\s*\**\(?([A-Z])\b", re.IGNORECASE)
LONE: Final = re.compile(r"(?<![A-Za-z'])\(?([A-Z])\)?(?![A-Za-z'])")


class GraderError(ThinkscaleError):
    """There is no such grader, or it is told something that it does not understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """The whole answer."""

    ignore_case: bool = False

    def right(self, given: str, expected: str) -> bool:
        """Whether it is."""
        one, other = given.strip(), expected.strip()
        return one.casefold() == other.casefold() if self.ignore_case else one == other


@dataclass(frozen=True, slots=True, kw_only=True)
class Numeric:
    """The last number."""

    tolerance: float = 1e-6

    def right(self, given: str, expected: str) -> bool:
        """Whether it is; an expected value that is no number never is."""
        wanted, got = number_of(expected), number_of(given)
        if wanted is None or got is None:
            return False
        return abs(got - wanted) <= self.tolerance * max(abs(wanted), Fraction(1, 10**9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A letter."""

    def right(self, given: str, expected: str) -> bool:
        """Whether it is."""
        wanted = expected.strip().strip("().").upper()
        for pattern in (BOXED, TOLD, LONE):
            found = pattern.findall(given)
            if found:
                return bool(found[-1].strip().strip("().").upper() == wanted)
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Regex:
    """What a pattern finds."""

    pattern: str

    def right(self, given: str, expected: str) -> bool:
        """Whether it is."""
        found = list(re.finditer(self.pattern, given))
        if not found:
            return False
        if found[-1].re.groups == 0:
            return True
        return (found[-1].group(1) or "").strip() == expected.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """A command's verdict."""

    command: tuple[str, ...]
    timeout_seconds: float = 60.0


Pure = Exact | Numeric | Choice | Regex
Grader = Pure | External
NAMES: Final = ("exact", "numeric", "choice", "regex", "external")


def parse_grader(written: Any) -> Grader:
    """A grader by name, or as `{"type": name, ...}`. GraderError."""
    if isinstance(written, str):
        written = {"type": written}
    if not isinstance(written, dict) or not isinstance(written.get("type"), str):
        raise GraderError('grader is neither a name nor {"type": name, ...}; correct it')
    name = written["type"]
    told = {key: value for key, value in written.items() if key != "type"}
    match name:
        case "exact":
            return Exact(ignore_case=_ignore_case(told))
        case "numeric":
            return Numeric(tolerance=_tolerance(told))
        case "choice":
            _nothing_else(told, name)
            return Choice()
        case "regex":
            return Regex(pattern=_pattern(told))
        case "external":
            return _external(told)
    raise GraderError(f"unknown grader {name!r}; known are {', '.join(NAMES)}")


def parse_flag(text: str) -> Grader:
    """A grader as it is typed: `numeric`, `regex:PATTERN`, `external:COMMAND ARG...`."""
    name, colon, rest = text.partition(":")
    if name == "regex" and colon:
        return parse_grader({"type": name, "pattern": rest})
    if name == "external" and colon:
        return parse_grader({"type": name, "command": rest.split()})
    if colon:
        raise GraderError(f"unknown grader {text!r}; known are {', '.join(NAMES)}")
    return parse_grader(name)


def _ignore_case(told: dict[str, Any]) -> bool:
    value = told.pop("ignore_case", False)
    _nothing_else(told, "exact")
    if not isinstance(value, bool):
        raise GraderError(f"ignore_case of grader exact is {value!r}; write true or false")
    return value


def _tolerance(told: dict[str, Any]) -> float:
    value = told.pop("tolerance", 1e-6)
    _nothing_else(told, "numeric")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise GraderError(f"tolerance of grader numeric is {value!r}; give 0 to below 1")
    return float(value)


def _nothing_else(told: dict[str, Any], name: str) -> None:
    if told:
        raise GraderError(f"grader {name} does not know {sorted(told)[0]!r}; remove it")


def _pattern(told: dict[str, Any]) -> str:
    pattern = told.pop("pattern", None)
    _nothing_else(told, "regex")
    if not isinstance(pattern, str):
        raise GraderError("grader regex needs a pattern")
    try:
        re.compile(pattern)
    except re.error as error:
        raise GraderError(f"the pattern {pattern!r} is no regular expression: {error}") from error
    return pattern


def _external(told: dict[str, Any]) -> External:
    command, seconds = told.pop("command", None), told.pop("timeout_seconds", 60.0)
    _nothing_else(told, "external")
    words = isinstance(command, list) and all(isinstance(word, str) for word in command)
    if not words or not command:
        raise GraderError('grader external needs a command, as a list: ["python", "grade.py"]')
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        raise GraderError("timeout_seconds of grader external is not a number above 0")
    return External(command=tuple(command), timeout_seconds=float(seconds))


def number_of(text: str) -> Fraction | None:
    """The number that a text comes to: `1,234.5`, `3/4`, `-2e3`; None: it has none."""
    boxed = BOXED.findall(text)
    found = NUMBER.findall(boxed[-1]) if boxed else []
    found = found or NUMBER.findall(text)
    if not found:
        return None
    plain = re.sub(r"[,\s]", "", found[-1]).replace("−", "-")
    top, _, bottom = plain.partition("/")
    try:
        return Fraction(top) / (Fraction(bottom) if bottom else 1)
    except (ValueError, ZeroDivisionError):
        return None
