"""What a trace may be, and the one line that says why it may not."""

import gzip
from pathlib import Path

import pytest

from thinkscale.simulation import trace
from thinkscale.simulation.replays import SHIPPED
from thinkscale.simulation.trace import TraceError

HEADER = "arrival_s,prompt_tokens,reasoning_tokens,answer_tokens\n"


def written(directory: Path, text: str, name: str = "t.csv") -> Path:
    path = directory / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(TraceError) as caught:
        trace.read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


@pytest.mark.parametrize("name", ["day.csv", "day.csv.gz"])
def test_columns_are_read_plain_or_compressed(tmp_path: Path, name: str) -> None:
    workload = trace.read(written(tmp_path, HEADER + "0.5,10,20,30\n0.5,1,0,1\n2,3,4,0\n", name))
    assert workload.name == "day"
    assert workload.at_seconds.tolist() == [0.5, 0.5, 2.0]
    assert workload.prompt_tokens.tolist() == [10, 1, 3]
    assert workload.thinking_tokens.tolist() == [20, 0, 4]
    assert workload.answer_tokens.tolist() == [30, 1, 0]


def test_the_order_of_columns_is_free_and_others_are_ignored(tmp_path: Path) -> None:
    text = "answer_tokens,user,reasoning_tokens, arrival_s ,prompt_tokens\n3,bob,2,0,1\n"
    workload = trace.read(written(tmp_path, text))
    assert (workload.prompt_tokens[0], workload.thinking_tokens[0]) == (1, 2)
    assert workload.answer_tokens[0] == 3


@pytest.mark.parametrize("mark", ["\ufeff", ""])
def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes((mark + HEADER + "0,1,2,3\n\n1,1,2,3\n").replace("\n", "\r\n").encode())
    assert len(trace.read(path)) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ": is empty; the first row must name the columns"),
        (HEADER, ": holds no request; add rows of"),
        (
            "arrival_s,prompt_tokens,answer_tokens\n0,1,1\n",
            ", row 1: column reasoning_tokens is missing; the header must name",
        ),
        ("0,1,2,3\n", ", row 1: column arrival_s is missing"),
        (
            HEADER + "0,1,2,3\n1,1,-5,3\n",
            ", row 3: reasoning_tokens is -5; it cannot be negative: remove the row or correct it",
        ),
        (HEADER + "-1,1,2,3\n", ", row 2: arrival_s is -1; it cannot be negative"),
        (
            HEADER + "5,1,2,3\n4.5,1,2,3\n",
            ", row 3: arrival_s 4.5 is before 5 of the row before it; sort the trace by arrival_s",
        ),
        (
            HEADER + "0,many,2,3\n",
            ", row 2: prompt_tokens is 'many', which is not a number; write digits alone",
        ),
        (HEADER + "0,,2,3\n", ", row 2: prompt_tokens is '', which is not a number"),
        (HEADER + "nan,1,2,3\n", ", row 2: arrival_s is 'nan', which is not a number"),
        (HEADER + "0,1,inf,3\n", ", row 2: reasoning_tokens is 'inf', which is not a number"),
        (HEADER + "0,1,2.5,3\n", ", row 2: reasoning_tokens is 2.5; write a whole number"),
        (HEADER + "0,1,2,1e18\n", ", row 2: answer_tokens is 1e+18; write a whole number"),
        (HEADER + "0,1,2\n", ", row 2: answer_tokens is missing; give every row all columns"),
        (HEADER + "0,0,2,3\n", ", row 2: prompt_tokens is 0; a prompt has at least one token"),
        (HEADER + "0,1,0,0\n", ", row 2: reasoning_tokens and answer_tokens are 0"),
        (
            HEADER + "1700000000,1,2,3\n",
            ", row 2: arrival_s begins at 1700000000; subtract the first so that it begins near 0",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_file_row_and_mend(
    tmp_path: Path, text: str, says: str
) -> None:
    assert refusal(written(tmp_path, text)).startswith(says)


def test_rows_are_counted_as_an_editor_counts_lines(tmp_path: Path) -> None:
    text = HEADER + "0,1,2,3\n\n\n1,1,2,x\n"
    assert refusal(written(tmp_path, text)).startswith(", row 5:")


def test_a_file_that_is_not_there_or_no_csv_is_said_in_one_line_too(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.csv")
    (tmp_path / "broken.csv.gz").write_bytes(b"this is not gzip")
    assert "cannot be read" in refusal(tmp_path / "broken.csv.gz")
    cut = gzip.compress((HEADER + "0,1,2,3\n" * 1000).encode())[:-20]
    (tmp_path / "cut.csv.gz").write_bytes(cut)
    assert "cannot be read" in refusal(tmp_path / "cut.csv.gz")
    (tmp_path / "binary.csv").write_bytes(b"\x80\x81\xff\xfe")
    assert "not text in UTF-8" in refusal(tmp_path / "binary.csv")
    (tmp_path / "open.csv").write_text(HEADER + '0,1,2,"3\n')
    assert "is not CSV" in refusal(tmp_path / "open.csv")
    assert "cannot be read" in refusal(tmp_path)


def test_the_shipped_traces_are_what_their_table_says() -> None:
    rows = {path.name: len(trace.read(path)) for path in sorted(SHIPPED.glob("*.csv.gz"))}
    assert rows == {
        "azure2023_conv_r1.csv.gz": 19_366,
        "mooncake_conversation_r1.csv.gz": 12_031,
        "servegen_r1_24h_x0.1.csv.gz": 138_791,
    }
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 1_500_000
