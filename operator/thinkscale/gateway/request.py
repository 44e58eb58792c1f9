"""Reads a client's request: what it wants back, what it may not ask, how long it may think.

Sans-I/O. Reserved fields are taken out before anything reaches an engine: SGLang's
`custom_logit_processor` is a pickle, hence remote code execution; priorities, KV transfer and extra
sampler arguments are the operator's business. How much it may think is `wish`'s affair.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from thinkscale.engines.dialect import Route
from thinkscale.gateway.wish import BadWish, Grant, grant, instruct, take_wish
from thinkscale.model.gateway_config import GatewayConfig

RESERVED_FIELDS: Final = (
    "bootstrap_host",
    "bootstrap_port",
    "bootstrap_room",
    "custom_logit_processor",
    "custom_params",
    "data_parallel_rank",
    "extra_args",
    "kv_transfer_params",
    "logits_processors",
    "nvext",
    "priority",
    "request_id",
    "rid",
    "session_params",
    "vllm_xargs",
)

_GUIDES: Final = ("structured_outputs", "guided_json", "guided_regex", "guided_choice")
_RESERVED: Final = frozenset(RESERVED_FIELDS)
_NESTED_FURTHER: Final = 16
"""What is put around parts of a body on its way."""
_NESTED_AT_MOST: Final = 254 - _NESTED_FURTHER
"""orjson writes that many levels, and reads four times as many."""


class BadRequest(Exception):
    """The client's request cannot be served as it is (HTTP 400, or 404 for a model)."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status


class ClientRequest(NamedTuple):
    """A parsed request; `body` is what may go to an engine, without budget fields."""

    route: Route
    body: Mapping[str, Any]
    stream: bool
    wants_usage: bool
    wants_running_usage: bool
    wants_ids: bool
    grant: Grant
    """How much it may think."""
    max_tokens: int | None
    stripped: tuple[str, ...]
    uncontinuable: str
    """Why a raw continuation cannot carry it; empty: it can."""
    streamable: bool
    """False: it must go to the engine as it is, since a stream cannot give what it asks."""
    judgeable: bool
    """Its stream shows the thought and the answer of one choice, so it can be ended at a token."""


def parse(route: Route, data: bytes, config: GatewayConfig) -> ClientRequest:
    """Parse a body. Raises `BadRequest`."""
    body = json_object(data)
    asked_model = body.get("model")
    if asked_model is not None and asked_model != config.model:
        raise BadRequest(f"The model `{asked_model}` does not exist.", param="model", status=404)
    stripped: tuple[str, ...] = ()
    if not _RESERVED.isdisjoint(body):
        stripped = tuple(name for name in RESERVED_FIELDS if name in body)
        for name in stripped:
            del body[name]
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        body["prompt"] = prompt[0]  # one prompt, however it is wrapped
    granted = _settle(route, body, config)
    options = body.get("stream_options")
    options = options if isinstance(options, dict) else {}
    stream = body.get("stream") is True
    streamable = stream or not _unstreamable(body)
    hidden = _hidden(route, body)
    return ClientRequest(
        route=route,
        body=body,
        stream=stream,
        wants_usage=not stream or bool(options.get("include_usage")),
        wants_running_usage=bool(options.get("continuous_usage_stats")),
        wants_ids=body.get("return_token_ids") is True,
        grant=granted,
        max_tokens=_smallest(body.get("max_completion_tokens"), body.get("max_tokens")),
        stripped=stripped,
        uncontinuable=hidden or _uncontinuable(route, body),
        streamable=streamable,
        judgeable=streamable and not hidden,
    )


def json_object(data: bytes) -> dict[str, Any]:
    """A body. Raises `BadRequest` if it is none, or nested more deeply than can be written again;
    what may be so shows it by its brackets.
    """
    try:
        body = orjson.loads(data)
        if data.count(b"[") + data.count(b"{") > _NESTED_AT_MOST:
            wrapped = body
            for _ in range(_NESTED_FURTHER):
                wrapped = [wrapped]
            orjson.dumps(wrapped)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    except TypeError as error:
        raise BadRequest("the body is nested too deeply") from error
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def _settle(route: Route, body: dict[str, Any], config: GatewayConfig) -> Grant:
    try:
        wish = take_wish(body)
        granted = grant(wish, config)
    except BadWish as wrong:
        raise BadRequest(wrong.message, param=wrong.param) from wrong
    if route is Route.CHAT:
        instruct(body, wish, granted)
    return granted


def _smallest(*values: Any) -> int | None:
    numbers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    return min(numbers) if numbers else None


def _uncontinuable(route: Route, body: Mapping[str, Any]) -> str:
    if body.get("logprobs") or body.get("prompt_logprobs") is not None:
        return "logprobs"
    for name in _GUIDES:
        if body.get(name):
            return name
    if route is Route.COMPLETIONS:
        return _uncontinuable_completion(body)
    return _uncontinuable_chat(body)


def _uncontinuable_completion(body: Mapping[str, Any]) -> str:
    for name in ("echo", "suffix", "use_beam_search"):
        if body.get(name):
            return name
    return ""


def _hidden(route: Route, body: Mapping[str, Any]) -> str:
    """Why its stream does not show one thought and one answer; empty: it does."""
    count = body.get("n")
    if isinstance(count, int) and count > 1:
        return "n > 1"
    if route is Route.CHAT:
        return "include_reasoning is false" if body.get("include_reasoning") is False else ""
    prompt = body.get("prompt")
    one = isinstance(prompt, str) or (
        isinstance(prompt, list) and bool(prompt) and isinstance(prompt[0], int)
    )
    return "" if one else "several prompts"


def _uncontinuable_chat(body: Mapping[str, Any]) -> str:
    if body.get("tools") and body.get("tool_choice") != "none":
        return "tools"
    shape = body.get("response_format")
    if isinstance(shape, dict) and shape.get("type") not in (None, "text"):
        return "response_format"
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            continue
        if isinstance(content, list) and any(
            isinstance(part, dict) and part.get("type") != "text" for part in content
        ):
            return "content that is not text"
    return ""


def _unstreamable(body: Mapping[str, Any]) -> bool:
    """As one document, which is all that its client wants."""
    return bool(
        body.get("use_beam_search")
        or body.get("prompt_logprobs") is not None
        or body.get("echo")
        or (
            isinstance(body.get("prompt"), list)
            and any(not isinstance(p, int) for p in body["prompt"])
        )
    )
