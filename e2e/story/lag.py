"""Whether the emulated model servers kept their own time: a run on an overloaded machine is void.

Each emulator exports how late its steps were, and says itself when that is more than a fifth of a
step (`thinkscale_emulator_void`). Pods come and go with the fleet, so they are asked every few
seconds while they live, and one that was ever void makes the run void.
"""

import re
import threading
import urllib.error
import urllib.request

from e2e.story.sampling import COMPONENT_LABEL, Watches

ASK_SECONDS = 5.0
VOID = re.compile(r"^thinkscale_emulator_void(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
MODEL_PORT = 8000


class LagWatch:
    """Asks all model pods while it is entered; needs to reach them by their addresses."""

    def __init__(self, watches: Watches) -> None:
        self._watches = watches
        self._void: set[str] = set()
        self._asked: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="lag")

    @property
    def void(self) -> list[str]:
        """The pods that were ever void."""
        return sorted(self._void)

    @property
    def asked(self) -> int:
        """How many pods ever answered: none void of none asked would prove nothing."""
        return len(self._asked)

    def __enter__(self) -> "LagWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stopped.wait(ASK_SECONDS):
            self.ask()

    def ask(self) -> None:
        """Ask every model pod once."""
        for name, pod in self._watches.pods.objects().items():
            address = pod.get("status", {}).get("podIP")
            if address and pod["metadata"]["labels"].get(COMPONENT_LABEL) == "model":
                self._ask_one(name, address)

    def _ask_one(self, name: str, address: str) -> None:
        try:
            with urllib.request.urlopen(
                f"http://{address}:{MODEL_PORT}/metrics", timeout=2
            ) as answer:
                text = answer.read().decode()
        except (OSError, urllib.error.URLError):
            return  # Not started yet, or gone: what it said before still counts.
        self._asked.add(name)
        if is_void(text):
            self._void.add(name)


def is_void(metrics: str) -> bool:
    """Whether an emulator's metrics say that its timing cannot be trusted."""
    return any(float(value) > 0 for value in VOID.findall(metrics))
