"""What each model server speaks: arguments, probes, drain, metric names, request dialect, native
budgets.

`adapter_for` and `dialect_for` are the tables from the resource's `engine.type` to how it is
started and how it is spoken to; a new engine is new modules and a row in each.
"""

from typing import Final

from thinkscale.engines.adapter import EngineAdapter
from thinkscale.engines.dialect import Dialect
from thinkscale.engines.sglang import Sglang
from thinkscale.engines.sglang_requests import SglangRequests
from thinkscale.engines.tgi import Tgi
from thinkscale.engines.tgi_requests import TgiRequests
from thinkscale.engines.vllm import Vllm
from thinkscale.engines.vllm_requests import VllmRequests
from thinkscale.errors import SpecInvalid

_ADAPTERS: Final[dict[str, EngineAdapter]] = {"VLLM": Vllm(), "TGI": Tgi(), "SGLang": Sglang()}
DIALECTS: Final[dict[str, Dialect]] = {
    "VLLM": VllmRequests(),
    "TGI": TgiRequests(),
    "SGLang": SglangRequests(),
}


def adapter_for(engine_type: str) -> EngineAdapter:
    """The adapter of an engine type; raises SpecInvalid for one that we do not speak."""
    _known(engine_type)
    return _ADAPTERS[engine_type]


def dialect_for(engine_type: str) -> Dialect:
    """The request dialect of an engine type; raises SpecInvalid for one that we do not speak."""
    _known(engine_type)
    return DIALECTS[engine_type]


def _known(engine_type: str) -> None:
    if engine_type not in _ADAPTERS:
        known = ", ".join(sorted(_ADAPTERS))
        raise SpecInvalid("spec.engine.type", f"{engine_type} is not one of {known}")
