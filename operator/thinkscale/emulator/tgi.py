"""TGI's dialect (3.3): routes, re-queueing each 1,024 tokens, errors inside HTTP 200.

Read from TGI's router, not measured: it does not run on our machines. What is kept of its traps: a
generation goes back to the end of the queue every 1,024 tokens, so that `max_tokens` above that is
overshot to the next multiple, and ends early, without a word, where the next round would not fit;
everything beyond `--max-concurrent-requests` is refused; a stream's refusal is an event; `model`
names an adapter unless it is `tgi`; there is no parser, no native budget, no minimum, no second
choice, and unknown fields say nothing.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from aiohttp import web

from thinkscale.emulator import vocabulary
from thinkscale.emulator.engine import Job
from thinkscale.emulator.metrics import Metrics
from thinkscale.emulator.refusals import Refusal, malformed, out_of_range
from thinkscale.emulator.requests import Body, Generation, chat_text, read_generation
from thinkscale.emulator.server import Server
from thinkscale.emulator.tgi_metrics import TgiMetrics
from thinkscale.emulator.tgi_replies import VERSION, TgiReplies, TgiRoute
from thinkscale.emulator.wire import empty, json_body, json_reply, sent_as_event

ROUND_TOKENS: Final = 1024
_OVERLOADED: Final = "Model is overloaded"


class TgiServer(Server):
    """One emulated TGI."""

    closes_port_at_once = True

    def _new_metrics(self) -> Metrics:
        options = self._options
        return TgiMetrics(options.served_name, options.max_model_len, options.max_input_tokens)

    def _has_budgets(self) -> bool:
        return False

    def _routes(self) -> Sequence[web.AbstractRouteDef]:
        return (
            web.post("/v1/chat/completions", self._chat),
            web.post("/v1/completions", self._complete),
            web.post("/generate", self._generate_once),
            web.post("/generate_stream", self._generate_stream),
            web.post("/", self._generate_either),
            web.post("/tokenize", self._tokenize),
            web.post("/chat_tokenize", self._chat_tokenize),
            web.get("/v1/models", self._models),
            web.get("/", empty),
            web.get("/health", empty),
            web.get("/ping", empty),
            web.get("/info", self._info),
            web.get("/metrics", self._metrics),
        )

    def _shape_of(self, refused: Refusal) -> dict[str, Any]:
        return _error(refused)

    def _status_of(self, refused: Refusal) -> int:
        return refused.status if refused.status == 429 else 422

    async def _generate(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        body = await json_body(request)
        route = TgiRoute.CHAT if chat else TgiRoute.COMPLETIONS
        return await self._run_route(request, route, _openai_body(body, chat=chat))

    async def _generate_once(self, request: web.Request) -> web.StreamResponse:
        body = _native_body(await json_body(request), stream=False)
        return await self._run_route(request, TgiRoute.GENERATE, body)

    async def _generate_stream(self, request: web.Request) -> web.StreamResponse:
        body = _native_body(await json_body(request), stream=True)
        return await self._run_route(request, TgiRoute.GENERATE, body)

    async def _generate_either(self, request: web.Request) -> web.StreamResponse:
        """The old route: a list, unless it streams."""
        body = await json_body(request)
        stream = body.get("stream") is True
        route = TgiRoute.GENERATE if stream else TgiRoute.COMPATIBLE
        return await self._run_route(request, route, _native_body(body, stream=stream))

    async def _run_route(
        self, request: web.Request, route: TgiRoute, body: Body
    ) -> web.StreamResponse:
        self._tally.requests += 1
        try:
            generation = self._admitted(body, chat=route is TgiRoute.CHAT)
        except Refusal as refused:
            self._tally.failures[_kind(refused)] += 1
            if body.get("stream") is not True:
                raise
            return await sent_as_event(request, orjson.dumps(_event(refused, route)))
        replies = TgiReplies(generation, route, self._options.model, int(time.time()))
        return await self._serve(request, generation, replies)

    def _admitted(self, body: Body, *, chat: bool) -> Generation:
        if self._is_full():
            raise Refusal(_OVERLOADED, status=429, kind="overloaded", param=None)
        return read_generation(body, self._model, chat=chat)

    @property
    def _tally(self) -> TgiMetrics:
        metrics = self.engine.metrics
        assert isinstance(metrics, TgiMetrics)
        return metrics

    def _job(self, generation: Generation, prompt: tuple[int, ...], number: int, index: int) -> Job:
        """In rounds. A budget that was asked for is overshot; one that was not fits the rest."""
        job = super()._job(generation, prompt, number, index)
        options = self._options
        asked = generation.body.get("max_tokens") is not None
        tokens = _overshot(job.max_tokens) if asked else job.max_tokens
        done = min(tokens, ROUND_TOKENS)
        while done < tokens:
            so_far = len(prompt) + done
            size = ROUND_TOKENS if asked else min(ROUND_TOKENS, options.max_model_len - so_far)
            if so_far > options.max_input_tokens or so_far + size > options.max_model_len:
                break
            done += min(size, tokens - done)
        job.max_tokens = min(done, ROUND_TOKENS)
        job.round_tokens, job.later_tokens = ROUND_TOKENS, done - job.max_tokens
        return job

    async def _info(self, request: web.Request) -> web.Response:
        options = self._options
        return json_reply(
            orjson.dumps(
                {
                    "model_id": options.model,
                    "model_sha": options.revision,
                    "model_pipeline_tag": "text-generation",
                    "max_concurrent_requests": options.max_queued or 128,
                    "max_best_of": 2,
                    "max_stop_sequences": 4,
                    "max_input_tokens": options.max_input_tokens,
                    "max_total_tokens": options.max_model_len,
                    "validation_workers": 2,
                    "max_client_batch_size": 4,
                    "router": "text-generation-router",
                    "version": VERSION,
                    "sha": None,
                    "docker_label": None,
                }
            )
        )

    async def _tokenize(self, request: web.Request) -> web.Response:
        text = (await json_body(request)).get("inputs")
        if not isinstance(text, str):
            raise malformed("missing field `inputs`")
        return json_reply(orjson.dumps(_tokens(text)))

    async def _chat_tokenize(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        text = chat_text(_openai_body(body, chat=True), self._model.template)
        answer = {"tokenize_response": _tokens(text), "templated_text": text}
        return json_reply(orjson.dumps(answer))


def _overshot(tokens: int) -> int:
    return tokens if tokens <= ROUND_TOKENS else -(-tokens // ROUND_TOKENS) * ROUND_TOKENS


def _openai_body(body: Body, *, chat: bool) -> dict[str, object]:
    """What TGI's schema knows of a body; the test's plan passes."""
    if "max_tokens" in body and "max_completion_tokens" in body:
        raise Refusal(
            "Failed to deserialize the JSON body into the target type: duplicate field "
            "`max_tokens`", status=422, kind="validation", param=None,
        )  # fmt: skip
    out = {name: value for name, value in body.items() if name not in _VLLMS}
    for name in ("max_tokens", "max_completion_tokens"):
        if body.get(name) is not None:
            out["max_tokens"] = body[name]
    if not chat and "max_tokens" not in out:
        out["max_tokens"] = 100
    if body.get("model") not in (None, "tgi"):
        raise out_of_range(f"Adapter {body['model']} is not loaded")
    return out | {"include_stop_str_in_output": True}


def _native_body(body: Body, *, stream: bool) -> dict[str, object]:
    """From `inputs` and `parameters`."""
    given = body.get("parameters") or {}
    if not isinstance(body.get("inputs"), str) or not isinstance(given, Mapping):
        raise malformed("missing field `inputs`")
    out: dict[str, object] = {
        name: value for name, value in given.items() if name in ("seed", "stop", "temperature")
    }
    for name in body.keys() - {"inputs", "parameters", "stream"}:
        out[name] = body[name]
    if given.get("max_new_tokens") is not None:
        out["max_tokens"] = given["max_new_tokens"]
    else:
        out["max_tokens"] = 100
    return out | {
        "prompt": body["inputs"],
        "stream": stream,
        "include_stop_str_in_output": True,
        "details": given.get("details") is True,
    }


_VLLMS: Final = frozenset(
    {
        "add_generation_prompt", "bad_words", "chat_template_kwargs", "continue_final_message",
        "ignore_eos", "logit_bias", "max_completion_tokens", "min_tokens", "model", "n",
        "return_token_ids", "stop_token_ids", "thinking_token_budget",
    }
)  # fmt: skip
"""What our reader of requests knows and TGI does not, or not so."""


def _tokens(text: str) -> list[dict[str, object]]:
    """With the offsets in the text."""
    at, tokens = 0, []
    for token in vocabulary.encode(text):
        piece = vocabulary.decode([token])
        tokens.append({"id": token, "text": piece, "start": at, "stop": at + len(piece)})
        at += len(piece)
    return tokens


def _message(refused: Refusal) -> str:
    message = str(refused.error["error"]["message"])
    return message if refused.status == 429 else f"Input validation error: {message}"


def _kind(refused: Refusal) -> str:
    return "overloaded" if refused.status == 429 else "validation"


def _error(refused: Refusal) -> dict[str, Any]:
    return {"error": _message(refused), "error_type": _kind(refused)}


def _event(refused: Refusal, route: TgiRoute) -> dict[str, Any]:
    """In a stream; the chat route has a shape of its own."""
    if route is not TgiRoute.CHAT:
        return _error(refused)
    return {"error": {"message": _message(refused), "http_status_code": 422}}
