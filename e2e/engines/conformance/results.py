"""What a run found: one result a cell, and one a trap. Written as JSON, read by the table."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["holds", "fails", "not possible"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One combination."""

    engine: str
    is_real: bool
    """False: our emulator in its place."""
    output: str
    """How the engine writes thinking: its parser."""
    budget: str
    spelling: str
    """How the client asked."""
    streaming: bool
    verdict: Verdict
    detail: str
    """What was seen; for one that is not possible, why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """One surprise of an engine, and what came of it."""

    engine: str
    name: str
    engine_does: str
    """As seen in this run, without the gateway."""
    gateway_makes: str
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All of it."""

    versions: dict[str, str]
    machine: str
    seconds: dict[str, int]
    """By part."""
    cells: Sequence[Cell]
    traps: Sequence[Trap]

    def write(self, path: Path) -> None:
        """As JSON, one result a line, so that a difference can be read."""
        head = {"versions": self.versions, "machine": self.machine, "seconds": self.seconds}
        lines = [json.dumps(head)[:-1] + ',\n"cells": [']
        lines.append(",\n".join(json.dumps(asdict(cell)) for cell in self.cells))
        lines.append('],\n"traps": [')
        lines.append(",\n".join(json.dumps(asdict(trap)) for trap in self.traps))
        path.write_text("\n".join(lines) + "\n]}\n")


def read(path: Path) -> Run:
    """A run that was written."""
    found = json.loads(path.read_text())
    return Run(
        versions=found["versions"],
        machine=found["machine"],
        seconds=found["seconds"],
        cells=[Cell(**cell) for cell in found["cells"]],
        traps=[Trap(**trap) for trap in found["traps"]],
    )


def merged(run: Run, newer: Run) -> Run:
    """The newer results, and the older ones of what it did not run."""
    cells = {_key(cell): cell for cell in (*run.cells, *newer.cells)}
    traps = {trap.name: trap for trap in (*run.traps, *newer.traps)}
    return Run(
        versions={**run.versions, **newer.versions},
        machine=newer.machine,
        seconds={**run.seconds, **newer.seconds},
        cells=sorted(cells.values(), key=lambda cell: not cell.is_real),
        traps=list(traps.values()),
    )


def _key(cell: Cell) -> tuple[object, ...]:
    return (
        cell.engine,
        cell.is_real,
        cell.output,
        cell.budget,
        cell.spelling,
        cell.streaming,
    )


def machine() -> str:
    """What it ran on, as far as it matters."""
    return f"{platform.machine()}, CPython {platform.python_version()}"
