"""From a JSON body to a `Generation`: what vLLM accepts, with its defaults and its refusals.

Unknown fields are ignored silently, as the real server does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from thinkscale.emulator import vocabulary
from thinkscale.emulator.prompt import Template, TemplateError
from thinkscale.emulator.refusals import malformed, no_budgets, out_of_range, unknown_model
from thinkscale.emulator.script import Sampling

MAX_CHOICES: Final = 8
Body = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """What requests are checked against."""

    name: str
    max_tokens: int
    """Longest prompt and output together (max_model_len)."""
    template: Template
    budgets: bool
    """A reasoning parser is configured: `thinking_token_budget` is accepted."""
    ignores_budgets: bool = False
    """The quirk: accepted and not obeyed."""
    budget_excess: int = 0
    """The quirk: so many tokens late."""
    budget_in_answer: bool = False
    forced_end: tuple[int, ...] = (vocabulary.END_THINK,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A checked request."""

    chat: bool
    prompts: tuple[tuple[int, ...], ...]
    choices: int
    """Per prompt."""
    stream: bool
    include_usage: bool
    continuous_usage: bool
    return_token_ids: bool
    stop: tuple[str, ...]
    include_stop: bool
    sampling: Sampling
    body: Body


def read_generation(body: Body, model: ServedModel, *, chat: bool) -> Generation:
    """Check a body. Refusal: vLLM's own error."""
    name = body.get("model")
    if name is not None and name != model.name:
        raise unknown_model(str(name))
    prompts = _chat_prompt(body, model) if chat else _raw_prompts(body)
    _check_length(prompts, model)
    options = _mapping(body, "stream_options")
    stream = _flag(body, "stream")
    include_usage = bool(options.get("include_usage"))
    return Generation(
        chat=chat,
        prompts=prompts,
        choices=_choices(body),
        stream=stream,
        include_usage=include_usage,
        continuous_usage=include_usage and bool(options.get("continuous_usage_stats")),
        return_token_ids=_flag(body, "return_token_ids"),
        stop=_stop(body),
        include_stop=_flag(body, "include_stop_str_in_output"),
        sampling=_sampling(body, model, max(len(p) for p in prompts), chat=chat),
        body=body,
    )


def chat_text(body: Body, template: Template) -> str:
    """The rendered prompt of a body with `messages`."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise malformed("Field required: messages", "body.messages")
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise malformed("each message needs a role", "body.messages")
    generate = body.get("add_generation_prompt") is not False
    resume = _flag(body, "continue_final_message")
    if resume and generate:
        raise out_of_range(
            "Cannot set both `continue_final_message` and `add_generation_prompt` to True."
        )
    think = _mapping(body, "chat_template_kwargs").get("enable_thinking") is not False
    try:
        return template.render(messages, generate=generate, resume=resume, think=think)
    except TemplateError as refused:
        raise out_of_range(str(refused)) from refused


def _chat_prompt(body: Body, model: ServedModel) -> tuple[tuple[int, ...], ...]:
    return (tuple(vocabulary.encode(chat_text(body, model.template))),)


def _raw_prompts(body: Body) -> tuple[tuple[int, ...], ...]:
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return (tuple(vocabulary.encode(prompt)),)
    if isinstance(prompt, list) and prompt:
        if all(isinstance(item, str) for item in prompt):
            return tuple(tuple(vocabulary.encode(text)) for text in prompt)
        if all(isinstance(item, list) for item in prompt):
            return tuple(_checked_ids(ids) for ids in prompt)
        return (_checked_ids(prompt),)
    raise malformed("Field required: prompt", "body.prompt")


def _checked_ids(ids: list[object]) -> tuple[int, ...]:
    checked = []
    for token in ids:
        if not isinstance(token, int) or isinstance(token, bool):
            raise malformed("Input should be a valid integer", "body.prompt")
        if not 0 <= token < vocabulary.SIZE:
            raise out_of_range(f"Token id {token} is out of vocabulary")
        checked.append(token)
    return tuple(checked)


def _check_length(prompts: tuple[tuple[int, ...], ...], model: ServedModel) -> None:
    for prompt in prompts:
        if not prompt:
            raise out_of_range("The prompt is empty", "prompt")
        if len(prompt) >= model.max_tokens:
            raise out_of_range(
                f"This model's maximum context length is {model.max_tokens} tokens. However, your "
                f"request has {len(prompt)} input tokens. Please reduce the length of the input.",
                "input_tokens",
            )


def _sampling(body: Body, model: ServedModel, prompt_tokens: int, *, chat: bool) -> Sampling:
    room = model.max_tokens - prompt_tokens
    asked = body.get("max_completion_tokens") if chat else None
    asked = body.get("max_tokens") if asked is None else asked
    default = room if chat else min(room, 16)
    max_tokens = default if asked is None else _whole(asked, "max_tokens", least=1)
    if max_tokens > room:
        raise out_of_range(
            f"'max_tokens' or 'max_completion_tokens' is too large: {max_tokens}. This model's "
            f"maximum context length is {model.max_tokens} tokens and your request has "
            f"{prompt_tokens} input tokens.",
            "max_tokens",
        )
    min_tokens = _whole(body.get("min_tokens") or 0, "min_tokens", least=0)
    if min_tokens > max_tokens:
        raise out_of_range(
            f"min_tokens must be less than or equal to max_tokens={max_tokens}, got {min_tokens}."
        )
    temperature = body.get("temperature")
    if isinstance(temperature, int | float) and temperature < 0:
        raise out_of_range(f"temperature must be non-negative, got {temperature}.", "temperature")
    return Sampling(
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        ignore_eos=_flag(body, "ignore_eos"),
        stop_token_ids=_stop_ids(body),
        thinking_budget=_budget(body, model),
        forced_end=model.forced_end,
        budget_in_answer=model.budget_in_answer,
        never_closes=_bans_close(body),
    )


def _budget(body: Body, model: ServedModel) -> int | None:
    asked = body.get("thinking_token_budget")
    if asked is None or asked == -1:
        return None
    if not isinstance(asked, int) or isinstance(asked, bool) or asked < 0:
        raise malformed(
            "Input should be a valid integer, -1 or greater", "body.thinking_token_budget"
        )
    if not model.budgets:
        raise no_budgets()
    return None if model.ignores_budgets else asked + model.budget_excess


def _bans_close(body: Body) -> bool:
    bias = _mapping(body, "logit_bias").get(str(vocabulary.END_THINK))
    words = body.get("bad_words")
    banned = isinstance(words, list) and "</think>" in words
    return banned or (isinstance(bias, int | float) and bias <= -100)


def _stop(body: Body) -> tuple[str, ...]:
    stop = body.get("stop")
    if stop is None:
        return ()
    texts = [stop] if isinstance(stop, str) else stop
    if not isinstance(texts, list) or not all(isinstance(t, str) and t for t in texts):
        raise malformed("Input should be a string or a list of strings", "body.stop")
    return tuple(texts)


def _stop_ids(body: Body) -> frozenset[int]:
    ids = body.get("stop_token_ids")
    if ids is None:
        return frozenset()
    if not isinstance(ids, list):
        raise malformed("Input should be a valid list", "body.stop_token_ids")
    return frozenset(_checked_ids(ids))


def _choices(body: Body) -> int:
    choices = _whole(1 if body.get("n") is None else body["n"], "n", least=1)
    if choices > MAX_CHOICES:
        raise out_of_range(f"n must be at most {MAX_CHOICES}, got {choices}.", "n")
    return choices


def _mapping(body: Body, field: str) -> Body:
    value = body.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise malformed("Input should be a valid dictionary", f"body.{field}")
    return value


def _flag(body: Body, field: str) -> bool:
    value = body.get(field)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise malformed("Input should be a valid boolean", f"body.{field}")


def _whole(value: object, field: str, *, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise malformed("Input should be a valid integer", f"body.{field}")
    if value < least:
        raise out_of_range(f"{field} must be at least {least}, got {value}.", field)
    return value
