"""Reads an evaluation set: one JSON object a line, with what is asked and what is right.

A row has `messages` (OpenAI's) or `prompt` (one user message), the expected `answer`, and may have
`id`, `use_case`, `weight`, `grader` and `metadata`. Nothing is guessed: an unknown field is a
mistake, since a misspelt `answer` or `grader` would be paid for before it is seen. Mistakes name
the line. A row's key is made of what is asked, so that answers already paid for are found again
when rows are added, moved or re-graded.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from thinkscale.errors import ThinkscaleError
from thinkscale.quality.graders import Grader, GraderError, parse_grader

FIELDS: Final = frozenset(
    {"id", "messages", "prompt", "answer", "use_case", "weight", "grader", "metadata"}
)
DEFAULT_USE_CASE: Final = "all"
KEY_LENGTH: Final = 16
MOST_WEIGHT: Final = 1e6


class DatasetError(ThinkscaleError):
    """An evaluation set that cannot be used: file, line and mend."""

    def __init__(self, path: Path, line: int | None, message: str) -> None:
        super().__init__(f"{path}{'' if line is None else f':{line}'}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question."""

    key: str
    """Hash of the messages, and a count where a question comes twice."""
    name: str
    """The row's `id`, or its line."""
    messages: tuple[dict[str, Any], ...]
    answer: str
    use_case: str
    weight: float
    grader: Grader
    metadata: Any = None
    """The user's own; an external grader sees it."""


def read(path: Path, default: Grader | None) -> list[Row]:
    """All rows. DatasetError: the first line that cannot be used."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror
        raise DatasetError(path, None, f"cannot be read ({reason}); give a JSONL file") from error
    except UnicodeDecodeError as error:
        raise DatasetError(path, None, "is not text in UTF-8; give a JSONL file") from error
    return parse(path, text.split("\n"), default)  # JSON may hold U+2028 as it is


def parse(path: Path, lines: Iterable[str], default: Grader | None) -> list[Row]:
    """Rows of a file's lines; `default`: the grader of rows that name none. DatasetError."""
    rows: list[Row] = []
    seen: Counter[str] = Counter()
    names: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _Line(path, number, line).row(default, seen)
        if row.name in names:
            raise DatasetError(
                path, number, f"id {row.name!r} was used in line {names[row.name]}; ids are unique"
            )
        names[row.name] = number
        rows.append(row)
    if not rows:
        raise DatasetError(path, None, "holds no row; give one JSON object a line")
    return rows


class _Line:
    """One line, and how to complain about it."""

    def __init__(self, path: Path, number: int, text: str) -> None:
        self._path = path
        self._number = number
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise self._wrong(f"is not JSON ({error}); write one object a line") from error
        if not isinstance(fields, dict):
            raise self._wrong("is not a JSON object; write {...} with messages and answer")
        self._fields: dict[str, Any] = fields

    def _wrong(self, message: str) -> DatasetError:
        return DatasetError(self._path, self._number, message)

    def row(self, default: Grader | None, seen: Counter[str]) -> Row:
        """The row of this line; `seen` counts questions."""
        unknown = sorted(self._fields.keys() - FIELDS)
        if unknown:
            known = ", ".join(sorted(FIELDS))
            raise self._wrong(
                f"unknown field {unknown[0]!r}; known are {known} (your own go into metadata)"
            )
        messages = self._messages()
        answer = self._answer()
        grader = self._grader(default)
        digest = hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()
        key = digest[:KEY_LENGTH]
        seen[key] += 1
        return Row(
            key=key if seen[key] == 1 else f"{key}.{seen[key]}",
            name=self._text("id", f"line {self._number}"),
            messages=tuple(messages),
            answer=answer,
            use_case=self._text("use_case", DEFAULT_USE_CASE),
            weight=self._weight(),
            grader=grader,
            metadata=self._fields.get("metadata"),
        )

    def _messages(self) -> list[dict[str, Any]]:
        has = [name for name in ("messages", "prompt") if name in self._fields]
        if len(has) != 1:
            raise self._wrong("needs either messages or prompt; give one of them")
        if has == ["prompt"]:
            prompt = self._fields["prompt"]
            if not isinstance(prompt, str) or not prompt:
                raise self._wrong("prompt is not text; write a string that is not empty")
            return [{"role": "user", "content": prompt}]
        messages = self._fields["messages"]
        if not isinstance(messages, list) or not messages:
            raise self._wrong("messages is not a list of messages; see OpenAI's chat format")
        for message in messages:
            if not isinstance(message, dict) or not isinstance(message.get("role"), str):
                raise self._wrong("a message needs a role and a content; see OpenAI's chat format")
            if "content" not in message:
                raise self._wrong(f"the {message['role']} message has no content; give it one")
        return messages

    def _answer(self) -> str:
        if "answer" not in self._fields:
            raise self._wrong("answer is missing; give what a right answer is")
        answer = self._fields["answer"]
        if isinstance(answer, bool) or not isinstance(answer, str | int | float):
            raise self._wrong("answer is neither text nor a number; write what is right")
        return answer if isinstance(answer, str) else f"{answer}"

    def _text(self, name: str, default: str) -> str:
        value = self._fields.get(name)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(f"{name} is not text; write a string that is not empty")
        return value.strip()

    def _weight(self) -> float:
        value = self._fields.get("weight", 1)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong("weight is not a number; write one above 0")
        if not 0 < value <= MOST_WEIGHT:
            raise self._wrong(f"weight is {value:g}; write a number above 0, up to 1,000,000")
        return float(value)

    def _grader(self, default: Grader | None) -> Grader:
        written = self._fields.get("grader")
        if written is None:
            if default is None:
                raise self._wrong("has no grader; name one here, or for all rows with --grader")
            return default
        try:
            return parse_grader(written)
        except GraderError as error:
            raise self._wrong(str(error)) from error


def use_cases(rows: Sequence[Row]) -> list[str]:
    """The use cases in the order of their first rows."""
    return list(dict.fromkeys(row.use_case for row in rows))
