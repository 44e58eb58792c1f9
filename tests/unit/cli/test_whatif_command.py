"""`thinkscale whatif` on a trace: simulated in full, or reckoned when a quick answer will do."""

import json
import random

import pytest

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
