"""Life tables for worked examples."""

from thinkscale.model.ages import BINS
from thinkscale.scaling.life_table import Table
from thinkscale.scaling.survival import Survival

PLENTY = 1_000_000


def table(hazard_per_token: float, ends: float = 20_000.0) -> Table:
    """One hazard everywhere, by so much evidence that no prior is felt."""
    rows = ((ends / hazard_per_token,) * BINS, (ends,) * BINS)
    return Table(
        exposure_tokens=rows[0], ends=rows[1], slow_exposure_tokens=rows[0], slow_ends=rows[1]
    )


def memoryless(mean_tokens: float, bound: int | None = None, stretch: float = 1.0) -> Survival:
    """Lengths without a memory."""
    return Survival(table(1 / mean_tokens), bound, stretch)


def exactly(tokens: int) -> Survival:
    """Every length is this: nobody ends before the bound."""
    exposure = (1e12,) * BINS
    ends = (*(0.0,) * (BINS - 1), 1e6)
    return Survival(
        Table(exposure_tokens=exposure, ends=ends, slow_exposure_tokens=exposure, slow_ends=ends),
        tokens,
    )
