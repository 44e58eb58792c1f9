"""Arguments and mistakes, the same way for every command that a person types.

A mistake gets exactly one line on stderr that says what is wrong and how to mend it, and exit code
2; no usage text, no traceback. `--help` has the rest.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

from thinkscale.errors import ThinkscaleError

MISUSE: Final = 2
INTERRUPTED: Final = 130


class Misuse(ThinkscaleError):
    """Something that was typed cannot be meant; the message is one line."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """Say it, and leave."""
        print(f"{self.prog}: {one_line(message)} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(MISUSE)


def parser(command: str, description: str) -> Parser:
    """The parser of `thinkscale COMMAND`."""
    return Parser(prog=f"thinkscale {command}", description=description, allow_abbrev=False)


def guarded(command: str, run: Callable[[Sequence[str]], int]) -> Callable[[Sequence[str]], int]:
    """A command's `main`: what it raises on purpose becomes one line and exit code 2."""

    def main(argv: Sequence[str]) -> int:
        try:
            return run(argv)
        except ThinkscaleError as error:
            print(f"thinkscale {command}: {one_line(str(error))}", file=sys.stderr)
            return MISUSE
        except KeyboardInterrupt:
            print(f"thinkscale {command}: interrupted", file=sys.stderr)
            return INTERRUPTED

    return main


def one_line(text: str) -> str:
    """Line breaks become spaces."""
    return " ".join(text.split())


def whole(text: str) -> int:
    """A whole number of at least 0, for argparse."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return value


def counting(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if (value := whole(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not at least 1")
    return value


def nonnegative(text: str) -> float:
    """A number of at least 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def share(text: str) -> float:
    """More than 0 and at most 1, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share: more than 0, at most 1")
    return value


def listed(text: str) -> list[str]:
    """Words separated by commas, for argparse."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise argparse.ArgumentTypeError("the list is empty")
    return words


def whole_list(text: str) -> list[int]:
    """Whole numbers: `1,2,3` or `11-16`."""
    numbers: list[int] = []
    for word in listed(text):
        first, dash, last = word.partition("-")
        low, high = whole(first), whole(last) if dash else whole(first)
        if high < low:
            raise argparse.ArgumentTypeError(f"{word!r} counts down")
        numbers += range(low, high + 1)
    return list(dict.fromkeys(numbers))


def writable(path: Path | None) -> None:
    """Refuse a file that could not be written, before hours of work. Misuse: it cannot."""
    if path is None:
        return
    if path.is_dir():
        raise Misuse(f"{path} is a directory; give a file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            pass
    except OSError as error:
        raise Misuse(f"{path} cannot be written ({error.strerror}); give another file") from error
