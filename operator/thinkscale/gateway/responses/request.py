"""Reads a request of the Responses API and writes the chat request that serves it.

Sans-I/O. Three kinds of fields: those that are translated, those that mean nothing to a server
that keeps no state (accepted, without effect), and those that ask for something that is not done
here (a 400 that says what to do instead). All other fields pass to the engine, as on every route.

The chat request is always a stream with usage and token ids, whatever the client wants: the ids
tell a thought from its answer where the engine has no reasoning parser.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from thinkscale.gateway.request import BadRequest, json_object
from thinkscale.gateway.responses.items import messages_of
from thinkscale.gateway.responses.tools import (
    chat_tool_choice,
    chat_tools,
    response_format,
)

_STATELESS: Final = "nothing is stored here: send the whole conversation as `input`"
_UNSUPPORTED: Final = {
    "previous_response_id": _STATELESS,
    "conversation": _STATELESS,
    "prompt": "there are no stored prompt templates here: send `instructions` and `input`",
    "background": "responses are not stored, so they cannot be fetched later: use `stream`",
    "context_management": "the input is not compacted here: send what is to be read",
    "moderation": "there is no moderation here",
    "top_logprobs": "log probabilities are given on /v1/chat/completions only",
    "logprobs": "log probabilities are given on /v1/chat/completions only",
    "return_token_ids": "token ids are given on /v1/chat/completions only",
    "messages": "the messages are called `input` here",
    "max_tokens": "the limit is called `max_output_tokens` here",
    "max_completion_tokens": "the limit is called `max_output_tokens` here",
    "response_format": "the format is called `text.format` here",
}
"""Fields that are refused unless they ask for nothing (null, false, 0, an empty list)."""
_WITHOUT_EFFECT: Final = frozenset(
    {
        "max_tool_calls",  # of built-in tools, which there are none of
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
    }
)
_TRANSLATED: Final = frozenset(
    {
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "metadata",
        "n",
        "reasoning",
        "stream",
        "stream_options",
        "text",
        "tool_choice",
        "tools",
        "truncation",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesRequest:
    """A request, translated."""

    chat: bytes
    """The body for the chat route."""
    stream: bool
    """The client wants events; the chat request is a stream in any case."""
    echo: Mapping[str, Any]
    """What the response says of its request."""


def read(data: bytes, model: str) -> ResponsesRequest:
    """Translate a body for the model that is served. Raises `BadRequest`."""
    body = json_object(data)
    _refuse(body)
    chat: dict[str, Any] = {
        name: value
        for name, value in body.items()
        if name not in _TRANSLATED and name not in _WITHOUT_EFFECT and name not in _UNSUPPORTED
    }
    chat["messages"] = messages_of(body.get("instructions"), body.get("input"))
    tools = chat_tools(body.get("tools"))
    if tools:
        chat["tools"] = tools
    choice = chat_tool_choice(body.get("tool_choice"))
    if tools or choice not in ("none", "auto"):  # a call that cannot be is for the engine to refuse
        chat["tool_choice"] = choice
    text = _mapping(body, "text")
    shape = response_format(text.get("format"))
    if shape is not None:
        chat["response_format"] = shape
    if body.get("max_output_tokens") is not None:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    chat.update(_reasoning(_mapping(body, "reasoning")))
    chat.update(stream=True, stream_options={"include_usage": True}, return_token_ids=True)
    return ResponsesRequest(
        chat=orjson.dumps(chat),
        stream=_flag(body, "stream"),
        echo=_echo(body, model),
    )


def in_its_words(error: BadRequest) -> BadRequest:
    """A refusal of the chat request, naming the field as the client knows it."""
    if error.param != "reasoning_effort":
        return error
    return BadRequest(error.message, param="reasoning.effort", status=error.status)


def _refuse(body: Mapping[str, Any]) -> None:
    for name, reason in _UNSUPPORTED.items():
        if body.get(name):
            raise BadRequest(f"{name} is not supported: {reason}.", param=name)
    if body.get("n") not in (None, 1):
        raise BadRequest("n is not supported: a response is one answer.", param="n")
    if body.get("truncation") not in (None, "disabled"):
        raise BadRequest(
            "truncation is not supported: leave out of `input` what is not to be read.",
            param="truncation",
        )
    included = body.get("include") or []
    if not isinstance(included, list):
        raise BadRequest("include must be a list", param="include")
    for name in included:
        reason = "reasoning items carry their text in the open, so there is nothing to encrypt"
        if name != "reasoning.encrypted_content":
            reason = "it is not produced here"
        raise BadRequest(f"include: {name} is not supported: {reason}.", param="include")


def _reasoning(asked: Mapping[str, Any]) -> dict[str, Any]:
    """All but the wish for a summary, which nobody writes here: the thought itself is shown."""
    rest = {k: v for k, v in asked.items() if k not in ("summary", "generate_summary")}
    return {"reasoning": rest} if rest else {}


def _echo(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    metadata = _mapping(body, "metadata")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise BadRequest("metadata must map names to strings", param="metadata")
    text = _mapping(body, "text")
    reasoning = _mapping(body, "reasoning")
    return {
        "background": False,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": body.get("max_tool_calls"),
        "metadata": metadata,
        "model": model,
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": body.get("temperature"),
        "text": {**text, "format": text.get("format") or {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p"),
        "truncation": "disabled",
        "user": body.get("user"),
    }


def _mapping(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"{name} must be an object", param=name)
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise BadRequest(f"{name} must be true or false", param=name)
