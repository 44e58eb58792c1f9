"""What all owned objects share: head, labels, owner reference; and how parts of the resource become
plain dicts.

The owner reference is the whole of our clean-up: no finalizer, the garbage collector removes what a
deleted resource leaves behind, also while the operator is down.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from thinkscale.api import names
from thinkscale.api.v1alpha1 import ReasoningService, ResourceRequirements

Object = dict[str, Any]


def owner_reference(service: ReasoningService) -> Object:
    """Makes the resource the one controller of an object."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": service.metadata.name,
        "uid": service.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owned(
    service: ReasoningService, api_version: str, kind: str, name: str, component: str
) -> Object:
    """Head of an owned object."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": service.metadata.namespace,
            "labels": names.service_labels(service.metadata.name, component),
            "ownerReferences": [owner_reference(service)],
        },
    }


def plain(part: BaseModel) -> Object:
    """A part of the resource as it was written: what equals its default is left out.

    Leaving defaults out keeps digests stable when a later version of the resource knows more
    fields. It does not when that version changes the default of an old field: a value that was
    written out, and is or was the default, then comes or goes.
    """
    return part.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def digest(value: object) -> str:
    """A short name for a JSON value: equal values, equal digests."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def quantities(requirements: ResourceRequirements | None) -> Object:
    """Requests and limits with every quantity as a string, which server-side apply insists on."""
    if requirements is None:
        return {}
    parts: Mapping[str, Mapping[str, Any]] = {
        "requests": requirements.requests,
        "limits": requirements.limits,
    }
    return {
        part: {name: str(quantity) for name, quantity in values.items()}
        for part, values in parts.items()
        if values
    }


def service_account(service: ReasoningService, name: str, component: str) -> Object:
    """A ServiceAccount whose token no pod gets unless the pod itself asks for it."""
    return {
        **owned(service, "v1", "ServiceAccount", name, component),
        "automountServiceAccountToken": False,
    }


def disruption_budget(service: ReasoningService, name: str, component: str) -> Object:
    """Evictions take one pod at a time."""
    return {
        **owned(service, "policy/v1", "PodDisruptionBudget", name, component),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.selector(service.metadata.name, component)},
        },
    }
