"""What can go otherwise than in the plain scenario, and how it is written in a name.

`+priors1.25+lost0.2+crash` behind a scenario's name is this: a prior step time a quarter too long,
a fifth of the scrapes lost, the busiest replica dead half-way. A report's row can be run again from
its name alone.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from thinkscale.errors import ThinkscaleError


class UnknownScenario(ThinkscaleError):
    """No scenario has this name or variant. The message is one line that lists those there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What goes otherwise than in the plain scenario."""

    priors: float = 1.0
    """The prior step time is so many times the true one."""
    lost_scrapes: float = 0.0
    crash: bool = False
    """The busiest replica dies half-way."""
    gateways: int = 1
    boot_seconds: float | None = None
    max_replicas: int | None = None
    seats: int | None = None
    tiers: bool = False
    """Half of the requests each are of two tiers, whose quality is known."""

    @property
    def suffix(self) -> str:
        """As it stands in a name, and is read from it."""
        parts = [
            f"+{word}{value:g}"
            for word, field in _WORDS.items()
            if (value := getattr(self, field)) != getattr(PLAIN, field) and value is not None
        ]
        flags = [f"+{word}" for word in _FLAGS if getattr(self, word)]
        return "".join((*parts, *flags))


_WORDS: Final[Mapping[str, str]] = {
    "priors": "priors",
    "lost": "lost_scrapes",
    "gateways": "gateways",
    "boot": "boot_seconds",
    "max": "max_replicas",
    "seats": "seats",
}
_FLAGS: Final = ("crash", "tiers")
_WHOLE: Final = ("gateways", "max_replicas", "seats")
PLAIN: Final = Variant()


def read(words: Iterable[str]) -> Variant:
    """The variant of these words. UnknownScenario: one of them is none."""
    changes: dict[str, float] = {}
    for written in words:
        match = re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?)?", written)
        word, number = match.groups() if match else ("", None)
        if word in _FLAGS and number is None:
            changes[word] = True
        elif word in _WORDS and number is not None:
            field = _WORDS[word]
            changes[field] = int(float(number)) if field in _WHOLE else float(number)
        else:
            known = ", ".join(
                [*(f"+{word}NUMBER" for word in _WORDS), *(f"+{word}" for word in _FLAGS)]
            )
            raise UnknownScenario(f"no variant is named +{written}; there are {known}")
    return replace(PLAIN, **changes)  # type: ignore[arg-type]
