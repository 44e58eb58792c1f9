"""Which conversation a request belongs to, and which replica may still have its beginning.

Pure. Each turn of a conversation repeats all that was said before, and an engine's prefix cache has
most of it if the turn comes to where the last one was. A client may name the conversation
(`prompt_cache_key`, or the header `x-session-id`); else it is known by its beginning: the messages
up to the user's first one (with the client's `user`), or the first characters of a raw prompt. A
gateway remembers where it sent a conversation last, and sends only what goes on there: requests
that merely begin alike must not crowd one replica. Several gateways, which hear of each other's
placements only by what replicas say, agree by a hash on where a conversation begins (rendezvous:
when the fleet changes, only the conversations of the replica in question move). What is kept is a
number, and nothing of what was said.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

BEGINNING_CHARACTERS: Final = 2048
"""Of a raw prompt, which grows at its end; and about what is looked at of a message."""
REMEMBERED: Final = 20_000


@dataclass(frozen=True, slots=True)
class Conversation:
    """That a request belongs to, by its number."""

    number: int
    begins: bool
    """This is its first turn, as far as can be told: no replica has anything of it."""


def conversation_of(body: Mapping[str, Any], session: str = "") -> Conversation | None:
    """None: it cannot be told. `session`: as the client names it."""
    name = session or body.get("prompt_cache_key")
    if isinstance(name, str) and name:
        return Conversation(_number(("named", name)), begins=False)
    said = _beginning(body)
    if not said:
        return None
    user = body.get("user")
    number = _number([user if isinstance(user, str) else "", *said])
    return Conversation(number, begins=not _goes_on(body))


def _goes_on(body: Mapping[str, Any]) -> bool:
    """Something was said before, or so much that it is worth to look for it."""
    prompt = body.get("prompt")
    if isinstance(prompt, str | list):
        return len(prompt) > BEGINNING_CHARACTERS // (1 if isinstance(prompt, str) else 4)
    for message in body["messages"]:
        if isinstance(message, dict) and message.get("role") == "assistant":
            return True
    return False


def _beginning(body: Mapping[str, Any]) -> list[str]:
    said = []
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        said.append(prompt[:BEGINNING_CHARACTERS])
    elif isinstance(prompt, list):
        said.append(str(prompt[: BEGINNING_CHARACTERS // 4]))
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict):
            break
        said.append(_text(message.get("content")))
        if message.get("role") == "user":
            break
    return said


def _text(content: Any) -> str:
    """What tells this content from others: a picture may be megabytes."""
    if isinstance(content, str):
        return _gist(content)
    parts = content if isinstance(content, list) else ()
    pieces = [value for part in parts if isinstance(part, Mapping) for value in part.values()]
    urls = [piece.get("url") for piece in pieces if isinstance(piece, Mapping)]
    return " ".join([_gist(each) for each in (*pieces, *urls) if isinstance(each, str)])


def _gist(text: str) -> str:
    half = BEGINNING_CHARACTERS // 2
    return text if len(text) <= 2 * half else f"{len(text)} {text[:half]}{text[-half:]}"


def _number(parts: Collection[str]) -> int:
    """The same in every gateway."""
    return _hash("\0".join(parts))


def _hash(text: str) -> int:
    digest = blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def rendezvous(conversation: int, names: Collection[str]) -> str:
    """The replica on which all gateways agree. `names`: at least one."""
    return max(names, key=lambda name: (_hash(f"{conversation:x} {name}"), name))


class Whereabouts:
    """Where the conversations were sent last, the latest of them."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: OrderedDict[int, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._places)

    def of(self, conversation: int) -> str | None:
        """The name of the replica; None: not known (any more)."""
        return self._places.get(conversation)

    def sent(self, conversation: int, name: str) -> None:
        """A turn goes there."""
        self._places[conversation] = name
        self._places.move_to_end(conversation)
        if len(self._places) > REMEMBERED:
            self._places.popitem(last=False)
