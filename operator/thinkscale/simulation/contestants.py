"""Who competes, by the name that a user types.

`thinkscale` is the law with the brown-out that the scenario declares; `thinkscale-uncut` is the
same without cutting anybody's thought. `thinkscale:99.9` asks for another objective: that is the
user's knob, the law has no gain to turn. A rival is `kpa` at its published setting, `kpa:0.8` at
another, `kpa:*` at all that are searched. `static-8` stands still; `oracle` knows the future.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from thinkscale.errors import ThinkscaleError
from thinkscale.simulation import oracle, ours
from thinkscale.simulation.outcome import Outcome
from thinkscale.simulation.rivals import RIVALS, Rival
from thinkscale.simulation.run import run
from thinkscale.simulation.scenario import Scenario, uncut
from thinkscale.simulation.tuned import SINGLE

OURS: Final = "thinkscale"
UNCUT: Final = "thinkscale-uncut"
ORACLE: Final = "oracle"
ORACLE_GATEWAY: Final = "oracle-gateway"
OBJECTIVES_PERCENT: Final = ("95", "98", "99.5", "99.9")
"""What `thinkscale:*` asks for in turn; the scenarios themselves ask for 99."""

Progress = Callable[[float], None]


class UnknownPolicy(ThinkscaleError):
    """No policy has this name. The message is one line that lists those there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One policy at one setting."""

    label: str
    """As typed, the setting included: `kpa:0.7`."""
    family: str
    """Without the setting: `kpa`."""
    setting: str
    """Empty: it has none."""
    cuts: bool = False
    """It may use the scenario's brown-out."""
    searched: bool = False
    """One of all settings, tried for the table at equal attainment."""


def names() -> tuple[str, ...]:
    """All families."""
    return (OURS, UNCUT, ORACLE, ORACLE_GATEWAY, "static-N", *(n for n in RIVALS if n != "static"))


def parse(text: str) -> list[Contestant]:
    """The contestants behind one word. UnknownPolicy: there are none."""
    word, _, setting = text.strip().partition(":")
    family, setting = _without_dash(word, setting)
    if family in (ORACLE, ORACLE_GATEWAY) and not setting:
        return [Contestant(label=family, family=family, setting="")]
    if family in (OURS, UNCUT):
        settings = OBJECTIVES_PERCENT if setting == "*" else (setting,)
        return [_ours(family, percent, searched=setting == "*") for percent in settings]
    if family not in RIVALS or (family == "static" and not setting):
        raise UnknownPolicy(f"no policy is named {text!r}; there are {', '.join(names())}")
    rival = RIVALS[family]
    if setting == "*":
        return [_rival(family, str(value), searched=True) for value in rival.settings]
    if not setting:
        single = single_setting(family)
        return [Contestant(label=family, family=family, setting=single)]
    _setting_of(rival, setting)
    return [_rival(family, setting)]


def _without_dash(word: str, setting: str) -> tuple[str, str]:
    """`static-8` is `static:8`."""
    head, dash, tail = word.rpartition("-")
    if head == "static" and dash and tail.isdigit() and not setting:
        return head, tail
    return word, setting


def _ours(family: str, percent: str, *, searched: bool) -> Contestant:
    if percent:
        try:
            valid = 0 < float(percent) < 100
        except ValueError:
            valid = False
        if not valid:
            raise UnknownPolicy(f"{family}:{percent}: the objective is a percentage, like 99.5")
    label = f"{family}:{percent}" if percent else family
    cuts = family == OURS
    return Contestant(label=label, family=family, setting=percent, cuts=cuts, searched=searched)


def _rival(family: str, setting: str, *, searched: bool = False) -> Contestant:
    label = f"{family}-{setting}" if family == "static" else f"{family}:{setting}"
    return Contestant(label=label, family=family, setting=setting, searched=searched)


def _setting_of(rival: Rival, text: str) -> Any:
    """The value meant: one of the grid by its text, or another number of the same kind."""
    for value in rival.settings:
        if str(value) == text:
            return value
    kind = type(rival.settings[0])
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    known = ", ".join(str(value) for value in rival.settings)
    raise UnknownPolicy(f"{rival.name}:{text}: no such setting; those searched are {known}")


def single_setting(family: str) -> str:
    """A rival's published setting, or what a search has put in its place (`tuned`)."""
    rival = RIVALS[family]
    return str(SINGLE.get(family, rival.settings[len(rival.settings) // 2]))


def simulate(
    contestant: Contestant, scenario: Scenario, progress: Progress | None = None
) -> Outcome:
    """Run one contestant in one scenario."""
    family, setting = contestant.family, contestant.setting
    if family in (ORACLE, ORACLE_GATEWAY):
        found = oracle.oracle(scenario, gateway=family == ORACLE_GATEWAY, progress=progress)
        return replace(found, policy=contestant.label)
    if family in (OURS, UNCUT):
        asked = _asked(scenario, setting, cuts=contestant.cuts)
        return run(asked, ours.thinkscale, policy=contestant.label, progress=progress)
    rival = RIVALS[family]
    factory = rival.make(_setting_of(rival, setting))
    return run(scenario, factory, policy=contestant.label, progress=progress)


def _asked(scenario: Scenario, percent: str, *, cuts: bool) -> Scenario:
    """The scenario with what this contestant declares otherwise."""
    intent = scenario.intent
    if percent:
        share = float(percent) / 100
        intent = replace(
            intent, objectives=tuple(replace(o, objective=share) for o in intent.objectives)
        )
    if not cuts:
        intent = uncut(intent)
    return replace(scenario, intent=intent)


def searched(single: Contestant) -> list[Contestant]:
    """The other settings of a contestant's family; none for an oracle."""
    if single.family in (ORACLE, ORACLE_GATEWAY):
        return []
    return [c for c in parse(f"{single.family}:*") if c.setting != single.setting]
