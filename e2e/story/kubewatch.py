"""Follows Kubernetes objects with `kubectl get --watch`, as a person would, in a thread.

kubectl and not a client library: the view must work with whatever kubeconfig a person has, and it
must not share a line with the operator that it looks at. kubectl ends a watch after half an hour
or so; it is started again, and its first list replaces what was known.
"""

import json
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

KubeObject = dict[str, Any]

RESTART_SECONDS = 1.0


class KubeWatch:
    """The newest known objects of one kind in one namespace, by name."""

    def __init__(
        self, kubectl: Sequence[str], kind: str, namespace: str, selector: str = ""
    ) -> None:
        """`kubectl` is the command with its global flags, e.g. `["kubectl", "--kubeconfig", F]`."""
        self._command = [*kubectl, "get", kind, "-n", namespace, "-o", "json"]
        self._command += ["--watch", "--output-watch-events"]
        if selector:
            self._command += ["-l", selector]
        self._objects: dict[str, KubeObject] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"watch-{kind}")

    def start(self) -> "KubeWatch":
        """Begin to follow."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End kubectl and the thread."""
        self._stopped.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(5)

    def objects(self) -> dict[str, KubeObject]:
        """A copy of what is known now."""
        with self._lock:
            return dict(self._objects)

    def get(self, name: str) -> KubeObject:
        """One object, or an empty one while it is not known."""
        with self._lock:
            return self._objects.get(name, {})

    def _run(self) -> None:
        while not self._stopped.is_set():
            with subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ) as process:
                self._process = process
                assert process.stdout is not None
                with self._lock:
                    self._objects.clear()
                for event in watch_events(process.stdout):
                    self._take(event)
            self._stopped.wait(RESTART_SECONDS)

    def _take(self, event: dict[str, Any]) -> None:
        item = event.get("object", {})
        name = item.get("metadata", {}).get("name", "")
        with self._lock:
            if event.get("type") == "DELETED":
                self._objects.pop(name, None)
            elif name:
                self._objects[name] = item


def watch_events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The JSON documents that kubectl prints one after another, each as soon as it is whole.

    Events come on a line each; should a version indent them, the document ends with a bare `}`.
    """
    pending: list[str] = []
    for line in lines:
        pending.append(line)
        text = line.rstrip("\n")
        if text == "}" or (len(pending) == 1 and text.startswith("{") and text.endswith("}")):
            yield json.loads("".join(pending))
            pending.clear()
