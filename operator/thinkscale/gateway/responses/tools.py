"""Tools, the choice among them, and the format of the text: from the Responses API to chat's.

Sans-I/O. The same things one level flatter. Only functions are carried: a built-in tool (web
search, code interpreter, remote MCP) would have to be run by the server, and a gateway before
model servers runs none.
"""

from typing import Any, Final

from thinkscale.gateway.request import BadRequest

_FUNCTION_FIELDS: Final = ("name", "description", "parameters", "strict")
_SCHEMA_FIELDS: Final = ("name", "description", "schema", "strict")


def chat_tools(tools: Any) -> list[dict[str, Any]]:
    """Chat's tools. Raises `BadRequest` for what is no function."""
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise BadRequest("tools must be a list", param="tools")
    return [_tool(tool, f"tools[{number}]") for number, tool in enumerate(tools)]


def _tool(tool: Any, where: str) -> dict[str, Any]:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind != "function":
        raise BadRequest(
            f"{where}: tools of type `{kind}` are not supported: only functions are.", param=where
        )
    if not isinstance(tool.get("name"), str):
        raise BadRequest(f"{where}.name must be a string", param=f"{where}.name")
    return {"type": "function", "function": _present(tool, _FUNCTION_FIELDS)}


def chat_tool_choice(choice: Any) -> Any:
    """Chat's `tool_choice`; None is `auto`. Raises `BadRequest`."""
    if choice is None:
        return "auto"
    if choice in ("none", "auto", "required"):
        return choice
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    raise BadRequest(
        "tool_choice must be none, auto, required, or one function by its name",
        param="tool_choice",
    )


def response_format(shape: Any) -> dict[str, Any] | None:
    """Chat's `response_format` for `text.format`; None: plain text. Raises `BadRequest`."""
    kind = shape.get("type") if isinstance(shape, dict) else None
    if shape is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    if kind == "json_schema":
        return {"type": "json_schema", "json_schema": _present(shape, _SCHEMA_FIELDS)}
    raise BadRequest(
        "text.format must be of type text, json_object or json_schema", param="text.format"
    )


def _present(fields: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: fields[name] for name in names if fields.get(name) is not None}
