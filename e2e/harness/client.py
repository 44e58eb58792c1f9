"""kubectl and helm against one cluster, whichever it is.

Tests and the demo speak to the cluster the way a person does, so that what they prove is what a
person gets. Must not know how the cluster came to be.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

COMMAND_SECONDS = 120


class CommandError(RuntimeError):
    """kubectl or helm failed; the text is its command line and what it printed on stderr."""

    def __init__(self, command: list[str], done: subprocess.CompletedProcess[str]) -> None:
        super().__init__(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.strip()}")
        self.done = done


class ClusterClient:
    """The two commands bound to a kubeconfig (None: whatever kubectl itself would use)."""

    def __init__(self, kubectl: str, helm: str | None, kubeconfig: Path | None) -> None:
        self._kubectl = kubectl
        self._helm = helm
        self._kubeconfig = kubeconfig

    def kubectl(
        self,
        *arguments: str,
        input: str | None = None,
        check: bool = True,
        timeout_seconds: float = COMMAND_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl; `input` goes to its stdin. Raises `CommandError` unless `check` is off."""
        return self._call([self._kubectl, *arguments], input, check, timeout_seconds)

    def helm(
        self,
        *arguments: str,
        input: str | None = None,
        check: bool = True,
        timeout_seconds: float = COMMAND_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run helm; as `kubectl` otherwise."""
        if self._helm is None:
            raise RuntimeError("helm is missing: run `make install`")
        return self._call([self._helm, *arguments], input, check, timeout_seconds)

    def apply(self, manifest: str | dict[str, Any], *arguments: str) -> None:
        """`kubectl apply` of YAML text or of one object."""
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        self.kubectl("apply", "-f", "-", *arguments, input=text)

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get ... -o json`, parsed."""
        output = self.kubectl("get", *arguments, "-o", "json").stdout
        parsed: dict[str, Any] = json.loads(output)
        return parsed

    def _call(
        self, command: list[str], stdin: str | None, check: bool, timeout_seconds: float
    ) -> subprocess.CompletedProcess[str]:
        environment = dict(os.environ)
        if self._kubeconfig is not None:
            environment["KUBECONFIG"] = str(self._kubeconfig)
        done = subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_seconds,
            env=environment,
        )
        if check and done.returncode != 0:
            raise CommandError(command, done)
        return done
