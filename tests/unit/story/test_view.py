"""What a person is shown, on a terminal and elsewhere."""

import io

from rich.console import Console

from e2e.story.outcomes import Outcome, Slo
from e2e.story.sampling import Sample
from e2e.story.view import DecisionLog, Moment, View, cells, table

SLO = Slo(
    name="first-answer", indicator="TimeToFirstAnswer", threshold_seconds=5, objective_percent=95
)


def moment(second: float = 30.0, decision_id: str = "a") -> Moment:
    """One service, half a minute in."""
    sample = Sample(
        second=second,
        desired=2,
        ready=1,
        pods=2,
        gpus=2,
        depth=12,
        backlog_seconds=4,
        attained_percent={"first-answer": "98.2"},
        decision="1 → 2 ThinkingOccupancy",
        message="12 requests in flight on 1 ready replica of 8 seats",
        decision_id=decision_id,
    )
    outcome = Outcome(stream="demo", index=0, intended=1, sent=1, first_answer=2, end=3, status=200)
    return Moment(
        second=second, samples={"demo": sample}, outcomes={"demo": [outcome]}, intended={"demo": 9}
    )


def test_a_row_shows_both_sides_and_a_dash_for_what_nobody_knows() -> None:
    assert cells("demo", moment(), [SLO]) == [
        "demo", "1/2", "2", "12", "4 s", "–", "98.2/95%", "100%", "–", "9/1/0",
    ]  # fmt: skip


def test_a_decision_is_told_once_with_its_reason() -> None:
    log = DecisionLog()
    assert log.note(moment(30)) == [
        "    30 s  demo: 1 → 2 ThinkingOccupancy. "
        "12 requests in flight on 1 ready replica of 8 seats"
    ]
    assert log.note(moment(31)) == []
    assert len(log.note(moment(32, decision_id="b"))) == 1


def test_without_a_terminal_lines_are_printed_and_nothing_is_redrawn() -> None:
    text = io.StringIO()
    View(Console(file=text), moment, [SLO]).run(lambda: True)
    lines = text.getvalue().splitlines()
    assert len(lines) == 2
    assert "1 → 2 ThinkingOccupancy" in lines[0]
    assert "depth 12" in lines[1]
    assert "\x1b" not in text.getvalue()


def test_on_a_terminal_the_table_the_decisions_and_the_commands_are_drawn() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=160)
    View(console, moment, [SLO], commands=["kubectl get rsvc -w"]).run(lambda: True)
    for shown in ("98.2/95%", "ThinkingOccupancy", "kubectl get rsvc -w"):
        assert shown in text.getvalue()


def test_the_table_fits_a_terminal_of_ninety_columns() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=90)
    console.print(table(moment(), [SLO]))
    for shown in ("98.2/95%", "9/1/0", "desired", "objective"):
        assert shown in text.getvalue()
    assert "…" not in text.getvalue()
