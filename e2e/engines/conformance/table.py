"""`python -m e2e.engines.conformance.table`: makes docs/conformance.md from docs/conformance.json.

A cell that fails is shown as such: the page says what the last run found, and nothing else.
"""

from collections.abc import Iterable, Sequence

from e2e.engines.conformance.results import Cell, Run, Trap, read
from e2e.harness.cache import REPOSITORY

RESULTS = REPOSITORY / "docs" / "conformance.json"
PAGE = REPOSITORY / "docs" / "conformance.md"
MARKS = {"holds": "yes", "fails": "**no**", "not possible": "n/a"}

HEAD = """# Conformance

What the gateway holds, by engine, kind of budget, spelling and streaming. Generated from
[conformance.json](conformance.json) by `python -m e2e.engines.conformance.table`; the results come
from `make test-engines`, which runs every cell with real processes and real HTTP. Tokens are
counted by the engine's own tokenizer from the text that the client received, and compared with what
the usage tells.

The vLLM cells come from the real vLLM {vllm} (its CPU build, with a tiny model whose thoughts have
known lengths), and once more from the emulator, so that it cannot drift away. {others}
The last run took {minutes:.0f} minutes on {machine}.

In each cell: streamed, then as one document. `yes`: it holds. `n/a`: this engine cannot be asked
for it; see below.
"""
OTHERS = "Cells of engines that do not run without a GPU say **emulator only**."

TRIED = """
Tried before use (`thinking.nativeBudgetCheck: BeforeUse`): the first request waits until the
replica has been tried. One that keeps its native budget is let in and believed; one that does not
is found out by then, and its budgets are held by the gateway alone. Such a one is a real vLLM whose
budget waits for the tag of another model (`--reasoning-config`), one without a parser, an SGLang
without strict thinking, an emulator that ignores it.
"""


def page(run: Run) -> str:
    """The whole page."""
    head = HEAD.format(
        vllm=run.versions["vLLM"],
        others=OTHERS,
        minutes=max(1, sum(run.seconds.values()) / 60),
        machine=run.machine,
    )
    parts = [head, _budgets(run.cells), _spellings(run.cells), _seen(run.cells)]
    parts += [_impossible(run.cells), _failed(run), _traps(run.traps)]
    return "\n".join(part for part in parts if part)


def _column(cell: Cell) -> str:
    where = "real" if cell.is_real else "emulator only"
    if not cell.is_real and cell.engine.startswith("vLLM"):
        where = "emulator"
    return f"{cell.engine}, {cell.output} ({where})"


def _budgets(cells: Sequence[Cell]) -> str:
    own = [cell for cell in cells if cell.spelling == "the resource"]
    return "## Budgets\n\n" + _grid("budget", own, [cell.budget for cell in own]) + TRIED


def _spellings(cells: Sequence[Cell]) -> str:
    asked = [cell for cell in cells if cell.spelling != "the resource"]
    text = "## Spellings of a client's wish\n\nEach asks for less than the resource's maximum.\n\n"
    return text + _grid("spelling", asked, [cell.spelling for cell in asked])


def _grid(what: str, cells: Sequence[Cell], names: Iterable[str]) -> str:
    """Columns are servers; in each cell, streamed and whole."""
    columns = list(dict.fromkeys(_column(cell) for cell in cells))
    rows = list(dict.fromkeys(names))
    found = {
        (getattr(cell, what), _column(cell), cell.streaming): MARKS[cell.verdict] for cell in cells
    }
    lines = [f"| {what} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        pairs = (
            ", ".join(found.get((row, column, streaming), "-") for streaming in (True, False))
            for column in columns
        )
        name = row if what == "budget" else f"`{row}`"
        lines.append(f"| {name} | " + " | ".join(pairs) + " |")
    return "\n".join(lines) + "\n"


def _seen(cells: Sequence[Cell]) -> str:
    """What the real engine's streamed cells came to."""
    real = [c for c in cells if c.is_real and c.streaming and c.verdict == "holds"]
    if not real:
        return ""
    lines = ["## As seen on the real engine, streamed\n", "| budget | asked by | output | came |"]
    lines.append("|---|---|---|---|")
    lines += [f"| {c.budget} | {c.spelling} | {c.output} | {c.detail} |" for c in real]
    return "\n".join(lines) + "\n"


def _impossible(cells: Sequence[Cell]) -> str:
    lines = [
        f"- {_column(cell)}, {cell.budget}: {cell.detail}."
        for cell in cells
        if cell.verdict == "not possible" and cell.streaming
    ]
    return "## Not possible\n\n" + "\n".join(lines) + "\n" if lines else ""


def _failed(run: Run) -> str:
    lines = [
        f"- {_column(c)}, {c.budget} by {c.spelling}, {'streamed' if c.streaming else 'whole'}: "
        f"{c.detail}."
        for c in run.cells
        if c.verdict == "fails"
    ]
    lines += [f"- {t.engine}, {t.name}: {t.detail}." for t in run.traps if t.verdict == "fails"]
    return "## What fails\n\n" + "\n".join(lines) + "\n" if lines else ""


def _traps(traps: Sequence[Trap]) -> str:
    if not traps:
        return ""
    lines = [
        "## Traps of the real engine\n",
        "Each is provoked on the engine itself, and then through the gateway.\n",
        "| trap | the engine | the gateway | holds |",
        "|---|---|---|---|",
    ]
    for trap in traps:
        told = (trap.name, trap.engine_does, trap.gateway_makes, MARKS[trap.verdict])
        lines.append("| " + " | ".join(_shown(text) for text in told) + " |")
    return "\n".join(lines) + "\n"


def _shown(text: str) -> str:
    """In a cell of a table, where a tag would vanish and a bar would end the cell."""
    return text.replace("|", "\\|").replace("</think>", "`</think>`")


if __name__ == "__main__":
    PAGE.write_text(page(read(RESULTS)))
    print(PAGE)
