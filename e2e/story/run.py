"""One run of traffic: the generator's process, what it has reported so far, and the run's clock.

Everything a run leaves lies in one directory under `runs/`: the job, the outcomes as they came, and
whatever the caller adds. Second 0 is the instant from which the requests' times count.
"""

import itertools
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from e2e.story.generator import Stream, write_job
from e2e.story.outcomes import Outcome

ROOT = Path(__file__).parents[2]
LEAD_SECONDS = 2.0
"""From the start of the generator's process to second 0: time to start up and read the job."""
STOP_SECONDS = 10


def new_directory(kind: str) -> Path:
    """`runs/KIND-DATE-TIME`, made; two in one second do not share it."""
    stem = ROOT / "runs" / f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}"
    stem.parent.mkdir(exist_ok=True)
    for number in itertools.count(1):
        directory = stem if number == 1 else stem.with_name(f"{stem.name}-{number}")
        try:
            directory.mkdir()
        except FileExistsError:
            continue
        return directory
    raise AssertionError("unreachable: the numbers do not end")


class TrafficRun:
    """Starts the generator at once; a context manager that ends it."""

    def __init__(
        self,
        directory: Path,
        streams: Sequence[Stream],
        *,
        stop_after_seconds: float,
        name: str = "traffic",
        zero: float | None = None,
    ) -> None:
        """`zero`: the Unix time of second 0; None: shortly from now."""
        self.streams = tuple(streams)
        self._outcomes_path = directory / f"{name}.outcomes.jsonl"
        self._outcomes: list[Outcome] = []
        self._offset = 0
        start_at = time.time() + LEAD_SECONDS if zero is None else zero
        self._zero = time.monotonic() + (start_at - time.time())
        self.zero = start_at
        job = directory / f"{name}.job.json"
        write_job(job, streams, start_at=start_at, stop_after_seconds=stop_after_seconds)
        self._outcomes_path.touch()
        self._log = (directory / f"{name}.generator.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "e2e.story.generator", str(job), str(self._outcomes_path)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> "TrafficRun":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(STOP_SECONDS)
        self._log.close()

    def now(self) -> float:
        """Seconds since second 0."""
        return time.monotonic() - self._zero

    def finished(self) -> bool:
        """The generator is done. Raises RuntimeError if it broke."""
        code = self._process.poll()
        if code:
            raise RuntimeError(f"the generator ended with {code}; see {self._log.name}")
        return code is not None

    def outcomes(self) -> list[Outcome]:
        """All outcomes so far (only what is new is read)."""
        with self._outcomes_path.open("rb") as file:
            file.seek(self._offset)
            lines = file.read().split(b"\n")
        self._offset += sum(len(line) + 1 for line in lines[:-1])
        self._outcomes += [Outcome(**orjson.loads(line)) for line in lines[:-1]]
        return self._outcomes

    def by_stream(self) -> dict[str, list[Outcome]]:
        """Outcomes so far by stream; every stream is there."""
        found: dict[str, list[Outcome]] = {stream.name: [] for stream in self.streams}
        for outcome in self.outcomes():
            found[outcome.stream].append(outcome)
        return found

    def intended(self) -> dict[str, int]:
        """Requests whose time has come, by stream."""
        now = self.now()
        return {
            stream.name: sum(request.at_seconds <= now for request in stream.requests)
            for stream in self.streams
        }
