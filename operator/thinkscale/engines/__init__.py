"""What each model server speaks: arguments, probes, drain, metric names, request dialect, native
budgets.

`adapter_for` is the table from the resource's `engine.type` to the adapter; a new engine is a new
module and a new row.
"""

from typing import Final

from thinkscale.engines.adapter import EngineAdapter
from thinkscale.engines.vllm import Vllm
from thinkscale.errors import SpecInvalid

_ADAPTERS: Final[dict[str, EngineAdapter]] = {"VLLM": Vllm()}


def adapter_for(engine_type: str) -> EngineAdapter:
    """The adapter of an engine type; raises SpecInvalid for one that we do not speak."""
    try:
        return _ADAPTERS[engine_type]
    except KeyError:
        known = ", ".join(sorted(_ADAPTERS))
        raise SpecInvalid("spec.engine.type", f"{engine_type} is not one of {known}") from None
