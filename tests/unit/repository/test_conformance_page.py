"""docs/conformance.md is what its results say, and its results are complete."""

from collections import Counter

from e2e.engines.conformance import canaries
from e2e.engines.conformance.cells import KINDS, WISHES
from e2e.engines.conformance.results import Cell, Run, Trap, merged, read
from e2e.engines.conformance.table import PAGE, RESULTS, page


def test_the_page_is_made_from_the_results() -> None:
    assert PAGE.read_text() == page(read(RESULTS))


def test_every_cell_of_the_real_engine_was_run_and_at_most_three_kinds_are_not_possible() -> None:
    real = [cell for cell in read(RESULTS).cells if cell.is_real]
    outputs = {cell.output for cell in real}
    assert len(outputs) == 3
    assert len(real) == len(outputs) * 2 * (len(KINDS) + len(canaries.KINDS) + len(WISHES))
    assert all(cell.engine.startswith("vLLM") for cell in real)
    impossible = {(c.output, c.budget): c.detail for c in real if c.verdict == "not possible"}
    assert len(impossible) <= 3
    assert all("#" in reference for reference in impossible.values())


def test_the_emulator_stands_for_every_engine() -> None:
    emulated = Counter(c.engine.split()[0] for c in read(RESULTS).cells if not c.is_real)
    assert set(emulated) == {"vLLM", "TGI", "SGLang"}


def test_a_native_budget_that_does_not_hold_was_found_before_use_on_every_engine_that_has_one() -> (
    None
):
    found = {
        (cell.engine.split()[0], cell.is_real)
        for cell in read(RESULTS).cells
        if cell.budget == canaries.BROKEN and cell.verdict == "holds"
    }
    assert found == {("vLLM", True), ("vLLM", False), ("SGLang", False)}


def cell(detail: str, *, streaming: bool = True) -> Cell:
    return Cell(
        engine="X 1",
        is_real=False,
        output="tags in the text",
        budget="maximum",
        spelling="the resource",
        streaming=streaming,
        verdict="holds",
        detail=detail,
    )


def test_a_part_that_is_run_again_takes_the_place_of_its_older_results() -> None:
    older = Run(
        versions={"vLLM": "1"},
        machine="m",
        seconds={"vllm-qwen3": 5, "traps": 7},
        cells=[cell("old"), cell("kept", streaming=False)],
        traps=[Trap(engine="X 1", name="t", engine_does="", gateway_makes="", verdict="fails")],
    )
    again = {"vllm-qwen3": 6}
    newer = Run(versions={}, machine="m", seconds=again, cells=[cell("new")], traps=[])
    run = merged(older, newer)
    assert [c.detail for c in run.cells] == ["new", "kept"]
    assert [t.name for t in run.traps] == ["t"]
    assert run.seconds == {"vllm-qwen3": 6, "traps": 7}


def test_what_fails_is_shown_as_such() -> None:
    trap = Trap(
        engine="X 1", name="t", engine_does="a | b", gateway_makes="", verdict="fails", detail="bad"
    )
    run = Run(versions={"vLLM": "1"}, machine="m", seconds={}, cells=[], traps=[trap])
    text = page(run)
    assert "| t | a \\| b |  | **no** |" in text
    assert "## What fails\n\n- X 1, t: bad." in text
