"""`thinkscale whatif` on a trace: simulated in full, or reckoned when a quick answer will do."""

import json
import random
from pathlib import Path

import pytest
import yaml

from thinkscale.cli.main import main


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """An hour of one request every two seconds that thinks 600 tokens on average."""
    rng = random.Random(4)
    rows = ["arrival_s,prompt_tokens,reasoning_tokens,answer_tokens"]
    rows += [f"{2 * i},300,{round(rng.expovariate(1 / 600)) + 1},100" for i in range(1800)]
    path = tmp_path_factory.mktemp("traces") / "mine.csv"
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def limited(folder, replicas):
    """The shipped resource with another `maxReplicas`."""
    text = (Path(__file__).parents[3] / "examples" / "deepseek-r1-32b.yaml").read_text()
    spec = yaml.safe_load(text)
    spec["spec"]["scaling"] |= {"minReplicas": 1, "maxReplicas": replicas}
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    return str(path)


def answered(tmp_path, *argv):
    figures = tmp_path / "figures.json"
    command = ["whatif", "--add-thinking-tokens", "500", "--share", "0.2", "--json", str(figures)]
    assert main([*command, *argv]) == 0
    return json.loads(figures.read_text())


def test_both_sides_are_simulated_unless_a_quick_answer_will_do(tmp_path, trace, capsys):
    full = answered(tmp_path, "--trace", trace)
    quick = answered(tmp_path, "--trace", trace, "--quick")
    assert (full["method"], quick["method"]) == ("simulation", "closed form")
    for side in ("before", "after"):
        assert full[side]["thinking_tokens_mean"] == quick[side]["thinking_tokens_mean"]
        assert quick[side]["ttfa_seconds"][0] == pytest.approx(full[side]["ttfa_seconds"][0], 0.05)
    more = full["after"]["thinking_tokens_mean"] - full["before"]["thinking_tokens_mean"]
    assert more == pytest.approx(100, rel=0.01)
    assert full["after"]["ttfa_seconds"][1] > 1.15 * full["before"]["ttfa_seconds"][1]
    assert "500 more thinking tokens for 20 %" in capsys.readouterr().out


def test_a_limit_that_is_too_low_is_told_with_the_budget_that_would_fit(tmp_path, capsys):
    """Twelve minutes of eight requests a second, and one replica for them."""
    trace = tmp_path / "busy.csv"
    rows = "".join(f"{i / 8},300,800,100\n" for i in range(5760))
    trace.write_text("arrival_s,prompt_tokens,reasoning_tokens,answer_tokens\n" + rows)
    told = ("replicas_wanted_peak", "overloaded_hours", "carried_budget_tokens")
    argv = ("--trace", str(trace), "--spec", limited(tmp_path, 1))
    full = answered(tmp_path, *argv)
    said = capsys.readouterr().out.splitlines()[-1]
    quick = answered(tmp_path, *argv, "--quick")
    for side in ("before", "after"):
        assert [full[side][name] for name in told] == [quick[side][name] for name in told]
    after = full["after"]
    assert after["replicas_wanted_peak"] > 1
    assert said == (
        f"the limit is too low: {after['replicas_wanted_peak']} replicas are wanted at the peak, "
        f"and more than allowed for {after['overloaded_hours']:.1f} h; a thinking budget of "
        f"{after['carried_budget_tokens']:,} tokens would fit"
    )
    assert said == capsys.readouterr().out.splitlines()[-1]
