"""`thinkscale sweep` against a real endpoint: what it comes to, and what happens on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.quality.counting_endpoint import CountingEndpoint, serving
from thinkscale.cli.main import main
from thinkscale.cli.sweep import INTERRUPTED_MESSAGE
from thinkscale.quality import runner

GRADER = {"type": "regex", "pattern": r"answer is (\d+)"}
Sweep = Callable[..., int]


@pytest.fixture
def endpoint() -> Iterator[CountingEndpoint]:
    with serving() as running:
        yield running


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return written(tmp_path, [("short", n) for n in (3, 5, 8)] + [("long", n) for n in (20, 60)])


def written(folder: Path, questions: list[tuple[str, int]], word: str = "count") -> Path:
    path = folder / "set.jsonl"
    rows = [
        {"id": f"{word}-{number}", "use_case": case, "prompt": f"{word} {count}",
         "answer": count, "grader": GRADER}
        for number, (case, count) in enumerate(questions)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def sweep(endpoint: CountingEndpoint, dataset: Path, tmp_path: Path) -> Sweep:
    def run(*more: str, out: str = "out", rows: Path = dataset, drawn: bool = False) -> int:
        argv = ["sweep", "--endpoint", endpoint.url, "--dataset", str(rows)]
        argv += [] if drawn else ["--no-plots"]
        argv += ["--budgets", "0,4,16,none", "--out", str(tmp_path / out), *more]
        return main(argv)

    return run


def answers(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    lines = (folder / "answers.jsonl").read_text().splitlines()
    return {(one["id"], one["budget"]): one for one in map(json.loads, lines)}


def test_a_cut_trace_gives_the_answers_of_forced_runs_for_fewer_tokens(endpoint, sweep, tmp_path):
    assert sweep(out="reused") == 0
    reused_requests = len(endpoint.bodies)
    assert sweep("--method", "independent", out="forced") == 0
    reused, forced = answers(tmp_path / "reused"), answers(tmp_path / "forced")
    assert reused.keys() == forced.keys()
    assert len(reused) == 5 * 4
    for key, one in reused.items():
        assert (one["answer"], one["right"]) == (forced[key]["answer"], forced[key]["right"])
        assert one["thinking_tokens"] == forced[key]["thinking_tokens"]
    assert [reused["count-3", b]["answer"] for b in ("0", "4", "16", "none")] == [
        f"The answer is {n}" for n in (0, 4, 16, 20)
    ]
    # 5 traces; behind them 5 cuts at 0, 4 at 4 (three is less) and 2 at 16.
    assert reused_requests == 5 + 5 + 4 + 2
    assert len(endpoint.bodies) - reused_requests == 5 * 4
    report = json.loads((tmp_path / "reused" / "report.json").read_text())
    assert report["spent"]["reuse_speedup"] > 1.2


def test_a_minimum_takes_back_hasty_ends_and_counts_what_it_repairs(sweep, tmp_path):
    rows = written(tmp_path, [("hasty", n) for n in range(8, 20)], word="hasty")
    assert sweep("--minimums", "2,6,12", rows=rows) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    repaired = {each["min_tokens"]: each["fixed"] for each in report["minimums"]}
    # Half of 8 to 11 is under 6, half of 8 to 19 is under 12, and under 2 is none.
    assert repaired == {2: 0, 6: 4, 12: 12}
    assert all(each["broken"] == 0 for each in report["minimums"])
    assert report["recommended_min_tokens"] == 12


def test_a_sweep_that_is_run_again_asks_nothing_twice(endpoint, sweep, capsys):
    assert sweep() == 0
    asked = len(endpoint.bodies)
    first = capsys.readouterr()
    assert "if a thought takes 2,000 where nothing limits it" in first.err
    assert sweep() == 0
    assert len(endpoint.bodies) == asked
    again = capsys.readouterr()
    assert again.out == first.out
    assert "if a thought takes 19 where nothing limits it; 16 replies are there" in again.err


def test_more_rows_and_budgets_cost_only_what_is_new(endpoint, sweep, tmp_path):
    assert sweep() == 0
    asked = len(endpoint.bodies)
    rows = written(tmp_path, [("short", n) for n in (3, 5, 8)] + [("long", n) for n in (20, 60, 9)])
    argv = ["--budgets", "0,4,16,40,none"]
    assert sweep(*argv, rows=rows) == 0
    # A cut at 40 of the 60, and the new row: its trace and cuts at 0 and 4.
    assert len(endpoint.bodies) - asked == 1 + 3
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["look"] == 2
    assert report["alpha"] == pytest.approx(0.025)


def test_it_never_sends_more_requests_than_allowed_and_says_where_it_ended(
    endpoint, sweep, tmp_path, capsys
):
    assert sweep("--max-requests", "7", "--concurrency", "8") == 2
    assert len(endpoint.bodies) == 7
    assert capsys.readouterr().err.splitlines()[-1] == (
        "thinkscale sweep: --max-requests 7 is used up"
    )
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["unfinished"] == "--max-requests 7 is used up"
    assert not (tmp_path / "out" / "tiers.yaml").exists()
    assert sweep("--max-requests", "100") == 0
    assert len(endpoint.bodies) == 16  # as many as without an interruption


def test_it_never_pays_more_tokens_than_allowed(endpoint, sweep, tmp_path, capsys):
    most = 4096 + 200  # a trace may fill the context, and the question
    endpoint.waits_for_two_seconds = 0.2
    argv = ["--max-tokens", str(2 * most), "--answer-tokens", "3000"]  # no three of any kind
    assert sweep(*argv, "--concurrency", "8") == 0
    assert endpoint.most_at_once == 2
    endpoint.waits_for_two_seconds = 0.0
    asked = len(endpoint.bodies)
    assert sweep("--max-tokens", str(most), "--concurrency", "8", out="less") == 2
    assert f"--max-tokens {most:,} does not hold one more request" in capsys.readouterr().err
    report = json.loads((tmp_path / "less" / "report.json").read_text())
    assert 0 < report["spent"]["tokens"] <= most
    assert len(endpoint.bodies) - asked < 16


def test_a_rate_limit_is_waited_for_as_long_as_the_endpoint_says(endpoint, sweep, tmp_path):
    endpoint.troubles += [None, (429, {"Retry-After": "0.4"}), (503, {})]
    begun = time.monotonic()
    assert sweep("--max-requests", "16") == 0  # refused ones cost nothing
    assert time.monotonic() - begun > 0.4
    assert len(endpoint.bodies) == 18
    assert len(answers(tmp_path / "out")) == 20


def one_row(folder: Path) -> Path:
    return written(folder, [("short", 5)])


def test_an_endpoint_that_says_at_once_and_is_never_ready_is_asked_ever_more_rarely(
    endpoint, sweep, dataset, monkeypatch, capsys
):
    monkeypatch.setattr(runner, "PATIENCE_SECONDS", 0.5)
    endpoint.troubles += [(429, {"Retry-After": "0"})] * 1000
    assert sweep(rows=one_row(dataset.parent)) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == "thinkscale sweep: no answer for 0 minutes: HTTP 429: trouble 429"
    assert 2 <= len(endpoint.bodies) <= 3  # pauses of 0.25 to 0.5 s, then 0.5 to 1 s


def test_an_endpoint_that_serves_few_at_once_is_asked_by_few_at_once(endpoint, sweep, tmp_path):
    endpoint.serves_at_once, endpoint.delay_seconds = 2, 0.01
    rows = written(tmp_path, [("short", n) for n in range(20, 40)])
    assert sweep("--concurrency", "8", rows=rows) == 0
    told_no = len(endpoint.bodies) - 20 * 4
    assert 0 < told_no < 30, "each of eight that come back together would be told no again"
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["spent"]["requests"] == 20 * 4, "who was told no has paid nothing"


def test_patience_begins_with_the_trouble_and_not_with_a_long_answer(
    endpoint, sweep, dataset, monkeypatch
):
    monkeypatch.setattr(runner, "PATIENCE_SECONDS", 0.1)
    endpoint.delay_seconds = 0.15
    endpoint.troubles += ["drop"]
    assert sweep("--budgets", "0,none", rows=one_row(dataset.parent)) == 0
    assert len(endpoint.bodies) == 2 + 1


def test_a_wait_that_the_endpoint_asks_for_is_within_patience(
    endpoint, sweep, dataset, monkeypatch
):
    monkeypatch.setattr(runner, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(runner, "FIRST_PAUSE_SECONDS", 0.01)
    endpoint.troubles += [(429, {"Retry-After": "0.15"}), (429, {"Retry-After": "1.2"})]
    begun = time.monotonic()
    assert sweep("--budgets", "0,none", rows=one_row(dataset.parent)) == 0
    assert time.monotonic() - begun > 1.35
    assert len(endpoint.bodies) == 2 + 2


def test_pauses_grow_and_have_an_end():
    for attempt, longest in ((1, 0.5), (2, 1.0), (7, 32.0), (8, 60.0), (5000, 60.0)):
        assert longest / 2 <= runner._backoff(attempt) <= longest


def test_a_lost_connection_is_made_good_and_counted(endpoint, sweep, tmp_path):
    endpoint.troubles += [None, None, "drop", None, "drop"]
    assert sweep() == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["spent"]["requests"] == 16 + 2
    assert len(answers(tmp_path / "out")) == 20


def test_an_endpoint_that_ignores_budgets_is_found_out_soon(endpoint, sweep, dataset, capsys):
    endpoint.ignores_budgets = True
    rows = written(dataset.parent, [("long", n) for n in range(100, 160)])
    assert sweep("--method", "independent", "--concurrency", "4", rows=rows) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("thinkscale sweep: the endpoint ignores budgets: asked for 0 thinking")
    assert len(endpoint.bodies) <= 8  # the two that go first, alone


def test_without_token_ids_it_falls_back_to_independent_requests(endpoint, sweep, tmp_path):
    endpoint.tells_ids = False
    assert sweep() == 0
    assert len(endpoint.bodies) == 20
    settings = json.loads((tmp_path / "out" / "report.json").read_text())["settings"]
    assert settings["method"] == "independent"


def test_efforts_are_asked_for_by_their_word(endpoint, sweep):
    assert sweep("--budgets", "low,high") == 0
    efforts = [body["reasoning_effort"] for body in endpoint.bodies]
    assert (efforts.count("low"), efforts.count("high")) == (5, 5)
    assert not any("thinking_token_budget" in body for body in endpoint.bodies)


def test_another_budget_field_can_be_named(endpoint, sweep):
    argv = ["--method", "independent", "--budgets", "4,none", "--budget-field", "thinking.budget"]
    assert sweep(*argv) == 0
    assert [body.get("thinking") for body in endpoint.bodies][:2] == [{"budget": 4}, None]


def test_a_refusal_is_one_line_and_what_was_paid_is_kept(endpoint, sweep, capsys, tmp_path):
    endpoint.troubles += [None, None, None, (400, {})]
    assert sweep() == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith("the endpoint refused: HTTP 400: trouble 400")
    done = (tmp_path / "out" / "journal.jsonl").read_text().count('"type":"done"')
    assert done == 3
    assert sweep() == 0
    assert len(endpoint.bodies) == 16 + 1


def test_a_grader_that_crashes_loses_no_answer(endpoint, sweep, tmp_path, capsys):
    grader = tmp_path / "grade.py"
    grader.write_text("raise SystemExit('no such thing')")
    rows = tmp_path / "rows.jsonl"
    command = {"type": "external", "command": [sys.executable, str(grader)]}
    rows.write_text(json.dumps({"prompt": "count 5", "answer": "5", "grader": command}) + "\n")
    assert sweep("--budgets", "0,none", rows=rows) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "ended with 1 for line 1: no such thing; the answers are kept" in line
    assert len(endpoint.bodies) == 1  # nothing more is paid for
    grader.write_text(
        "import json, sys\n"
        "row = json.load(sys.stdin)\n"
        "print(json.dumps({'correct': row['answer'].endswith(' ' + row['expected'])}))\n"
    )
    assert sweep("--budgets", "0,none", rows=rows) == 0
    assert len(endpoint.bodies) == 2
    right = {budget: one["right"] for (_, budget), one in answers(tmp_path / "out").items()}
    assert right == {"0": False, "none": True}


def test_a_grader_speaks_again_when_what_it_sees_of_the_row_has_changed(sweep, tmp_path):
    grader = tmp_path / "grade.py"
    grader.write_text(
        "import json, sys\n"
        "row = json.load(sys.stdin)\n"
        "strict = row['use_case'] == 'strict' or (row['metadata'] or {}).get('strict', False)\n"
        "print(json.dumps({'correct': not strict}))\n"
    )
    command = {"type": "external", "command": [sys.executable, str(grader)]}
    rows = tmp_path / "rows.jsonl"

    def right(**more: Any) -> set[bool]:
        row = {"id": "one", "prompt": "count 5", "answer": "5", "grader": command, **more}
        rows.write_text(json.dumps(row) + "\n")
        assert sweep("--budgets", "0,none", rows=rows) == 0
        return {one["right"] for one in answers(tmp_path / "out").values()}

    assert right() == {True}
    assert right(metadata={"strict": True}) == {False}
    assert right(metadata={"strict": False}) == {True}
    assert right(use_case="strict") == {False}
    verdicts = (tmp_path / "out" / "journal.jsonl").read_text().count('"type":"verdict"')
    assert right() == {True}
    journal = (tmp_path / "out" / "journal.jsonl").read_text()
    assert journal.count('"type":"verdict"') == verdicts == 4 * 2  # nothing is asked twice


def test_interrupted_it_waits_for_what_is_under_way_and_goes_on_later(
    endpoint, sweep, dataset, tmp_path
):
    endpoint.delay_seconds = 0.15
    command = [sys.executable, "-m", "thinkscale", "sweep", "--endpoint", endpoint.url]
    command += ["--dataset", str(dataset), "--budgets", "0,4,16,none", "--concurrency", "2"]
    command += ["--no-plots", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while len(endpoint.bodies) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.decode().splitlines()[-1] == f"thinkscale sweep: {INTERRUPTED_MESSAGE}"
    asked = len(endpoint.bodies)
    assert asked < 16
    endpoint.delay_seconds = 0
    assert sweep() == 0
    assert len(endpoint.bodies) == 16


def test_the_api_key_is_sent_and_written_nowhere(endpoint, sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SWEEP_KEY", "sk-very-secret")
    assert sweep("--api-key-env", "SWEEP_KEY") == 0
    assert endpoint.keys == {"Bearer sk-very-secret"}
    said = capsys.readouterr()
    assert "very-secret" not in said.out + said.err
    for file in (tmp_path / "out").iterdir():
        assert b"very-secret" not in file.read_bytes()
    monkeypatch.delenv("SWEEP_KEY")
    assert sweep("--api-key-env", "SWEEP_KEY") == 2
    assert "the environment variable SWEEP_KEY is not set" in capsys.readouterr().err


def test_an_estimate_costs_nothing(endpoint, sweep, capsys, tmp_path):
    assert sweep("--estimate") == 0
    assert "5 to 20 requests" in capsys.readouterr().out
    assert endpoint.bodies == []
    assert not (tmp_path / "out").exists()


def test_a_load_puts_latencies_and_gpus_beside_the_accuracy(sweep, tmp_path):
    spec = Path(__file__).parents[3] / "examples" / "deepseek-r1-32b.yaml"
    assert sweep("--rate", "2", "--spec", str(spec), drawn=True) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    points = report["trade"]["points"]
    assert [point["name"] for point in points] == ["0", "4", "16", "none"]
    p99 = [point["ttfa_seconds"][2] for point in points]
    assert p99 == sorted(p99)
    assert p99[-1] > p99[0]
    needed = [point["replicas_mean"] for point in points]
    assert needed == sorted(needed)
    assert report["trade"]["max_replicas"] == 12
    assert report["trade"]["load"] == "2 requests a second on r1-32b"
    for name in ("report.md", "trade.png", "curves.png", "tiers.yaml", "answers.jsonl"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    assert "![trade.png](trade.png)" in (tmp_path / "out" / "report.md").read_text()


def test_without_plots_it_needs_no_matplotlib(sweep, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "thinkscale.quality.plots", None)
    assert sweep() == 0
    assert not list((tmp_path / "out").glob("*.png"))
    assert ".png" not in (tmp_path / "out" / "report.md").read_text()


def test_a_trace_says_when_and_the_sweep_how_long(sweep, tmp_path):
    trace = tmp_path / "calm.csv"
    rows = "".join(f"{second / 4},200,800,100\n" for second in range(2400))
    trace.write_text("arrival_s,prompt_tokens,reasoning_tokens,answer_tokens\n" + rows)
    assert sweep("--trace", str(trace), "--engine", "8b-1xh100") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["trade"]["load"] == "Arrivals of calm.csv on 8b-1xh100"
    none = report["trade"]["points"][-1]
    assert (none["replicas"], none["gpus"]) == (1, 1), "that engine is one GPU"
    # 60 tokens of the longest thought at 7.7 ms and some: not the trace's 800.
    assert 0.3 < none["ttfa_seconds"][2] < 1.0


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--budgets", "64"], "one level alone compares nothing"),
        (["--budgets", "64,many"], "'many' is no budget"),
        (["--budgets", "64,low"], "words of effort and numbers of tokens cannot be mixed"),
        (["--method", "independent", "--minimums", "4"], "a minimum needs an endpoint that"),
        (["--method", "reuse", "--budgets", "low,high"], "efforts are the endpoint's own affair"),
        (["--dataset", "nowhere.jsonl"], "nowhere.jsonl: cannot be read"),
        (["--endpoint", "http://127.0.0.1:9"], "http://127.0.0.1:9 cannot be reached"),
        (["--beside", "nowhere.csv"], "nowhere.csv: cannot be read"),
        (["--spec", "nowhere.yaml"], "--spec says what serves, but not what load"),
        (["--rate", "0"], "--rate 0 is no load"),
        (["--rate", "1", "--spec", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["--trace", "nowhere.csv"], "nowhere.csv: cannot be read"),
        (["--grader", "wise"], "unknown grader 'wise'"),
        (["--out", os.devnull], "cannot be written"),
    ],
)
def test_mistakes_are_one_line_and_cost_nothing(endpoint, sweep, capsys, argv, said):
    assert sweep(*argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert endpoint.bodies == []


def test_another_experiment_is_not_mixed_in(sweep, capsys):
    assert sweep("--temperature", "0") == 0
    capsys.readouterr()
    assert sweep("--temperature", "0.5") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds a sweep with temperature 0.0 and not 0.5" in line
