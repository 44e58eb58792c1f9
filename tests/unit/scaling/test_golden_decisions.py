"""Decisions recorded with their inputs: whoever changes the law sees what it changes.

A file holds an intent, an observation, the state before and the instant, and what was decided:
replicas, cordon, reason, limit, message, the directive and the numbers. `UPDATE_GOLDEN=1` writes
the decisions anew; the inputs stay.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scaling.recording import decided, read

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*.json"))


def test_there_are_recorded_decisions() -> None:
    assert len(FILES) >= 6


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_same_inputs_are_decided_as_they_were(path: Path) -> None:
    recorded: dict[str, Any] = json.loads(path.read_text())
    now = decided(read(recorded["inputs"]))
    if os.environ.get("UPDATE_GOLDEN"):  # writes what is compared below, on purpose
        text = json.dumps(recorded | {"decision": now}, separators=(",", ":"))
        path.write_text(text + "\n")
    assert now.pop("numbers") == pytest.approx(recorded["decision"].pop("numbers"), rel=1e-9)
    assert now == recorded["decision"]
