"""The runtime ConfigMap: what the operator tells the gateways (configuration, directive) and what
it must not forget (the law's state).

One object, so that an order and the memory of having given it are written together or not at all.
"""

from collections.abc import Mapping

from thinkscale.api import names
from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.resources.objects import Object, owned


def runtime_config_map(service: ReasoningService, data: Mapping[str, str]) -> Object:
    """The ConfigMap with these texts under `config.json`, `directive.json`, `state.json` and
    `debt.json`."""
    head = owned(
        service,
        "v1",
        "ConfigMap",
        names.runtime_name(service.metadata.name),
        names.COMPONENT_GATEWAY,
    )
    return {**head, "data": dict(data)}
