"""From `instructions` and `input` items to chat messages.

Sans-I/O. Items are finer than messages: a thought, a text and several function calls in a row are
one assistant's turn, and are put together again, since chat templates close a turn behind each
message. The thought goes along as `reasoning_content`, the spelling that every engine reads on the
way in; the template decides whether the model sees it again. The developer's messages become the
system's, a role that templates know, and join the instructions: many templates accept one system
message only, and only at the beginning.
"""

from typing import Any, Final

from thinkscale.gateway.request import BadRequest

_ROLES: Final = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
Message = dict[str, Any]


def messages_of(instructions: Any, items: Any) -> list[Message]:
    """The messages. Raises `BadRequest`, which names the item."""
    if instructions is not None and not isinstance(instructions, str):
        raise BadRequest("instructions must be a string", param="instructions")
    conversation = _Conversation()
    if instructions:
        conversation.say("system", instructions)
    if isinstance(items, str):
        conversation.say("user", items)
    elif isinstance(items, list) and items:
        for number, item in enumerate(items):
            _take(conversation, item, f"input[{number}]")
    else:
        raise BadRequest("input must be a text or a list of items, and not empty", param="input")
    return conversation.end()


class _Conversation:
    """The messages so far, and the assistant's turn that is being put together."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._turn: Message | None = None

    def say(self, role: str, content: Any) -> None:
        """A message of somebody; the assistant's joins the thought before it."""
        if role == "assistant":
            self._assistant("content", "tool_calls")["content"] = content
            return
        self._close()
        texts = [self._messages[-1]["content"], content] if self._messages else []
        both = role == "system" and bool(texts) and self._messages[-1]["role"] == "system"
        if both and all(isinstance(text, str) for text in texts):
            self._messages[-1]["content"] = "\n\n".join(texts)
            return
        self._messages.append({"role": role, "content": content})

    def think(self, text: str) -> None:
        """A thought, which begins a turn."""
        turn = self._assistant("content", "tool_calls")
        turn["reasoning_content"] = turn.get("reasoning_content", "") + text

    def call(self, call: dict[str, Any]) -> None:
        """A function call."""
        self._assistant().setdefault("tool_calls", []).append(call)

    def answer(self, call_id: str, content: Any) -> None:
        """What a function gave back."""
        self._close()
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": content})

    def end(self) -> list[Message]:
        """All messages."""
        self._close()
        return self._messages

    def _assistant(self, *unless: str) -> Message:
        """The open turn, or a new one if it has one of these already."""
        if self._turn is not None and any(name in self._turn for name in unless):
            self._close()
        if self._turn is None:
            self._turn = {"role": "assistant"}
        return self._turn

    def _close(self) -> None:
        if self._turn is not None:
            if "tool_calls" not in self._turn:
                self._turn.setdefault("content", "")
            self._messages.append(self._turn)
            self._turn = None


def _take(conversation: _Conversation, item: Any, where: str) -> None:
    if not isinstance(item, dict):
        raise BadRequest(f"{where} must be an object", param=where)
    kind = item.get("type") or ("message" if "role" in item else None)
    match kind:
        case "message":
            role = _ROLES.get(_string(item, "role", where))
            if role is None:
                raise BadRequest(f"{where}: unknown role `{item['role']}`", param=f"{where}.role")
            conversation.say(role, _content(item.get("content"), f"{where}.content"))
        case "reasoning":
            _think(conversation, item, where)
        case "function_call":
            function = {
                "name": _string(item, "name", where),
                "arguments": _string(item, "arguments", where),
            }
            call_id = _string(item, "call_id", where)
            conversation.call({"id": call_id, "type": "function", "function": function})
        case "function_call_output":
            content = _content(item.get("output"), f"{where}.output")
            conversation.answer(_string(item, "call_id", where), content)
        case "item_reference":
            raise BadRequest(
                f"{where}: nothing is stored here that `item_reference` could mean: send the item.",
                param=where,
            )
        case _:
            raise BadRequest(f"{where}: items of type `{kind}` are not supported.", param=where)


def _think(conversation: _Conversation, item: dict[str, Any], where: str) -> None:
    if item.get("encrypted_content"):
        raise BadRequest(
            f"{where}: encrypted reasoning of another server cannot be read here: leave it out.",
            param=f"{where}.encrypted_content",
        )
    parts = item.get("content") or []
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise BadRequest(f"{where}.content must be a list of parts", param=f"{where}.content")
    text = "".join(_string(part, "text", f"{where}.content") for part in parts)
    if text:
        conversation.think(text)


def _content(content: Any, where: str) -> Any:
    """A text, or a list of chat parts; a single part of text becomes a text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRequest(f"{where} must be a text or a list of parts", param=where)
    parts = [_part(part, f"{where}[{number}]") for number, part in enumerate(content)]
    if len(parts) == 1 and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts


def _part(part: Any, where: str) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise BadRequest(f"{where} must be an object", param=where)
    match part.get("type"):
        case "input_text" | "output_text":
            return {"type": "text", "text": _string(part, "text", where)}
        case "refusal":
            return {"type": "text", "text": _string(part, "refusal", where)}
        case "input_image" if isinstance(part.get("image_url"), str):
            image = {"url": part["image_url"]}
            if part.get("detail"):
                image["detail"] = part["detail"]
            return {"type": "image_url", "image_url": image}
        case "input_image":
            raise BadRequest(
                f"{where}: there are no stored files here: give the image as `image_url`.",
                param=where,
            )
        case "input_audio":
            return {"type": "input_audio", "input_audio": part.get("input_audio")}
        case kind:
            raise BadRequest(f"{where}: parts of type `{kind}` are not supported.", param=where)


def _string(item: dict[str, Any], name: str, where: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{where}.{name} must be a string", param=f"{where}.{name}")
    return value
