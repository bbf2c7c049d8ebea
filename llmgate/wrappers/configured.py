"""Wrappers without Jinja: a TOML or YAML file that says what stands around each message.

Files stand in the folder `wrappers` of the user's config folder. Each becomes the source of an
ordinary template, whose options are the texts of the file.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from llmgate.errors import ConfigError, suggestion

FOLDER = "wrappers"
_SUFFIXES = (".toml", ".yaml", ".yml")
_TABLES = ("system", "user", "assistant", "tool", "custom_role")


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file may say; `system = {start = …}` is the same as `system_start = …`.

    ROLE_start, ROLE_end: around the messages of a role.
    pre_prompt, post_prompt: before all messages, and behind them, before the answer.
    answer_prefix: what the answer is begun with; first_message_prefix: the same for the first
        answer of a conversation. Both are part of the prompt alone.
    system_in_first_user_message: the system text, its start and end included, stands in the
        first user message.
    custom_roles: a message's `name` takes the place of its role, between `custom_role_start`,
        `custom_role_after` (behind the name) and `custom_role_end`.
    function_role: results of functions between `tool_start` and `tool_end`, else as a message
        of the assistant behind `tool_prefix`. Without a word about it: whether there is a
        `tool_start`.
    stop: what ends an answer; without it what `assistant_end` and `user_start` begin with.
    strip: white space around messages is left out.
    options: those that every wrapper has; `style` and `indent` may also stand by themselves.
    The rest is as in the spec of a template.
    """

    description: str = "configured by its user"
    pre_prompt: str = ""
    post_prompt: str = ""
    system_start: str = ""
    system_end: str = ""
    user_start: str = ""
    user_end: str = ""
    assistant_start: str = ""
    assistant_end: str = ""
    tool_start: str = ""
    tool_end: str = ""
    tool_prefix: str | None = None
    answer_prefix: str = ""
    first_message_prefix: str | None = None
    custom_roles: bool = False
    custom_role_start: str = ""
    custom_role_after: str = ""
    custom_role_end: str = ""
    system_in_first_user_message: bool = False
    function_role: bool | None = None
    strip: bool = False
    stop: tuple[str, ...] | None = None
    style: str | None = None
    indent: Annotated[int, msgspec.Meta(ge=0, le=8)] | None = None
    prefill: str | None = None
    preamble: str | None = None
    function_key: str | None = None
    arguments_key: str | None = None
    thoughts_key: str | None = None
    reasoning: tuple[str, str] | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)


# The names that the files of MemGPT's configurable wrapper have for the same.
_ALIASES = {
    "sys_prompt_start": "system_start",
    "sys_prompt_end": "system_end",
    "user_prompt_start": "user_start",
    "user_prompt_end": "user_end",
    "assistant_prompt_start": "assistant_start",
    "assistant_prompt_end": "assistant_end",
    "tool_prompt_start": "tool_start",
    "tool_prompt_end": "tool_end",
    "function_prompt_start": "tool_start",
    "function_prompt_end": "tool_end",
    "assistant_prefix_extra": "answer_prefix",
    "assistant_prefix_extra_first_message": "first_message_prefix",
    "allow_custom_roles": "custom_roles",
    "custom_roles_prompt_start": "custom_role_start",
    "custom_post_role": "custom_role_after",
    "custom_roles_prompt_end": "custom_role_end",
    "include_sys_prompt_in_first_user_message": "system_in_first_user_message",
    "default_stop_sequences": "stop",
    "strip_prompt": "strip",
    "json_indent": "indent",
}
# These say what llmgate does in any case, or by an option of every wrapper.
_SIMPLIFY, _CLEAN = "simplify_json_content", "clean_function_args"

_TOKEN = re.compile(r"<[^<>\s]+>")
_TEXTS = (
    "pre_prompt", "post_prompt", "system_start", "system_end", "user_start", "user_end",
    "assistant_start", "assistant_end", "tool_start", "tool_end", "answer_prefix",
    "custom_role_start", "custom_role_after", "custom_role_end",
)  # fmt: skip
_SPEC = ("prefill", "preamble", "function_key", "arguments_key", "thoughts_key", "reasoning")

# On few lines, without a line break of its own: every one in the prompt is the file's.
_BODY = """\
{%- macro written(message, text) -%}
{%- set text = text | trim if options.strip else text -%}
{%- if message.name and options.custom_roles -%}
{{ options.custom_role_start }}{{ message.name | lower }}{{ options.custom_role_after }}{{ text }}\
{{ options.custom_role_end }}
{%- elif message.role == "tool" and options.function_role -%}
{{ options.tool_start }}{{ options.tool_prefix }}{{ text }}{{ options.tool_end }}
{%- elif message.role == "tool" -%}
{{ options.assistant_start }}{{ options.tool_prefix }}{{ text }}{{ options.assistant_end }}
{%- elif message.role == "assistant" -%}
{{ options.assistant_start }}{{ named(message, text) }}{{ options.assistant_end }}
{%- elif message.role == "user" -%}
{{ options.user_start }}{{ named(message, text) }}{{ options.user_end }}
{%- else -%}
{{ options.system_start }}{{ text }}{{ options.system_end }}
{%- endif -%}
{%- endmacro -%}
{%- macro named(message, text) -%}
{{ message.name ~ ": " if message.name }}{{ text }}
{%- endmacro -%}
{%- set seen = namespace(head="", waiting=false, answers=0) -%}
{{ options.pre_prompt }}
{%- for message in messages -%}
{%- if loop.first and message.role == "system" and options.system_in_first_user_message -%}
{%- set seen.head = written(message, message.text) -%}
{%- set seen.waiting = true -%}
{%- elif seen.waiting and message.role == "user" -%}
{%- set seen.waiting = false -%}
{%- set text = message.text | trim if options.strip else message.text -%}
{{ options.user_start }}{{ seen.head }}{{ named(message, text) }}{{ options.user_end }}
{%- else -%}
{%- if message.role == "assistant" -%}{%- set seen.answers = seen.answers + 1 -%}{%- endif -%}
{%- if seen.waiting -%}
{%- set seen.waiting = false -%}
{{ options.user_start }}{{ seen.head }}{{ options.user_end }}
{%- endif -%}
{{ written(message, message.text) }}
{%- endif -%}
{%- endfor -%}
{%- if seen.waiting -%}
{{ options.user_start }}{{ seen.head }}{{ options.user_end }}
{%- endif -%}
{{ options.post_prompt }}{{ options.assistant_start }}
{{- options.answer_prefix if seen.answers else options.first_message_prefix }}{{ prefill -}}
"""


def names(user: Path | None) -> list[str]:
    """The names of the files in the user's folder, sorted."""
    folder = _folder(user)
    if folder is None:
        return []
    return sorted({path.stem for path in folder.iterdir() if path.suffix in _SUFFIXES})


def read(name: str, user: Path | None) -> str | None:
    """The template that the file of that name stands for, None if there is no such file.

    Raises `ConfigError` for a file that can't be used.
    """
    folder = _folder(user)
    if folder is None or not name or name.startswith(".") or set(name) & set("/\\\0"):
        return None
    for suffix in _SUFFIXES:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            try:
                return source(_data(path))
            except ConfigError as error:
                error.message = f"{path}: {error.message}"
                raise
    return None


def source(data: Mapping[str, Any]) -> str:
    """The template that such a file's content stands for. Raises `ConfigError`."""
    layout = _layout(_renamed(data))
    texts = {key: getattr(layout, key) for key in _TEXTS}
    if not any(text.strip() for text in texts.values()):
        raise ConfigError("nothing is said of what stands around a message.")
    if layout.custom_roles and not layout.custom_role_start:
        raise ConfigError("custom_roles needs a custom_role_start.")
    given = {"style": layout.style, "indent": layout.indent}
    has_role = bool(layout.tool_start) if layout.function_role is None else layout.function_role
    prefix = "" if has_role else "FUNCTION RETURN: "
    first = layout.first_message_prefix
    options = {
        **texts,
        "tool_prefix": prefix if layout.tool_prefix is None else layout.tool_prefix,
        "first_message_prefix": layout.answer_prefix if first is None else first,
        "custom_roles": layout.custom_roles,
        "system_in_first_user_message": layout.system_in_first_user_message,
        "function_role": has_role,
        "strip": layout.strip,
        **{key: value for key, value in given.items() if value is not None},
        **layout.options,
    }
    spec = {"description": layout.description, "stop": _stop(layout)}
    spec |= {key: found for key in _SPEC if (found := getattr(layout, key)) is not None}
    lines = [f"{key} = {_toml(value)}" for key, value in spec.items()]
    lines += ["", "[options]", *(f"{_toml(key)} = {_toml(v)}" for key, v in options.items())]
    return "\n".join(["{#- +++", *lines, "+++ -#}", _BODY])


def _folder(user: Path | None) -> Path | None:
    folder = None if user is None else user / FOLDER
    return folder if folder is not None and folder.is_dir() else None


def _data(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't be read: {error}.") from error
    if path.suffix == ".toml":
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"is not valid TOML: {error}.") from error
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"is not valid YAML: {' '.join(str(error).split())}.") from error


def _renamed(data: Any) -> dict[str, Any]:
    """The data with one table and one name for everything."""
    if not isinstance(data, Mapping):
        raise ConfigError("is no table of keys and values.")
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if key in _TABLES and isinstance(value, Mapping):
            flat |= {f"{key}_{inner}": text for inner, text in value.items()}
        else:
            flat[str(key)] = value
    # What MemGPT's files leave empty is null in YAML.
    renamed = {_ALIASES.get(key, key): v for key, v in flat.items() if v is not None}
    renamed.pop(_CLEAN, None)
    if (simplify := renamed.pop(_SIMPLIFY, None)) is not None:
        options = renamed.get("options") or {}
        chosen = "simplified" if simplify else "verbatim"
        renamed["options"] = {"json_content": chosen, **options}
    return _without_call_prefix(renamed)


def _without_call_prefix(data: dict[str, Any]) -> dict[str, Any]:
    """A prefix that begins a call is a matter of `prefill`: whoever reads the answer must know."""
    for key in ("answer_prefix", "first_message_prefix"):
        text = data.get(key)
        if isinstance(text, str) and text.lstrip().startswith("{"):
            data[key] = ""
            data.setdefault("prefill", "key" if '"' in text else "brace")
    return data


def _layout(data: dict[str, Any]) -> Layout:
    known = Layout.__struct_fields__
    for key in data:
        if key not in known:
            raise ConfigError(
                f"unknown key {key!r}.", hint=suggestion(key, (*known, *_ALIASES, _SIMPLIFY))
            )
    try:
        return msgspec.convert(data, Layout)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        raise ConfigError(f"{path.rstrip('`')}: {problem.replace('`', '')}.") from error


def _stop(layout: Layout) -> list[str]:
    if layout.stop is not None:
        return list(layout.stop)
    marks = (layout.assistant_end.strip(), layout.user_start.strip())
    # Of several control tokens in a row the first one is what a model writes.
    firsts = (found[0] if (found := _TOKEN.match(mark)) else mark for mark in marks)
    return [mark for mark in dict.fromkeys(firsts) if mark]


def _toml(value: Any) -> str:
    """A value as TOML on one line, which can't end the comment that it stands in."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_toml(key)} = {_toml(v)}' for key, v in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        text = text.replace("#", "\\u0023").replace("\x7f", "\\u007f")
    return text
