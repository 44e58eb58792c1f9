"""`thinkscale explain`: what the operator does with one service now, and why; what load has cost.

It reads the resource, and the ConfigMap with what the gateways were told: `get` on both is all the
rights that it takes. It asks no gateway and no engine, and computes nothing that the operator has
not decided: two people who look at the same moment are told the same.
"""

import argparse
import asyncio
from collections.abc import Sequence

from pydantic import ValidationError

from thinkscale.api import names
from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.cli import explain_view
from thinkscale.cli.arguments import Misuse, guarded, parser
from thinkscale.controller.runtime import Published
from thinkscale.errors import ApiError, ApiNotFound
from thinkscale.kube.client import KubeClient
from thinkscale.kube.context import current_namespace
from thinkscale.kube.resources import CONFIG_MAPS, REASONING_SERVICES
from thinkscale.model.directive import Directive


def _options(argv: Sequence[str]) -> argparse.Namespace:
    arguments = parser("explain", "Tell what the operator does with a ReasoningService, and why.")
    arguments.add_argument("name", metavar="NAME", help="of the ReasoningService")
    arguments.add_argument(
        "-n", "--namespace", metavar="NAMESPACE", help="default: that of the kubeconfig's context"
    )
    return arguments.parse_args(argv)


def _run(argv: Sequence[str]) -> int:
    options = _options(argv)
    namespace = options.namespace or current_namespace()
    service, directive = asyncio.run(_read(namespace, options.name))
    print("\n".join(explain_view.lines(service, directive)))
    return 0


async def _read(namespace: str, name: str) -> tuple[ReasoningService, Directive | None]:
    """The resource and what its gateways were told last (None: nothing). Misuse, ApiError."""
    async with KubeClient.from_environment() as kube:
        try:
            found = await kube.get(REASONING_SERVICES, namespace, name)
        except ApiNotFound as error:
            raise Misuse(
                f"there is no ReasoningService {name} in namespace {namespace}; "
                f"`kubectl get rsvc -A` lists all"
            ) from error
        try:
            service = ReasoningService.model_validate(found)
        except ValidationError as error:
            raise Misuse(
                f"{namespace}/{name} is of another version of Thinkscale than this command: {error}"
            ) from error
        return service, await _directive(kube, namespace, names.runtime_name(name))


async def _directive(kube: KubeClient, namespace: str, name: str) -> Directive | None:
    try:
        found = await kube.get(CONFIG_MAPS, namespace, name)
    except ApiNotFound:
        return None
    except ApiError as error:
        raise Misuse(f"ConfigMap {namespace}/{name} cannot be read: {error}") from error
    return Published(data=found.get("data") or {}).directive


main = guarded("explain", _run)
