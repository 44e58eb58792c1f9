"""SGLang's dialect (0.5.20): a chat shows no token ids, counters move at the end, and it kills
itself at the end of a drain.

Read from SGLang's source, not measured: it does not run on our machines. What is kept of its traps:
`/metrics` is off without `--enable-metrics`; the native budget is `custom_params.thinking_budget`
and is ignored in silence without `--enable-strict-thinking`; a natural end has a `matched_stop`
too; errors are flat objects; `/tokenize` tells the tokenizer's longest text, not the server's;
draining takes as long as it takes, with `/health` at 503.
"""

import secrets
import time
from collections.abc import Sequence
from typing import Any, Final

import orjson
from aiohttp import web

from thinkscale.emulator import vocabulary
from thinkscale.emulator.choice import Parser
from thinkscale.emulator.metrics import Metrics
from thinkscale.emulator.refusals import Refusal, busy, malformed
from thinkscale.emulator.requests import Body, chat_text, read_generation
from thinkscale.emulator.server import Server
from thinkscale.emulator.sglang_metrics import SglangMetrics
from thinkscale.emulator.sglang_replies import SglangReplies
from thinkscale.emulator.wire import empty, json_body, json_reply, sent_as_event

VERSION: Final = "0.5.20"
TOKENIZERS_LONGEST: Final = 131_072
_IGNORED: Final = frozenset({"thinking_token_budget", "max_thinking_tokens", "custom_params"})


class SglangServer(Server):
    """One emulated SGLang."""

    drains_without_limit = True
    kills_itself = True

    def _new_metrics(self) -> Metrics:
        return SglangMetrics(self._options.served_name, self._options.max_model_len)

    def _has_budgets(self) -> bool:
        return True

    def _routes(self) -> Sequence[web.AbstractRouteDef]:
        return (
            web.post("/v1/chat/completions", self._chat),
            web.post("/v1/completions", self._complete),
            web.post("/tokenize", self._tokenize),
            web.post("/detokenize", self._detokenize),
            web.get("/v1/models", self._models),
            web.get("/health", self._health),
            web.get("/health_generate", self._health),
            web.get("/get_model_info", self._model_info),
            web.get("/get_server_info", self._server_info),
            web.get("/metrics", self._metrics),
        )

    def _shape_of(self, refused: Refusal) -> dict[str, Any]:
        return _error(refused)

    async def _generate(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        body = _known(await json_body(request), chat=chat, strict=self._obeys())
        generation = read_generation(body, self._model, chat=chat)
        if self.shutting_down:
            raise busy()
        if self._is_full():
            self.engine.metrics.rejections += 1
            if not generation.stream:
                raise busy()
            return await sent_as_event(request, orjson.dumps({"error": _error(busy())}))
        replies = SglangReplies(
            generation,
            self._options.served_name,
            self._options.parser,
            secrets.token_hex(16),
            int(time.time()),
        )
        return await self._serve(request, generation, replies)

    def _obeys(self) -> bool:
        return self._options.strict_thinking and self._options.parser is not Parser.NONE

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=503) if self.shutting_down else await empty(request)

    async def _model_info(self, request: web.Request) -> web.Response:
        info = {"model_path": self._options.model, "is_generation": True}
        return json_reply(orjson.dumps(info))

    async def _server_info(self, request: web.Request) -> web.Response:
        options = self._options
        info = {
            "model_path": options.model,
            "served_model_name": options.served_name,
            "context_length": options.max_model_len,
            "max_running_requests": options.profile.seats,
            "reasoning_parser": _spelled(options.parser),
            "version": VERSION,
        }
        return json_reply(orjson.dumps(info))

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        prompt, messages = body.get("prompt"), body.get("messages")
        if (prompt is None) == (messages is None):
            raise malformed("Exactly one of 'prompt' or 'messages' must be provided.")
        text = prompt if isinstance(prompt, str) else chat_text(body, self._model.template)
        ids = vocabulary.encode(text)
        answer = {"tokens": ids, "count": len(ids), "max_model_len": TOKENIZERS_LONGEST}
        return json_reply(orjson.dumps(answer))

    async def _detokenize(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        ids = body.get("tokens")
        if not isinstance(ids, list) or not all(
            isinstance(i, int) and 0 <= i < vocabulary.SIZE for i in ids
        ):
            raise malformed("'tokens' must be a list of integers.")
        if body.get("skip_special_tokens") is not False:
            ids = [i for i in ids if i not in vocabulary.SILENT]
        return json_reply(orjson.dumps({"text": vocabulary.decode(ids)}))


def _known(body: Body, *, chat: bool, strict: bool) -> dict[str, object]:
    """A body with SGLang's names for what our reader of requests knows."""
    out = {name: value for name, value in body.items() if name not in _IGNORED}
    if chat:
        out.pop("return_token_ids", None)
    custom = body.get("custom_params")
    if strict and isinstance(custom, dict) and custom.get("thinking_budget") is not None:
        out["thinking_token_budget"] = custom["thinking_budget"]
    if body.get("reasoning_effort") == "none":
        out["chat_template_kwargs"] = {"enable_thinking": False}
    return out


def _spelled(parser: Parser) -> str | None:
    return None if parser is Parser.NONE else parser.value.replace("_", "-")


def _error(refused: Refusal) -> dict[str, Any]:
    return {"object": "error", **refused.error["error"]}
