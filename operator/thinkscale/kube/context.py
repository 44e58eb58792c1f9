"""The namespace that a person means who names none: that of the kubeconfig's context, as kubectl
has it.

It is for the command line alone: the operator and the gateways are told where they are.
"""

import os
from pathlib import Path
from typing import Any, Final

from kubernetes.aio import config as kube_config

DEFAULT: Final = "default"
POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def current_namespace() -> str:
    """Of `KUBECONFIG`'s current context if that is set, else of the pod, else of ~/.kube/config;
    `default` where none of them names one or can be read.
    """
    path = os.environ.get("KUBECONFIG")
    if not path and os.environ.get("KUBERNETES_SERVICE_HOST"):
        try:
            return POD_NAMESPACE.read_text().strip() or DEFAULT
        except OSError:
            return DEFAULT
    contexts: Any = kube_config.list_kube_config_contexts
    try:
        _, current = contexts(path or None)
    except (kube_config.ConfigException, OSError):
        return DEFAULT
    named: Any = (current or {}).get("context") or {}
    return str(named.get("namespace") or DEFAULT)
