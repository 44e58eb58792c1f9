"""Bad input gets one clear line with the mend, exit code 2, and no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from thinkscale.cli.main import main

EXAMPLE = Path(__file__).parents[3] / "examples" / "deepseek-r1-32b.yaml"
HEADER = "arrival_s,prompt_tokens,reasoning_tokens,answer_tokens\n"


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line."""
    try:
        code = main(argv)
    except SystemExit as leaving:
        code = leaving.code
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith(f"thinkscale {argv[0]}: ")
    return line


@pytest.fixture
def trace(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "mine.csv"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arrival_s,prompt_tokens,answer_tokens\n0,1,1\n", ("row 1", "reasoning_tokens")),
        (HEADER + "0,10,-5,3\n", ("row 2", "reasoning_tokens", "negative")),
        (HEADER + "5,10,5,3\n1,10,5,3\n", ("row 3", "sort the trace")),
        (HEADER + "0,ten,5,3\n", ("row 2", "prompt_tokens", "'ten'")),
        (HEADER, ("holds no request",)),
        ("", ("is empty",)),
    ],
)
@pytest.mark.parametrize("command", ["simulate", "profile", "whatif", "compare"])
def test_a_trace_that_cannot_be_meant_is_refused_with_file_row_and_mend(
    capsys, trace, tmp_path, command, text, said
):
    path = trace(text)
    more = {
        "simulate": ["--trace", path],
        "profile": ["--trace", path],
        "whatif": ["--trace", path, "--add-thinking-tokens", "500"],
        "compare": ["--policies", "kpa", "--scenarios", path, "--out", str(tmp_path / "out")],
    }[command]
    line = refused(capsys, command, *more)
    assert "mine.csv" in line
    for part in said:
        assert part in line


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["two-services", "--policy", "kpa"], "leave --policy away"),
        (["two-services", "--oracle"], "--oracle does not go with two-services"),
        (["two-services", "--engine", "demo"], "--engine does not go with two-services"),
        (["two-services+lost0.2"], "has no variant +lost0.2; there is +priority2"),
    ],
)
def test_two_services_take_only_what_they_can_be_run_with(capsys, argv, said):
    assert said in refused(capsys, "simulate", "--scenario", *argv)


def test_a_trace_that_is_not_there_is_refused(capsys):
    assert "nowhere.csv" in refused(capsys, "simulate", "--trace", "nowhere.csv")


@pytest.mark.parametrize(
    "argv",
    [
        ("simulate", "--scenario", "smooth", "--policy", "magic"),
        ("compare", "--policies", "thinkscale,magic", "--scenarios", "smooth", "--out", "x"),
    ],
)
def test_an_unknown_policy_is_refused_with_those_there_are(capsys, argv):
    line = refused(capsys, *argv)
    assert "'magic'" in line
    for known in ("thinkscale", "oracle", "kpa", "static-N"):
        assert known in line


@pytest.mark.parametrize("setting", ["kpa:fast", "thinkscale:101", "thinkscale:high"])
def test_a_setting_that_a_policy_does_not_have_is_refused(capsys, setting):
    line = refused(capsys, "simulate", "--scenario", "smooth", "--policy", setting)
    assert setting in line


@pytest.mark.parametrize(
    "argv",
    [
        ("simulate", "--scenario", "storm"),
        ("whatif", "--scenario", "storm", "--add-thinking-tokens", "5"),
        ("compare", "--policies", "kpa", "--scenarios", "smooth,storm", "--out", "unused"),
    ],
)
def test_an_unknown_scenario_is_refused_with_those_there_are(capsys, argv):
    line = refused(capsys, *argv)
    assert "'storm'" in line
    assert "heavy-tail" in line


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("simulate",), "--scenario"),
        (("simulate", "--scenario", "smooth", "--seed", "-1"), "--seed"),
        (("simulate", "--scenario", "smooth", "--scenarios", "x"), "--scenarios"),
        (("whatif",), "--add-thinking-tokens"),
        (("whatif", "--add-thinking-tokens", "0"), "at least 1"),
        (("whatif", "--add-thinking-tokens", "5", "--share", "20"), "at most 1"),
        (("compare", "--policies", "kpa", "--scenarios", "smooth"), "--out"),
        (("compare", "--policies", ",", "--scenarios", "smooth", "--out", "x"), "empty"),
        (
            ("compare", "--policies", "a", "--scenarios", "b", "--out", "x", "--seeds", "3-1"),
            "counts down",
        ),
        (("profile", "--gateway", "somewhere:9090"), "no URL"),
    ],
)
def test_a_flag_that_is_missing_or_wrong_is_named(capsys, argv, said):
    assert said in refused(capsys, *argv)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("minReplicas: 2", "minReplica: 2", "spec.scaling.minReplica"),
        ("thresholdMilliseconds: 10000", "thresholdMilliseconds: soon", "thresholdMilliseconds"),
        ("maxReplicas: 12", "maxReplicas: 1", "spec.scaling.minReplicas"),
        ("floorTokens: 4096", "floorTokens: 40960", "spec.thinking.budget.floorTokens"),
        ("kind: ReasoningService", "kind: Deployment", "ReasoningService"),
        ("  engine:\n", "  engine\n", "YAML"),
    ],
)
def test_a_resource_that_cannot_be_served_is_refused_by_file_and_field(
    capsys, tmp_path, before, after, said
):
    text = EXAMPLE.read_text()
    assert before in text
    path = tmp_path / "rsvc.yaml"
    path.write_text(text.replace(before, after, 1))
    line = refused(capsys, "simulate", "--scenario", "smooth", "--spec", str(path))
    assert "rsvc.yaml" in line
    assert said in line


def test_a_file_that_cannot_be_written_is_refused_before_any_work(capsys, tmp_path):
    line = refused(capsys, "simulate", "--scenario", "smooth", "--json", str(tmp_path))
    assert "is a directory" in line


def test_a_gateway_that_does_not_answer_is_named(capsys):
    line = refused(capsys, "profile", "--gateway", "http://127.0.0.1:9", "--watch-seconds", "0")
    assert "http://127.0.0.1:9/signals" in line
    assert "admin port" in line


@pytest.mark.parametrize(
    ("missing", "argv"),
    [
        ("numpy", ["simulate", "--scenario", "smooth"]),
        ("rich", ["whatif", "--add-thinking-tokens", "5"]),
        ("matplotlib", ["compare", "--policies", "kpa", "--scenarios", "smooth", "--out", "x"]),
        ("matplotlib", ["simulate", "--scenario", "smooth", "--plot", "x.png"]),
    ],
)
def test_without_the_extra_one_line_says_how_to_install_it(tmp_path, missing, argv):
    done = _without([missing], f"sys.exit(main({argv!r}))", tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert missing in line
    assert "pip install 'thinkscale[report]'" in line


@pytest.mark.parametrize("command", ["operator", "gateway", "emulator"])
def test_the_servers_need_nothing_of_the_extra(tmp_path, command):
    code = f"main(['{command}', '--help'])"
    done = _without(["numpy", "matplotlib", "rich", "plotext"], code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


def _without(modules: list[str], code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A Python in which these modules are not installed."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))"
    program = f"{blocked}\nfrom thinkscale.cli.main import main\n{code}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, timeout=60
    )
