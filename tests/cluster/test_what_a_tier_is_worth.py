"""From a sweep's `tiers.yaml` to the directive, and what `thinkscale explain` makes of it.

The sweep and `explain` are the commands themselves, the patch is applied as the sweep's report
says, the API server and the operator are real; a stand-in gateway tells of the load.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from e2e.harness import ClusterClient, eventually
from tests.cluster.crd_inputs import install_crd
from tests.cluster.operator_kit import (
    SERVICE,
    Fleet,
    StandInGateway,
    kubeconfig_of,
    operator,
)
from tests.unit.quality.counting_endpoint import serving
from thinkscale.api import names
from thinkscale.model.ages import BINS
from thinkscale.model.signals import BudgetSignals, LifeTableCounts

GATEWAY_IP = "127.0.8.2"
SOON = 30
MANY = 100_000
"""Of so many requests a few may be cut, and the floor stays the declared one."""
SEEN = LifeTableCounts(
    exposure_tokens=tuple(50_000_000 // (1 + age // 4) for age in range(BINS)),
    ends=tuple(10_000 // (1 + age // 4) for age in range(BINS)),
)


class Told:
    """A service with an operator, and the commands that a person types about it."""

    def __init__(self, fleet: Fleet, gateway: StandInGateway) -> None:
        self.fleet, self.gateway = fleet, gateway

    def change(self, **spec: Any) -> None:
        """Change these fields of the spec."""
        self.kubectl("patch", "rsvc", "r1", "--type=merge", "-p", json.dumps({"spec": spec}))

    def kubectl(self, *words: str) -> str:
        """In the namespace."""
        return self.fleet.cluster.kubectl(*words, "-n", self.fleet.namespace).stdout

    def tiers(self) -> dict[str, list[int]]:
        """Budgets by tier in the directive."""
        data = self.fleet.get("configmap", names.runtime_name("r1"))["data"]
        rule = json.loads(data[names.DIRECTIVE_KEY])["brownout"] or {}
        return {tier["name"]: tier["budgetTokens"] for tier in rule.get("tiers", ())}

    def explain(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`thinkscale explain`."""
        return subprocess.run(
            [sys.executable, "-m", "thinkscale", "explain", *words],
            env={**os.environ, "KUBECONFIG": str(kubeconfig_of(self.fleet.cluster))},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def told(control_plane: ClusterClient, namespace: str, tmp_path: Path) -> Iterator[Told]:
    install_crd(control_plane)
    service = deepcopy(SERVICE)
    service["spec"]["engine"] |= {"contextTokens": 32_768, "gpus": {"count": 2, "product": "H100"}}
    service["spec"]["model"] = {"uri": "hf://deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"}
    service["spec"]["answer"] = {"maxTokens": 4096}
    with (
        StandInGateway(GATEWAY_IP, f"{namespace}/r1") as gateway,
        operator(control_plane, tmp_path / "log"),
    ):
        control_plane.apply(service, "-n", namespace)
        fleet = Fleet(control_plane, namespace)
        eventually(lambda: fleet.pods(names.COMPONENT_GATEWAY), 20)
        fleet.make_ready(names.COMPONENT_GATEWAY, GATEWAY_IP)
        eventually(lambda: fleet.make_ready(names.COMPONENT_MODEL), 20)
        gateway.say(life_table=SEEN, output_life_table=SEEN, arrivals=MANY)
        yield Told(fleet, gateway)


def swept(folder: Path) -> Path:
    """A real sweep over two use cases; returns its directory."""
    out = folder / "sweep"
    rows = [
        {"prompt": f"count {n}", "answer": n, "use_case": case,
         "grader": {"type": "regex", "pattern": r"answer is (\d+)"}}
        for case, numbers in {"Sums, easy": range(1, 9), "Proofs": range(17, 25)}.items()
        for n in [*numbers] * 4
    ]  # fmt: skip
    (folder / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving() as endpoint:
        command = f"{sys.executable} -m thinkscale sweep --endpoint {endpoint.url} --no-plots"
        more = f"--budgets 0,8,32,none --margin-points 20 --out {out} --dataset set.jsonl"
        subprocess.run(shlex.split(f"{command} {more}"), cwd=folder, check=True, timeout=60)
    return out


def test_the_patch_of_a_sweep_is_taken_as_its_report_says_and_load_goes_by_it(
    told: Told, tmp_path: Path
) -> None:
    told.change(
        thinking={
            "budget": {"maxTokens": 64, "floorTokens": 0},
            "tiers": [{"name": "old", "maxTokens": 16}],
        }
    )
    out = swept(tmp_path)
    report = (out / "report.md").read_text()
    (command,) = re.findall(r"```sh\n(kubectl .*)\n```", report)
    _, *words = shlex.split(
        command.replace("NAME", "r1").replace("tiers.yaml", f"{out}/tiers.yaml")
    )
    assert "patched" in told.kubectl(*words)
    stored = told.fleet.get("rsvc", "r1")["spec"]["thinking"]
    quality = {tier["name"]: tier["quality"] for tier in stored["tiers"]}
    assert {tier["name"]: tier["maxTokens"] for tier in stored["tiers"]} == {
        "sums-easy": 8,
        "proofs": 32,
    }
    assert quality["proofs"] == [
        {"maxTokens": 0, "scorePercent": "0.00"},
        {"maxTokens": 8, "scorePercent": "0.00"},
        {"maxTokens": 32, "scorePercent": "100.00"},
    ]
    assert stored["budget"]["maxTokens"] == 64, "what the patch does not name stays"
    made = eventually(told.tiers, SOON, "tiers in the directive")
    assert max(made["sums-easy"]) == 8
    assert max(made["proofs"]) == 32


def test_a_sweep_that_recommends_nothing_makes_a_patch_that_changes_nothing(
    told: Told, tmp_path: Path
) -> None:
    from thinkscale.quality import tiers

    (tmp_path / "tiers.yaml").write_text(tiers.patch(()))
    before = told.fleet.get("rsvc", "r1")["spec"]
    _, *words = shlex.split(tiers.COMMAND.replace("NAME", "r1"))
    words[-1] = str(tmp_path / "tiers.yaml")
    assert "no change" in told.kubectl(*words)
    assert told.fleet.get("rsvc", "r1")["spec"] == before


def quality(*scores: str) -> list[dict[str, Any]]:
    """Points at 1,024, 4,096 and 16,384 tokens."""
    points = zip((1024, 4096, 16_384), scores, strict=True)
    return [{"maxTokens": b, "scorePercent": s} for b, s in points]


def test_a_brown_out_is_explained_with_its_price_by_tier(told: Told) -> None:
    scores = {"steep": quality("40", "60", "80"), "flat": quality("80", "80.5", "81")}
    tiers = [{"name": n, "maxTokens": 16_384, "quality": q} for n, q in scores.items()]
    told.change(thinking={"budget": {"maxTokens": 16_384, "floorTokens": 1024}, "tiers": tiers})
    eventually(told.tiers, SOON, "tiers in the directive")
    calm = told.explain("r1", "-n", told.fleet.namespace)
    assert (calm.returncode, calm.stderr) == (0, "")
    assert "16384 in force, 16384 declared; load may lower it to 1024" in calm.stdout
    assert "Quality debt of the last day: 0 requests cut" in calm.stdout

    spent = BudgetSignals(
        effective_max_tokens=5000,
        tier_max_tokens={"flat": 1024, "steep": 16_384},
        cut_by_load=40,
        withheld_tokens=300_000,
        withheld_millipoints=90_000,
    )
    told.gateway.say(budget=spent, arrivals=2 * MANY)
    eventually(lambda: told.fleet.status().get("qualityDebt", {}).get("pointsWithheld") == 90, SOON)
    status = told.fleet.status()
    assert status["tiers"] == [
        {"name": "flat", "effectiveMaxTokens": 1024},
        {"name": "steep", "effectiveMaxTokens": 16_384},
    ]
    condition = told.fleet.condition("BudgetReduced")
    assert (condition["status"], condition["reason"]) == ("True", "BrownOut")
    assert "flat 1024 of 16384 (its floor), steep 16384 of 16384." in condition["message"]
    assert "they lost about 90 percent points of expected score" in condition["message"]

    explained = told.explain("r1", "-n", told.fleet.namespace)
    assert (explained.returncode, explained.stderr) == (0, "")
    (table,) = re.findall(r"TIER .*\n((?:.*%.*\n)+)", explained.stdout)
    rows = {line.split()[0]: line.split() for line in table.splitlines()}
    assert rows["flat"][1:8] == ["1024", "16384", "1024", "80", "%", "81", "%"]
    assert rows["steep"][1:8] == ["16384", "16384", "1024", "80", "%", "80", "%"]
    assert float(rows["flat"][8]) < float(rows["steep"][8])
    assert "flat is lowered first: a GPU-second saved there costs" in explained.stdout
    assert condition["message"] in explained.stdout
    assert (
        "Quality debt of the last day: 40 requests cut, 300000 thinking tokens withheld at most, "
        "about 90 percent points of expected score given up"
    ) in explained.stdout


def test_who_asks_about_something_that_is_not_there_is_told_so_in_one_line(told: Told) -> None:
    missing = told.explain("r2", "--namespace", told.fleet.namespace)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr == (
        f"thinkscale explain: there is no ReasoningService r2 in namespace {told.fleet.namespace}; "
        "`kubectl get rsvc -A` lists all\n"
    )
    elsewhere = told.explain("r1")
    assert elsewhere.returncode == 2
    assert "in namespace default" in elsewhere.stderr, "that of the kubeconfig's context"
