"""The sample that ships, and what may be done to it."""

import gzip
from pathlib import Path

import pytest

from e2e.story.cut_trace import COLUMNS, main
from e2e.story.traffic import (
    SAMPLE,
    Request,
    mean_thinking_tokens,
    random_plan_field,
    read_trace,
    shortened,
    thinned,
    with_mean_thinking,
)


def test_the_sample_rises_peaks_and_falls() -> None:
    requests = read_trace(SAMPLE)
    per_30_seconds = [
        sum(start <= request.at_seconds < start + 30 for request in requests)
        for start in range(0, 150, 30)
    ]
    assert len(requests) == 224
    assert per_30_seconds == [23, 17, 66, 90, 28]


def test_lengths_are_divided_and_times_are_not() -> None:
    whole = read_trace(SAMPLE)
    short = shortened(whole, 10)
    assert [request.at_seconds for request in short] == [request.at_seconds for request in whole]
    assert mean_thinking_tokens(short) == pytest.approx(mean_thinking_tokens(whole) / 10, rel=0.01)
    assert min(request.answer_tokens for request in short) >= 1


def test_a_model_that_thinks_ten_times_as_long_gets_the_same_requests_otherwise() -> None:
    base = shortened(read_trace(SAMPLE), 10)
    brief, long = with_mean_thinking(base, 30), with_mean_thinking(base, 300)
    assert mean_thinking_tokens(brief) == pytest.approx(30, abs=0.5)
    assert mean_thinking_tokens(long) == pytest.approx(300, abs=0.5)
    assert [(r.at_seconds, r.prompt_tokens, r.answer_tokens) for r in brief] == [
        (r.at_seconds, r.prompt_tokens, r.answer_tokens) for r in long
    ]


def test_thinning_keeps_about_its_share_and_is_the_same_for_the_same_seed() -> None:
    requests = read_trace(SAMPLE)
    kept = thinned(requests, 0.5, seed=7)
    assert kept == thinned(requests, 0.5, seed=7)
    assert kept != thinned(requests, 0.5, seed=8)
    assert 0.4 < len(kept) / len(requests) < 0.6
    assert set(kept) < set(requests)


def test_no_two_runs_share_the_name_of_the_plan_field() -> None:
    assert random_plan_field() != random_plan_field()


def test_a_cut_keeps_what_arrived_in_the_window_and_starts_at_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "trace.csv.gz"
    rows = [COLUMNS, ("9.9", 1, 1, 1), ("10.25", 2, 3, 4), ("19.999", 5, 6, 7), ("20", 8, 8, 8)]
    with gzip.open(source, "wt") as text:
        text.write("".join(",".join(map(str, row)) + "\n" for row in rows))
    main([str(source), "--offset-seconds", "10", "--seconds", "10"])
    assert capsys.readouterr().out == ",".join(COLUMNS) + "\n0.250,2,3,4\n9.999,5,6,7\n"


def test_a_trace_of_another_shape_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n1,2,3\n")
    with pytest.raises(ValueError, match="columns are"):
        read_trace(other)


def test_requests_are_sorted_by_arrival(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(",".join(COLUMNS) + "\n2.0,1,1,1\n1.0,1,1,1\n")
    assert [request.at_seconds for request in read_trace(trace)] == [1.0, 2.0]
    assert read_trace(trace)[0] == Request(
        at_seconds=1.0, prompt_tokens=1, thinking_tokens=1, answer_tokens=1
    )
