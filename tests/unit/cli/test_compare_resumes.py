"""`compare` in full on a small trace: what it writes, and that no finished run is made twice."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from thinkscale.cli.main import main
from thinkscale.simulation import compare
from thinkscale.simulation.compare import Job, Runs
from thinkscale.simulation.contestants import parse

HEADER = "arrival_s,prompt_tokens,reasoning_tokens,answer_tokens\n"


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "small.csv"
    rows = [f"{2 * i},300,{100 + 37 * (i % 40)},50\n" for i in range(800)]
    path.write_text(HEADER + "".join(rows))
    return str(path)


def compared(trace: str, out: Path, policies: str, *more: str) -> dict:
    argv = ["--policies", policies, "--scenarios", trace, "--out", str(out), *more]
    assert main(["compare", *argv]) == 0
    return json.loads((out / "report.json").read_text())


def test_it_writes_a_report_adds_what_is_missing_and_repeats_nothing(trace, tmp_path, capsys):
    out = tmp_path / "out"
    first = compared(
        trace, out, "thinkscale,static-2", "--seeds", "1,2", "--no-oracle", "--jobs", "2"
    )
    assert len(first["runs"]) == 4
    made = {path: path.stat().st_mtime_ns for path in (out / "runs").glob("*.json")}
    assert len(made) == 4

    more = compared(trace, out, "thinkscale,static-2,kpa", "--seeds", "1,2", "--jobs", "1")
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert len(list((out / "runs").glob("*.json"))) == 8  # kpa and the oracle, two seeds each

    ours = next(row for row in more["rows"] if row["policy"] == "thinkscale")
    static = next(row for row in more["rows"] if row["policy"] == "static-2")
    assert ours["gpu_hours_to_oracle"] is not None
    assert static["gpu_hours_to_thinkscale"]["estimate"] == pytest.approx(
        static["gpu_hours"] / ours["gpu_hours"]
    )
    text = (out / "report.md").read_text()
    assert "kpa (" in text
    (picture,) = (out / "plots").glob("*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"plots/{picture.name}" in text
    shown = capsys.readouterr()
    assert "8/8" not in shown.err
    assert "4/4 runs" in shown.err
    assert "static-2" in shown.out


def test_an_interrupt_ends_it_at_once_and_keeps_what_is_finished(trace, tmp_path):
    out = tmp_path / "out"
    argv = [
        "--policies",
        "static-2",
        "--scenarios",
        f"{trace},drift",
        "--seeds",
        "1",
        "--jobs",
        "2",
    ]
    # Whatever a script starts in the background inherits interrupts as ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "thinkscale", "compare", *argv, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("1/4 runs")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, said = process.communicate(timeout=10)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "thinkscale compare: interrupted"
    assert len(list((out / "runs").glob("small*.json"))) >= 1
    assert not (out / "report.md").exists()


def test_a_run_made_by_other_code_is_made_again(tmp_path):
    runs = Runs(tmp_path)
    (ours,) = parse("thinkscale")
    job = Job(contestant=ours, scenario="smooth", seed=1, fingerprint="new")
    runs.keep(job, {"fingerprint": "old"})
    assert runs.finished([job]) == {}
    runs.keep(job, {"fingerprint": "new"})
    assert runs.finished([job]) == {job.key: {"fingerprint": "new"}}


def test_a_file_that_was_cut_off_is_no_finished_run(tmp_path):
    runs = Runs(tmp_path)
    (ours,) = parse("thinkscale")
    job = Job(contestant=ours, scenario="smooth", seed=1, fingerprint="new")
    (tmp_path / f"{job.key}.json").write_text('{"fingerprint": "ne')
    assert runs.finished([job]) == {}


def test_every_run_of_a_plan_has_a_file_of_its_own():
    words = ("thinkscale", "thinkscale-uncut", "thinkscale:99.5", "kpa", "kpa:*", "static-8")
    plan = compare.Plan(
        policies=tuple(c for word in words for c in parse(word)),
        scenarios=("drift", "drift+lost0.2", "drift+lost0.25"),
        seeds=(1, 11),
    )
    keys = [job.key for job in compare.jobs(plan)]
    assert len(set(keys)) == len(keys)
    assert all("/" not in key for key in keys)


def test_runs_on_other_recordings_are_other_runs(tmp_path):
    (ours,) = parse("thinkscale")
    keys = {
        Job(contestant=ours, scenario="servegen", seed=1, traces=traces).key
        for traces in (None, tmp_path / "one", tmp_path / "two")
    }
    assert len(keys) == 3


def test_a_stopped_comparison_has_whole_scenarios():
    (ours,), (kpa,) = parse("thinkscale"), parse("kpa")
    plan = compare.Plan(policies=(ours, kpa), scenarios=("step", "drift"), seeds=(1, 2))
    places = [(j.scenario, j.seed, j.contestant.label) for j in compare.jobs(plan)]
    assert places[:4] == [
        ("step", 1, "thinkscale"),
        ("step", 1, "kpa"),
        ("step", 2, "thinkscale"),
        ("step", 2, "kpa"),
    ]
    assert [name for name, _, _ in places[4:]] == ["drift"] * 4


def test_whether_a_setting_was_one_of_many_is_what_was_asked_this_time(trace, tmp_path):
    out = tmp_path / "out"
    more = ("--seeds", "1", "--no-oracle", "--jobs", "1")
    swept = compared(trace, out, "kpa:*", *more)
    made = {path: path.stat().st_mtime_ns for path in (out / "runs").glob("*.json")}
    alone = compared(trace, out, "kpa:0.7", *more)
    again = compared(trace, out, "kpa:0.7,kpa:*", *more)
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").glob("*.json")} == made
    assert all(row["searched"] for row in swept["rows"])
    assert [(row["policy"], row["searched"]) for row in alone["rows"]] == [("kpa:0.7", False)]
    assert [row["policy"] for row in again["rows"] if not row["searched"]] == ["kpa:0.7"]


def test_of_a_stopped_comparison_the_whole_scenarios_are_reported(trace, tmp_path, capsys):
    out = tmp_path / "out"
    more = ("--seeds", "1,2", "--no-oracle", "--jobs", "1")
    compared(trace, out, "static-2", *more)
    made = set((out / "runs").glob("*.json"))
    report = compared(f"{trace},drift", out, "static-2", *more, "--finished")
    assert {row["scenario"].split("-")[0] for row in report["rows"]} == {"small.csv"}
    assert [row["seeds"] for row in report["rows"]] == [[1, 2]]
    assert set((out / "runs").glob("*.json")) == made
    assert "left out: drift, 2 runs are missing" in capsys.readouterr().err

    argv = ["--policies", "static-2", "--scenarios", "drift", "--out", str(out), "--finished"]
    assert main(["compare", *argv]) == 2
    assert "no scenario is finished" in capsys.readouterr().err
