"""The open-loop load generator: sends each request at its intended time, whatever the fleet does.

It runs as a process of its own (`python -m e2e.story.generator JOB OUTCOMES`), so that neither the
live view nor kubectl can make it late; how late it was all the same is in every record (`sent`
against `intended`). It never retries. One generator may feed several services with the same
requests at the same times. A finished request is one JSON line in OUTCOMES, written at once, so
that the view can follow.

JOB is JSON: `start_at` (Unix time of second 0), `stop_after_seconds` (what is not finished then is
dropped and recorded as `unfinished`), and `streams`: `name`, `url` (up to `/v1`), `model`,
`plan_field`, `requests`.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop

from e2e.story.outcomes import Outcome
from e2e.story.stream import StreamTally
from e2e.story.traffic import Request

CONNECT_SECONDS = 10.0
WORD = "think "
REPLICA_HEADER = "x-thinkscale-replica"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Requests for one service."""

    name: str
    url: str
    """Up to and with `/v1`."""
    model: str
    plan_field: str
    requests: tuple[Request, ...]

    def to_json(self) -> dict[str, Any]:
        """As it stands in a job."""
        return {
            "name": self.name,
            "url": self.url,
            "model": self.model,
            "plan_field": self.plan_field,
            "requests": [
                [r.at_seconds, r.prompt_tokens, r.thinking_tokens, r.answer_tokens]
                for r in self.requests
            ],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Stream":
        """The inverse of `to_json`."""
        requests = tuple(
            Request(at_seconds=at, prompt_tokens=p, thinking_tokens=t, answer_tokens=a)
            for at, p, t, a in data["requests"]
        )
        return cls(**{**data, "requests": requests})


def body_of(stream: Stream, request: Request) -> bytes:
    """The request as a client writes it, plus the plan that only the emulator reads."""
    return orjson.dumps(
        {
            "model": stream.model,
            "messages": [{"role": "user", "content": WORD * request.prompt_tokens}],
            "stream": True,
            "stream_options": {"include_usage": True},
            stream.plan_field: {
                "thinking_tokens": request.thinking_tokens,
                "answer_tokens": request.answer_tokens,
            },
        }
    )


class Generator:
    """Sends the streams' requests; `report` gets each outcome once."""

    def __init__(self, start_at: float, report: Callable[[Outcome], None]) -> None:
        # One clock for everything: monotonic, with second 0 where the job says.
        self._zero = time.monotonic() + (start_at - time.time())
        self._report = report

    def now(self) -> float:
        """Seconds since the run's start."""
        return time.monotonic() - self._zero

    async def run(self, streams: Sequence[Stream], stop_after_seconds: float) -> None:
        """Send everything and wait for the ends, at most until `stop_after_seconds`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False
        ) as session:
            tasks = [
                asyncio.create_task(self._one(session, stream, index, request))
                for stream in streams
                for index, request in enumerate(stream.requests)
            ]
            if not tasks:
                return
            _, late = await asyncio.wait(tasks, timeout=max(0.0, stop_after_seconds - self.now()))
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _one(
        self, session: aiohttp.ClientSession, stream: Stream, index: int, request: Request
    ) -> None:
        tally = StreamTally()
        body = body_of(stream, request)
        sent, status, error, replica = request.at_seconds, 0, "", ""
        try:
            await asyncio.sleep(request.at_seconds - self.now())
            sent = self.now()
            async with session.post(
                f"{stream.url}/chat/completions",
                data=body,
                headers={"content-type": "application/json"},
            ) as response:
                status, replica = response.status, response.headers.get(REPLICA_HEADER, "")
                if status == 200:
                    async for chunk in response.content.iter_any():
                        tally.feed(chunk, self.now())
                    error = tally.error or ("" if tally.complete else "the stream was cut off")
                else:
                    error = (await response.read())[:300].decode(errors="replace")
        except asyncio.CancelledError:
            error = "unfinished"
        except (aiohttp.ClientError, OSError, orjson.JSONDecodeError) as problem:
            error = f"{type(problem).__name__}: {problem}"
        self._report(
            Outcome(
                stream=stream.name,
                index=index,
                intended=request.at_seconds,
                sent=sent,
                first_token=tally.first_token,
                first_answer=tally.first_answer,
                end=self.now(),
                thinking_tokens=tally.thinking_tokens,
                answer_tokens=tally.answer_tokens,
                status=status,
                error=error,
                finish_reason=tally.finish_reason,
                replica=replica,
            )
        )


def write_job(
    path: Path, streams: Sequence[Stream], *, start_at: float, stop_after_seconds: float
) -> None:
    """Write a job file."""
    job = {
        "start_at": start_at,
        "stop_after_seconds": stop_after_seconds,
        "streams": [stream.to_json() for stream in streams],
    }
    path.write_bytes(orjson.dumps(job))


def read_outcomes(path: Path) -> list[Outcome]:
    """The outcomes written so far (whole lines only); none if the file is not there yet."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [Outcome(**orjson.loads(line)) for line in lines]


def main(argv: Sequence[str] | None = None) -> int:
    """`JOB OUTCOMES`: do the job; 0 when every request has an outcome."""
    job_path, outcomes_path = list(sys.argv[1:] if argv is None else argv)
    job = orjson.loads(Path(job_path).read_bytes())
    streams = [Stream.from_json(data) for data in job["streams"]]
    with Path(outcomes_path).open("ab", buffering=0) as out:

        def report(outcome: Outcome) -> None:
            out.write(orjson.dumps(outcome.to_json()) + b"\n")

        generator = Generator(job["start_at"], report)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(generator.run(streams, job["stop_after_seconds"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
