"""What flags may hold, for argparse: each refuses the rest in words that show what is meant."""

import argparse
from urllib.parse import urlsplit

from thinkscale.gateway.wish import NO_THINKING
from thinkscale.model.gateway_config import TierConfig


def url(text: str) -> str:
    """A server's URL, without the `/v1` that people copy along."""
    plain = text.rstrip("/").removesuffix("/v1")
    parts = urlsplit(plain)
    try:
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment or "@" in parts.netloc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL such as http://127.0.0.1:8000")
    return plain


def address(text: str) -> tuple[str, int]:
    """HOST:PORT; an IPv6 address in brackets."""
    host, _, number = text.rpartition(":")
    if not host:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8080")
    return host.strip("[]"), port(number)


def port(text: str) -> int:
    """A TCP port."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def whole(text: str) -> int:
    """A count of tokens or requests."""
    if not text.isdecimal() or int(text) > 10_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 10,000,000")
    return int(text)


def positive(text: str) -> int:
    """The same, at least 1."""
    if (value := whole(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not at least 1")
    return value


def seconds(text: str) -> float:
    """A finite time."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def nudge(text: str) -> str:
    """What is said behind a thought, which it must not close."""
    if not text or "think>" in text:
        raise argparse.ArgumentTypeError("must be some text without <think> or </think>")
    return text


def tier(text: str) -> TierConfig:
    """An effort and its most thinking tokens."""
    effort, _, tokens = text.partition("=")
    if not effort or not tokens or effort == NO_THINKING:
        raise argparse.ArgumentTypeError(f"{text!r} is not EFFORT=TOKENS, such as low=2048")
    return TierConfig(name=effort, max_tokens=whole(tokens))
