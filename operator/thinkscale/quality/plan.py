"""The whole plan of a sweep: who is asked what next, and what is known by now. Pure.

Samples come in an order drawn once, so that what is known after a tenth of a sweep is a fair sample
of the whole: a set sorted by difficulty would show its easy end first.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from thinkscale.engines.dialect import Tags
from thinkscale.quality import independent, reuse
from thinkscale.quality.calls import Call, Reply, sample_key
from thinkscale.quality.dataset import Row
from thinkscale.quality.levels import Level
from thinkscale.quality.outcome import Answered
from thinkscale.quality.settings import Method, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One sweep."""

    rows: Sequence[Row]
    samples: int
    levels: Sequence[Level]
    settings: Settings
    tags: Tags

    def order(self) -> list[tuple[Row, str]]:
        """Rows with the keys of their samples, as they are asked."""
        items = [(row, sample_key(row.key, k)) for k in range(self.samples) for row in self.rows]
        random.Random(0).shuffle(items)
        return items

    def next_call(self, row: Row, sample: str, known: Mapping[str, Reply]) -> Call | None:
        """What a sample needs next; None: all is known."""
        if self.settings.method is Method.REUSE:
            return reuse.next_call(row, sample, self.levels, self.settings, self.tags, known)
        context = self.tags.context_tokens
        return independent.next_call(row, sample, self.levels, self.settings, context, known)

    def answers(self, row: Row, sample: str, known: Mapping[str, Reply]) -> list[Answered]:
        """What a sample's levels came to, so far as they are known."""
        if self.settings.method is Method.REUSE:
            return reuse.answers(row, sample, self.levels, self.settings, self.tags, known)
        return independent.answers(sample, self.levels, known)

    def known(self, known: Mapping[str, Reply]) -> Iterator[tuple[Row, Answered]]:
        """All that is known of all samples."""
        for row, sample in self.order():
            for answered in self.answers(row, sample, known):
                yield row, answered
