"""What stands in front of a template: TOML inside its leading Jinja comment, read and checked.

    {#- +++
    description = "ChatML"
    stop = ["<|im_end|>", "<|im_start|>"]
    prefill = "key"

    [options]
    indent = 2
    +++ -#}

Options that every wrapper has are the fields of `Options`; a template may set their defaults
and declare further ones of its own, whose types are those of their defaults.
"""

from __future__ import annotations

import re
import tomllib
from typing import Annotated, Any, Literal

import msgspec

from llmgate.errors import ConfigError, suggestion

Thoughts = Literal["off", "inside", "beside"]
_FRONT = re.compile(r"\A\s*\{#-?\s*\+\+\+\n(?P<toml>.*?)\n\s*\+\+\+\s*-?#\}", re.DOTALL)


class Options(msgspec.Struct, frozen=True):
    """The options that every wrapper has.

    style: how calls are written: a name of `llmgate.styles`; `auto` for what the model's own
        template speaks, and bare JSON where there is none.
    inner_thoughts: where the model writes what it thinks before a call: nowhere, as the first
        argument of the call, or as the first key of the object, beside the function's name.
    opening_brace: whether the prompt already begins a forced call; `auto`: only where no
        grammar holds the backend.
    json_content: packaged JSON of a user or a tool as it came, re-indented, or (a user's
        `{"type": "user_message", "message": …}`) only its message.
    function_list: functions as indented lines, or one JSON object a line.
    indent: spaces per level of the bare JSON calls in the prompt; 0 puts each on one line.
    template_args: further variables for the model's own template, as `enable_thinking`.
    """

    style: str = "auto"
    inner_thoughts: Thoughts = "off"
    opening_brace: Literal["auto", "always", "never"] = "auto"
    json_content: Literal["verbatim", "indented", "simplified"] = "verbatim"
    function_list: Literal["lines", "json"] = "lines"
    indent: Annotated[int, msgspec.Meta(ge=0, le=8)] = 2
    template_args: dict[str, Any] = msgspec.field(default_factory=dict)


class Spec(msgspec.Struct, frozen=True):
    """A template's front matter.

    `stop` ends an answer; `prefill` is how much of a bare JSON call `opening_brace` writes: the
    brace, or the first key too. The `*_key`s are the names inside the bare call's object.
    `reasoning` are the marks around the thoughts that the model's answers begin with.
    """

    description: str = ""
    stop: tuple[str, ...] = ()
    prefill: Literal["brace", "key"] = "brace"
    preamble: str | None = None
    function_key: str = "function"
    arguments_key: str = "params"
    thoughts_key: str = "inner_thoughts"
    reasoning: tuple[str, str] | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)


def read_spec(name: str, source: str) -> Spec:
    """The spec of the template text `source`. Raises `ConfigError` naming the template."""
    found = _FRONT.match(source)
    if found is None:
        raise ConfigError(
            f"the template {name!r} has no spec.",
            hint="It must start with a comment: {#- +++ (newline) stop = [...] (newline) +++ -#}",
        )
    try:
        data = tomllib.loads(found["toml"])
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the spec of the template {name!r} is not TOML: {error}.") from error
    for key in data:
        if key not in Spec.__struct_fields__:
            raise ConfigError(
                f"the spec of the template {name!r} has an unknown key {key!r}.",
                hint=suggestion(key, Spec.__struct_fields__),
            )
    try:
        return msgspec.convert(data, Spec)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the spec of the template {name!r}: {error}.") from error


def merge_options(
    name: str, spec: Spec, chosen: dict[str, Any]
) -> tuple[Options, dict[str, bool | int | str]]:
    """The common options and the template's own ones, with `chosen` over the defaults.

    Raises `ConfigError` for an unknown option or a value of the wrong type.
    """
    own_defaults = {k: v for k, v in spec.options.items() if k not in Options.__struct_fields__}
    known = (*Options.__struct_fields__, *own_defaults)
    for key in chosen:
        if key not in known:
            raise ConfigError(
                f"the wrapper {name!r} has no option {key!r}.", hint=suggestion(key, known)
            )
    merged = {**spec.options, **chosen}
    own = {key: merged.pop(key) for key in own_defaults}
    for key, value in own.items():
        if type(value) is not type(own_defaults[key]):
            wanted = type(own_defaults[key]).__name__
            raise ConfigError(f"the option {key!r} of the wrapper {name!r} must be a {wanted}.")
    try:
        return msgspec.convert(merged, Options), own
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        raise ConfigError(
            f"the option {path.rstrip('`')!r} of the wrapper {name!r}: {problem}."
        ) from error
