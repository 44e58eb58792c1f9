"""Where more thinking stops paying, and how sure one may be."""

import random

import pytest

from thinkscale.quality import plateau, statistics
from thinkscale.quality.levels import UNLIMITED, Effort, Level, LevelError, parse_levels
from thinkscale.quality.plateau import Standing

SEED = 3
LEVELS = [Level(max_tokens=64), Level(max_tokens=256), Level(max_tokens=1024), UNLIMITED]


def found(right: dict[Level, list[bool]], margin: float = 0.01, alpha: float = 0.05):
    rows = len(next(iter(right.values())))
    weights = [1.0] * rows
    single = {level: [[one] for one in verdicts] for level, verdicts in right.items()}
    compared = {
        (a, b): statistics.pairs(single[a], single[b], weights)
        for a in right for b in right if a != b
    }  # fmt: skip
    return plateau.find(compared, list(right), margin, alpha)


def steps(shares: list[float], rows: int) -> dict[Level, list[bool]]:
    """Each row is right from some budget on: verdicts are nested, as with one trace."""
    return {
        level: [row < share * rows for row in range(rows)]
        for level, share in zip(LEVELS, shares, strict=True)
    }


def test_the_fewest_tokens_that_are_not_worse_are_recommended():
    result = found(steps([0.5, 0.8, 0.9, 0.9], 1000))
    assert result.recommended == LEVELS[2]
    assert [result.verdicts[level].standing for level in LEVELS] == [
        Standing.BELOW, Standing.BELOW, Standing.WITHIN, Standing.WITHIN,
    ]  # fmt: skip


def test_with_few_rows_it_cannot_tell_and_says_how_many_more_are_needed():
    result = found(steps([0.5, 0.8, 0.9, 0.9], 100))
    assert result.recommended is None
    verdict = result.verdicts[LEVELS[3]]
    assert verdict.standing is Standing.UNKNOWN
    assert verdict.more_rows is not None
    enough = found(steps([0.5, 0.8, 0.9, 0.9], 100 + verdict.more_rows))
    assert enough.verdicts[LEVELS[3]].standing is Standing.WITHIN


def test_where_much_thinking_hurts_less_is_recommended():
    rows = 2000
    right = steps([0.5, 0.9, 0.9, 0.9], rows)
    right[UNLIMITED] = [row < 0.84 * rows for row in range(rows)]
    result = found(right)
    assert result.recommended == LEVELS[1]
    assert result.verdicts[UNLIMITED].standing is Standing.BELOW


def test_a_wider_margin_allows_fewer_tokens():
    right = steps([0.5, 0.87, 0.9, 0.9], 1000)
    assert found(right).recommended == LEVELS[2]
    assert found(right, margin=0.05).recommended == LEVELS[1]


def test_a_later_look_is_held_to_more():
    assert [plateau.alpha_of_look(looks) for looks in range(3)] == pytest.approx(
        [0.05, 0.025, 0.0125]
    )


def test_seldom_is_a_budget_recommended_that_is_worse_by_the_margin():
    """All but the top level are worse by just the margin: whichever passes is an error."""
    rng, rows, rounds, wrong = random.Random(SEED), 300, 120, 0
    margin = 0.02
    for _ in range(rounds):
        right: dict[Level, list[bool]] = {level: [] for level in LEVELS}
        for _ in range(rows):
            top = rng.random() < 0.9
            right[UNLIMITED].append(top)
            for level in LEVELS[:-1]:
                worse = top and rng.random() < margin / 0.9
                right[level].append(top and not worse)
        result = found(right, margin)
        wrong += any(result.verdicts[level].standing is Standing.WITHIN for level in LEVELS[:-1])
    assert wrong / rounds <= 0.05 + 3 * (0.05 * 0.95 / rounds) ** 0.5


def test_holm_by_hand():
    assert plateau.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert plateau.holm([]) == []
    assert plateau.holm([0.9, 0.8]) == [1.0, 1.0]


def test_levels_are_ordered_from_little_thinking_to_much():
    levels = parse_levels(["none", "64", "0", "64"], ["32", "0"])
    assert [level.name for level in levels] == ["0", "64", "none", "min 32"]
    efforts = parse_levels(["high", "minimal"], [])
    assert efforts == [Level(effort=Effort.MINIMAL), Level(effort=Effort.HIGH)]


def test_minima_bring_what_they_are_compared_with():
    assert [level.name for level in parse_levels(["64"], ["32"])] == ["64", "none", "min 32"]


@pytest.mark.parametrize("word", ["-1", "1.5", "", "٣", "99999999999"])
def test_odd_numbers_are_refused(word):
    with pytest.raises(LevelError, match="is no budget"):
        parse_levels([word, "none"], [])
