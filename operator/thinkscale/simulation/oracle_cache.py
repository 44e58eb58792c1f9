"""Plans of the oracle that were found before, so that a comparison need not search again.

A plan is kept as JSON under `$XDG_CACHE_HOME/thinkscale/oracle` by a hash of all that it depends
on: the scenario, the question and the source of every module that finding it runs through. Only
the plan is kept; its outcome is simulated anew. A cache that cannot be read or written is no
error: the search is just done again.
"""

import ast
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from thinkscale.simulation.clairvoyance import Levels
from thinkscale.simulation.scenario import Scenario

PACKAGE: Final = "thinkscale"
ROOT: Final = "thinkscale.simulation.oracle"


def key(scenario: Scenario, question: str) -> str:
    """What a plan for this scenario is kept under. The policy's knowledge (priors, scrapes) is no
    part of it: the oracle does not use it.
    """
    digest = hashlib.sha256(question.encode())
    workload, intent = scenario.workload, scenario.intent
    for column in (
        workload.at_seconds,
        workload.prompt_tokens,
        workload.thinking_tokens,
        workload.answer_tokens,
    ):
        digest.update(np.ascontiguousarray(column).tobytes())
    limits = (scenario.initial_replicas, intent.min_replicas, intent.max_replicas)
    asked = (limits, intent.gpus_per_replica, intent.objectives, intent.budget.max_tokens)
    times = (scenario.duration_seconds, scenario.warm_up_seconds)
    fate = (scenario.seed, scenario.boot, scenario.faults.crashes_at_seconds)
    facts = (scenario.profile, scenario.gateways, fate, asked, times)
    digest.update(repr(facts).encode())
    digest.update(sources(ROOT).encode())
    return digest.hexdigest()[:32]


def load(found: str) -> Levels | None:
    """The plan of this key; None: it is not known."""
    try:
        kept = json.loads(_path(found).read_text())
        return np.repeat(
            np.array(kept["replicas"], dtype=np.int64), np.array(kept["cells"], dtype=np.int64)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store(found: str, levels: Levels, about: Mapping[str, object]) -> None:
    """Keep a plan; `about` is for who looks at the file."""
    begins = np.concatenate(([0], np.flatnonzero(np.diff(levels)) + 1))
    cells = np.diff(np.append(begins, len(levels)))
    text = json.dumps(
        {**about, "replicas": levels[begins].tolist(), "cells": cells.tolist()}, sort_keys=True
    )
    path = _path(found)
    part = path.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_text(text)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@cache
def sources(module: str) -> str:
    """A hash over the source of a module and of all of this package that it imports."""
    digest = hashlib.sha256()
    for name, text in sorted(imported(module).items()):
        digest.update(name.encode())
        digest.update(text)
    return digest.hexdigest()


def imported(root: str) -> dict[str, bytes]:
    """Source by name: a module and all of this package that it imports."""
    texts: dict[str, bytes] = {}
    pending = [root]
    while pending:
        name = pending.pop()
        spec = None if name in texts else find_spec(name)
        if spec is None or spec.origin is None:
            continue
        texts[name] = Path(spec.origin).read_bytes()
        for node in ast.walk(ast.parse(texts[name])):
            source = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            if isinstance(node, ast.ImportFrom) and source.startswith(PACKAGE):
                pending.append(source)
                inner = (f"{source}.{alias.name}" for alias in node.names)
                pending.extend(name for name in inner if _is_module(name))
    return texts


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _path(found: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / PACKAGE / "oracle" / f"{found}.json"
