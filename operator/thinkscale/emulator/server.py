"""The HTTP surface: vLLM's routes on aiohttp; the other dialects change what is theirs.

Streams are written to the socket by the engine loop itself, one system call a token; the request's
task only waits for the end, or for the client to hang up (which cancels it, and with it the jobs).
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Any, Final

import orjson
from aiohttp import web

from thinkscale.emulator import vocabulary
from thinkscale.emulator.choice import Choice, Parser, Piece, StopStrings
from thinkscale.emulator.chunks import Replies, ReplyStyle
from thinkscale.emulator.engine import Engine, Job
from thinkscale.emulator.lengths import Lengths
from thinkscale.emulator.metrics import Metrics
from thinkscale.emulator.options import Options
from thinkscale.emulator.prompt import Template, read_prompt
from thinkscale.emulator.refusals import (
    LateRefusal,
    Refusal,
    busy,
    malformed,
    shutting_down,
    unknown_model,
)
from thinkscale.emulator.requests import (
    Generation,
    ServedModel,
    chat_text,
    read_generation,
)
from thinkscale.emulator.script import Script
from thinkscale.emulator.tools import caller_of
from thinkscale.emulator.wire import (
    SSE_HEADERS,
    Handler,
    Shapes,
    empty,
    json_body,
    json_reply,
    sent_as_event,
)

KEEP_ALIVE_SECONDS: Final = 5.0
"""vLLM's: a client must not reuse a connection that was idle for so long."""


class Server:
    """The state of one emulated model server."""

    closes_port_at_once = False
    """On SIGTERM, though streams go on: then even `/health` is refused."""
    drains_without_limit = False
    kills_itself = False
    """At the end of a drain: exit code 137, as out of memory."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.engine = Engine(options.profile, self._new_metrics())
        self._lengths = Lengths(options.lengths)
        self._model = ServedModel(
            name=options.served_name,
            max_tokens=options.max_model_len,
            template=Template(
                opens_think=options.opens_think, has_switch=options.template_switches
            ),
            budgets=self._has_budgets(),
            ignores_budgets=options.quirks.ignores_budgets,
            budget_excess=options.quirks.budget_excess,
            budget_in_answer=options.quirks.budget_in_answer,
            forced_end=options.forced_end or (vocabulary.END_THINK,),
        )
        self._style = ReplyStyle(
            model=options.served_name,
            parser=options.parser,
            reasoning_fields=options.reasoning_fields,
        )
        self._started = int(time.time())
        self.shutting_down = False

    def _new_metrics(self) -> Metrics:
        options = self._options
        return Metrics(
            options.served_name, options.max_model_len, renamed=options.version >= (0, 10)
        )

    def _has_budgets(self) -> bool:
        options = self._options
        return options.parser is not Parser.NONE or options.forced_end is not None

    def application(self) -> web.Application:
        """All routes."""
        app = web.Application(middlewares=[self._errors], client_max_size=64 * 2**20)
        app.add_routes(self._routes())
        return app

    def _routes(self) -> Sequence[web.AbstractRouteDef]:
        return (
            web.post("/v1/chat/completions", self._chat),
            web.post("/v1/completions", self._complete),
            web.get("/v1/models", self._models),
            web.get("/health", empty),
            web.get("/ping", empty),
            web.post("/ping", empty),
            web.get("/version", self._version),
            web.get("/load", self._load),
            web.get("/metrics", self._metrics),
            web.post("/tokenize", self._tokenize),
            web.post("/detokenize", self._detokenize),
        )

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refusals and aiohttp's own errors in the engine's shapes."""
        try:
            return await handler(request)
        except Refusal as refused:
            return json_reply(orjson.dumps(self._shape_of(refused)), self._status_of(refused))
        except web.HTTPNotFound:
            return json_reply(b'{"detail":"Not Found"}', 404)
        except web.HTTPMethodNotAllowed:
            return json_reply(b'{"detail":"Method Not Allowed"}', 405)

    def _shape_of(self, refused: Refusal) -> dict[str, Any]:
        return refused.error

    def _status_of(self, refused: Refusal) -> int:
        return refused.status

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat=True)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat=False)

    async def _generate(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        body = await json_body(request)
        try:
            generation = read_generation(body, self._model, chat=chat)
        except LateRefusal as late:
            if body.get("stream") is not True:
                raise
            return await sent_as_event(request, orjson.dumps(late.error))
        if self.shutting_down:
            raise shutting_down()
        if self._is_full():
            return await self._reject(request, generation)
        prefix = "chatcmpl-" if chat else "cmpl-"
        reply_id = prefix + (request.headers.get("X-Request-Id") or secrets.token_hex(8))
        replies = Replies(generation, self._style, reply_id, int(time.time()))
        return await self._serve(request, generation, replies)

    def _is_full(self) -> bool:
        limit = self._options.max_queued
        return limit is not None and self.engine.in_flight >= limit

    async def _serve(
        self, request: web.Request, generation: Generation, replies: Shapes
    ) -> web.StreamResponse:
        jobs = self._jobs(generation)
        if generation.stream:
            return await self._stream(request, generation, replies, jobs)
        return await self._answer(replies, jobs)

    async def _reject(self, request: web.Request, generation: Generation) -> web.StreamResponse:
        """The queue is full: a stream gets its refusal inside HTTP 200."""
        self.engine.metrics.rejections += 1
        if not generation.stream:
            raise busy()
        return await sent_as_event(request, orjson.dumps(busy().error))

    def _jobs(self, generation: Generation) -> list[Job]:
        """One job for each choice; their sinks are set by the caller."""
        return [
            self._job(generation, prompt, number, at * generation.choices + number)
            for at, prompt in enumerate(generation.prompts)
            for number in range(generation.choices)
        ]

    def _job(self, generation: Generation, prompt: tuple[int, ...], number: int, index: int) -> Job:
        state = read_prompt(prompt)
        sampling = generation.sampling
        try:
            plan = self._lengths.plan(generation.body, state)
        except ValueError as wrong:
            raise malformed(str(wrong)) from wrong
        stops = StopStrings(generation.stop, include=generation.include_stop)
        parser = self._options.parser if generation.chat else Parser.NONE
        caller = None
        if parser is not Parser.NONE:  # without one, the thought is part of the text
            caller = caller_of(generation.body, plan.tool_calls, plan.answer_tokens)
        choice = Choice(
            index=index,
            prompt=state,
            script=Script(state, len(prompt), plan, sampling, number),
            parser=parser,
            stops=stops if generation.stop else None,
            min_tokens=sampling.min_tokens,
            stop_token_ids=sampling.stop_token_ids,
            coalesce=self._options.quirks.coalesce,
            caller=caller,
        )
        return Job(
            choice=choice,
            prompt=prompt,
            max_tokens=sampling.max_tokens,
            choices=generation.choices,
            sink=_nowhere,
        )

    async def _run(self, jobs: list[Job], done: asyncio.Future[None]) -> None:
        """Submit and wait; a client that hangs up cancels this, and the jobs with it."""
        now = asyncio.get_running_loop().time()
        for job in jobs:
            self.engine.submit(job, now)
        try:
            await done
        finally:
            for job in jobs:
                self.engine.cancel(job)

    async def _stream(
        self, request: web.Request, generation: Generation, replies: Shapes, jobs: list[Job]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=SSE_HEADERS)
        response.enable_chunked_encoding()
        await response.prepare(request)
        transport = request.transport
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        prompts = {job.choice.index: job.prompt for job in jobs}
        begun: set[int] = set()
        left = len(jobs)

        def sink(choice: Choice, piece: Piece) -> None:
            nonlocal left
            prompt = prompts[choice.index]
            data = replies.piece(choice, piece, prompt)
            if generation.chat and choice.index not in begun:
                begun.add(choice.index)
                data = replies.first(choice, prompt) + data
            if data and transport is not None and not transport.is_closing():
                transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            if piece.finish_reason is not None:
                left -= 1
                if left == 0 and not done.done():
                    done.set_result(None)

        for job in jobs:
            job.sink = sink
        await self._run(jobs, done)
        counted = sum(len(prompt) for prompt in generation.prompts)
        await response.write(replies.end([job.choice for job in jobs], counted))
        await response.write_eof()
        return response

    async def _answer(self, replies: Shapes, jobs: list[Job]) -> web.Response:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        pieces: list[list[Piece]] = [[] for _ in jobs]
        left = len(jobs)

        def sink(choice: Choice, piece: Piece) -> None:
            nonlocal left
            pieces[choice.index].append(piece)
            if piece.finish_reason is not None:
                left -= 1
                if left == 0 and not done.done():
                    done.set_result(None)

        for job in jobs:
            job.sink = sink
        await self._run(jobs, done)
        choices, prompts = [job.choice for job in jobs], [job.prompt for job in jobs]
        return json_reply(replies.whole(choices, pieces, prompts))

    async def _models(self, request: web.Request) -> web.Response:
        card = {
            "id": self._options.served_name,
            "object": "model",
            "created": self._started,
            "owned_by": self._options.dialect,
            "root": self._options.model,
            "parent": None,
            "max_model_len": self._options.max_model_len,
            "permission": [],
        }
        return json_reply(orjson.dumps({"object": "list", "data": [card]}))

    async def _version(self, request: web.Request) -> web.Response:
        version = ".".join(str(part) for part in (*self._options.version, 0))
        return json_reply(orjson.dumps({"version": version}))

    async def _load(self, request: web.Request) -> web.Response:
        load = self.engine.in_flight if self._options.tracks_load else 0
        return json_reply(orjson.dumps({"server_load": load}))

    async def _metrics(self, request: web.Request) -> web.Response:
        replica = self.engine.replica
        gauges = {
            "num_requests_running": float(replica.running),
            "num_requests_waiting": float(replica.waiting),
            "kv_cache_usage_perc": replica.kv_usage,
        }
        if not self._options.shows_metrics:
            raise web.HTTPNotFound
        text = self.engine.metrics.text(
            gauges, replica.profile.kv_tokens, replica.preemptions, self.engine.lag
        )
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=text.encode(), headers=headers)

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        if body.get("model") not in (None, self._model.name):
            raise unknown_model(str(body["model"]))
        prompt = body.get("prompt")
        if prompt is None:
            prompt = chat_text(body, self._model.template)
        if not isinstance(prompt, str):
            raise malformed("Input should be a valid string", "body.prompt")
        ids = vocabulary.encode(prompt)
        texts = [vocabulary.decode([i]) for i in ids] if body.get("return_token_strs") else None
        return json_reply(
            orjson.dumps(
                {
                    "count": len(ids),
                    "max_model_len": self._model.max_tokens,
                    "tokens": ids,
                    "token_strs": texts,
                }
            )
        )

    async def _detokenize(self, request: web.Request) -> web.Response:
        ids = (await json_body(request)).get("tokens")
        if not isinstance(ids, list) or not all(
            isinstance(i, int) and 0 <= i < vocabulary.SIZE for i in ids
        ):
            raise malformed("Input should be a list of token ids", "body.tokens")
        return json_reply(orjson.dumps({"prompt": vocabulary.decode(ids)}))


def _nowhere(choice: Choice, piece: Piece) -> None:
    """A sink before there is one."""
