"""Runs an external grader: JSON on its standard input, a verdict on its standard output.

It gets `{"id", "use_case", "messages", "answer", "expected", "metadata"}` and says
`{"correct": true}` or `{"correct": false}`, alone on standard output. Anything else (another exit
code, no JSON, too slow) is a failure of the grader and never a wrong answer: the answer is kept,
and graded when the grader is mended.
"""

import asyncio
import hashlib
import json
from typing import Final

from thinkscale.errors import ThinkscaleError
from thinkscale.quality.dataset import DEFAULT_USE_CASE, Row
from thinkscale.quality.graders import External

SHOWN_CHARACTERS: Final = 200


class GraderFailure(ThinkscaleError):
    """The grader gave no verdict."""


def verdict_key(grader: External, row: Row, text: str) -> str:
    """What a verdict depends on: the command, all of the row that it sees, and the answer."""
    parts = [grader.command, row.key, row.answer, text]
    if row.metadata is not None or row.use_case != DEFAULT_USE_CASE:
        parts += [row.use_case, row.metadata]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


async def grade(grader: External, row: Row, text: str) -> bool:
    """Whether the answer is right. GraderFailure."""
    question = {
        "id": row.name,
        "use_case": row.use_case,
        "messages": list(row.messages),
        "answer": text,
        "expected": row.answer,
        "metadata": row.metadata,
    }
    name = grader.command[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *grader.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise GraderFailure(f"the grader {name} cannot be started ({error.strerror})") from error
    try:
        async with asyncio.timeout(grader.timeout_seconds):
            out, said = await process.communicate(json.dumps(question).encode())
    except TimeoutError as error:
        raise GraderFailure(
            f"the grader {name} took more than {grader.timeout_seconds:g} s for {row.name}"
        ) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = " ".join(said.decode(errors="replace").strip().splitlines()[-1:])
        raise GraderFailure(
            f"the grader {name} ended with {process.returncode} for {row.name}: "
            f"{last[:SHOWN_CHARACTERS]}"
        )
    return _verdict(name, row, out)


def _verdict(name: str, row: Row, out: bytes) -> bool:
    try:
        verdict = json.loads(out)["correct"]
    except (ValueError, KeyError, TypeError) as error:
        shown = " ".join(out.decode(errors="replace").split())[:SHOWN_CHARACTERS]
        raise GraderFailure(
            f'the grader {name} said {shown!r} for {row.name} and not {{"correct": true or false}}'
        ) from error
    if not isinstance(verdict, bool):
        raise GraderFailure(f'the grader {name} said "correct": {verdict!r} and not true or false')
    return verdict
