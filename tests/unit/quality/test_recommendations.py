"""From a finished sweep to a patch that the resource takes, and the curves beside it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.unit.quality.counting_endpoint import CountingEndpoint, serving
from thinkscale.api.traffic import TierSpec
from thinkscale.cli import sweep_load
from thinkscale.cli.main import main
from thinkscale.quality import analysis, dataset, published, tiers
from thinkscale.quality.analysis import Table
from thinkscale.quality.dataset import Row
from thinkscale.quality.estimate import estimate
from thinkscale.quality.graders import Exact
from thinkscale.quality.levels import Level, parse_levels
from thinkscale.quality.outcome import Answered, Graded
from thinkscale.quality.published import CurveError
from thinkscale.quality.settings import Method

EXAMPLES = Path(__file__).parents[3] / "examples"
GRADER = {"type": "regex", "pattern": r"answer is (\d+)"}


@pytest.fixture
def endpoint() -> Iterator[CountingEndpoint]:
    with serving() as running:
        yield running


def sweep(endpoint: CountingEndpoint, folder: Path, questions: dict[str, list[str]], *more: str):
    rows = [
        {"prompt": prompt, "answer": prompt.split()[-1], "use_case": case, "grader": GRADER}
        for case, prompts in questions.items()
        for prompt in prompts
    ]
    path = folder / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = [
        "sweep",
        "--endpoint",
        endpoint.url,
        "--dataset",
        str(path),
        "--out",
        str(folder),
        "--no-plots",
    ]
    assert main([*argv, "--budgets", "0,8,32,none", "--margin-points", "20", *more]) == 0
    return json.loads((folder / "report.json").read_text())


def test_each_use_case_gets_its_own_tier_in_the_words_of_the_resource(endpoint, tmp_path):
    questions = {
        "Sums, easy": [f"count {n}" for n in range(1, 9)] * 4,
        "Proofs": [f"count {n}" for n in range(17, 25)] * 4,
    }
    report = sweep(endpoint, tmp_path, questions, "--rate", "1")
    patch = yaml.safe_load((tmp_path / "tiers.yaml").read_text())
    written = patch["spec"]["thinking"]["tiers"]
    assert [(tier["name"], tier["maxTokens"]) for tier in written] == [
        ("sums-easy", 8), ("proofs", 32),
    ]  # fmt: skip
    assert written[1]["quality"] == [
        {"maxTokens": 0, "scorePercent": "0.00"},
        {"maxTokens": 8, "scorePercent": "0.00"},
        {"maxTokens": 32, "scorePercent": "100.00"},
    ]
    assert [TierSpec.model_validate(tier).max_tokens for tier in written] == [8, 32]
    assert report["recommended_max_tokens"] == 32
    names = [point["name"] for point in report["trade"]["points"]]
    assert names == ["0", "8", "32", "none", "recommended"]
    assert report["trade"]["points"][-1]["accuracy"] == 1.0


def test_a_minimum_that_pays_comes_with_a_maximum_that_cut_nobody(endpoint, tmp_path):
    questions = {"hasty": [f"hasty {n}" for n in range(10, 22)] * 2}
    sweep(endpoint, tmp_path, questions, "--minimums", "11")
    (tier,) = yaml.safe_load((tmp_path / "tiers.yaml").read_text())["spec"]["thinking"]["tiers"]
    # All are under eleven, are told "\nWait," (six tokens), and then count to 21 at most.
    assert (tier["minTokens"], tier["maxTokens"]) == (11, 21 + 6)
    assert [point["scorePercent"] for point in tier["quality"]] == ["0.00", "0.00", "100.00"]
    assert TierSpec.model_validate(tier).min_tokens == 11


def test_too_few_rows_make_no_tier(endpoint, tmp_path):
    report = sweep(endpoint, tmp_path, {"few": ["count 3", "count 30"]})
    assert report["recommended_max_tokens"] is None
    text = (tmp_path / "tiers.yaml").read_text()
    assert "# few (2 rows): 0: 0.0 %" in text
    assert "Not enough samples to recommend a maximum" in text
    assert yaml.safe_load(text) == {}
    told = (tmp_path / "report.md").read_text()
    assert "**Not enough samples to tell** which budgets are less than 20 points below" in told


def test_several_samples_are_asked_and_counted_by_row(endpoint, tmp_path):
    report = sweep(endpoint, tmp_path, {"some": ["count 3", "count 30"]}, "--samples", "3")
    (case,) = report["cases"]
    assert case["rows"] == 2
    assert report["points"][1]["effective_answers"] == pytest.approx(2)  # they are all alike
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 2 * 3 * 4


@pytest.mark.parametrize(
    ("name", "label"),
    [("Math, hard", "math-hard"), ("ÄÖ", "tier"), ("x" * 80, "x" * 63), ("-a-", "a")],
)
def test_a_use_case_becomes_a_label(name, label):
    assert tiers.label(name) == label


@pytest.mark.parametrize(
    "file", sorted((EXAMPLES / "accuracy").glob("*.csv")), ids=lambda f: f.name
)
def test_shipped_curves_can_be_drawn(file):
    curves = published.read(file)
    assert len(curves) >= 3
    assert all(len(curve.points) >= 4 for curve in curves)
    assert all(0 <= score <= 1 for curve in curves for _, score in curve.points)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("series,score_percent\n", "column thinking_tokens is missing"),
        ("series,thinking_tokens,score_percent\n", "holds no point"),
        ("series,thinking_tokens,score_percent\na,1,many\n", ":2: tokens and score must be"),
        ("series,thinking_tokens,score_percent\na,1,101\n", ":2: tokens are 0 or more"),
    ],
)
def test_a_bad_file_of_curves_is_refused(tmp_path, text, said):
    path = tmp_path / "curves.csv"
    path.write_text(text)
    with pytest.raises(CurveError, match=said):
        published.read(path)


def graded_alike(row: Row, level: Level) -> Graded:
    one = Answered(
        sample=f"{row.key}#0", level=level, text="", prompt_tokens=1, thinking_tokens=0,
        answer_tokens=1, cut=False, counted=True,
    )  # fmt: skip
    return Graded(answered=one, right=row.use_case == "heavy")


def test_the_mix_of_the_recommendations_counts_rows_by_their_weight():
    lines = [
        json.dumps({"prompt": f"{case} {n}", "answer": "x", "use_case": case, "weight": weight})
        for case, weight in (("heavy", 9), ("light", 1))
        for n in range(600)
    ]
    rows, levels = dataset.parse(Path("s"), lines, Exact()), parse_levels(["0", "none"], [])
    graded = {(f"{row.key}#0", level): graded_alike(row, level) for row in rows for level in levels}
    table = Table(rows=rows, samples=1, levels=levels, graded=graded)
    cases = analysis.cases(table, margin=0.01, alpha=0.05)
    assert [(case.name, case.weight) for case in cases] == [
        ("all", 6000), ("heavy", 5400), ("light", 600),
    ]  # fmt: skip
    mix = sweep_load._recommended(cases)
    assert mix is not None
    assert mix[1] == pytest.approx(0.9)
    assert mix[1] == pytest.approx(cases[0].points[0].accuracy.value)


def test_an_estimate_says_what_reuse_saves():
    rows = dataset.parse(Path("s"), ['{"prompt": "x", "answer": "y"}'] * 10, Exact())
    levels = parse_levels(["0", "64", "none"], [])
    apart = estimate(rows, 2, levels, Method.INDEPENDENT, 500)
    reused = estimate(rows, 2, levels, Method.REUSE, 500)
    assert (apart.fewest_requests, apart.most_requests) == (60, 60)
    assert (reused.fewest_requests, reused.most_requests) == (20, 60)
    assert apart.output_tokens == 20 * (0 + 64 + 500 + 3 * 100)
    assert reused.output_tokens == 20 * (500 + 3 * 100)
