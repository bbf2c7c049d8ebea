"""What the agent knows of a function: the tool that models see, and how it is to be run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from llmgate.types import Note, Tool

Rule = Literal["allow", "ask", "deny"]
F = TypeVar("F", bound=Callable[..., Any])

HEARTBEAT = "request_heartbeat"
# Written by wrappers into every call, and taken out again by them.
THOUGHTS = "inner_thoughts"
_MARK = "__llmgate_options__"


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `@function(…)` says of a function.

    `approval` holds where neither the configuration nor the person has said anything.
    `replayable`: running it twice does what running it once does, so that it is simply run
    again where a crash interrupted it. `returns_data`: its result is why it was called, so the
    agent goes on after it. `timeout` is in seconds. `unlimited`: its result is never cut.
    `bound` are the arguments that an approval is for, if it is remembered: others may change.
    """

    approval: Rule = "ask"
    replayable: bool = False
    returns_data: bool = True
    timeout: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    unlimited: bool = False
    bound: tuple[str, ...] = ()


class Parameter(msgspec.Struct, frozen=True):
    """A parameter that models fill in; `load` makes a JSON value what the function expects.

    `load` takes the value, its name for messages, and a list that it adds notes to. It raises
    ValueError with a sentence about what is wrong. `positional`: it can't be given by name.
    """

    name: str
    load: Callable[[Any, str, list[Note]], Any]
    required: bool = True
    default: Any = None
    positional: bool = False


class Function(msgspec.Struct, frozen=True):
    """A function that models may call.

    `source` is the file it stands in, empty for those that come with llmgate.
    """

    name: str
    tool: Tool
    run: Callable[..., Any]
    parameters: tuple[Parameter, ...] = ()
    takes_agent: bool = False
    returns_data: bool = True
    replayable: bool = False
    default: Rule = "ask"
    exempt_from_limit: bool = False
    timeout: float = 60.0
    bound: tuple[str, ...] = ()
    source: str = ""


def function(**options: Any) -> Callable[[F], F]:
    """Say more of a function for models than its signature does: see `Options`.

    Raises ValueError for an option that there is not, or that can't have such a value.
    """
    chosen = msgspec.convert(options, Options)

    def mark(target: F) -> F:
        setattr(target, _MARK, chosen)
        return target

    return mark


def options_of(target: Callable[..., Any]) -> Options:
    """What `@function(…)` said of it."""
    found = getattr(target, _MARK, None)
    return found if isinstance(found, Options) else Options()
