"""The matrix: every model with every wrapper, its options, and what answers are held to."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from llmgate import wrappers
from llmgate.bench.result import CellKey, Constraint
from llmgate.config import ModelSettings, Settings, is_shipped, with_facts
from llmgate.errors import ConfigError, UnknownName, suggestion
from llmgate.wrappers import Options, Wrapper

NATIVE = "native"
# What is no format for agents: it lists no functions. It can be named all the same.
_FOR_SUMMARIES = "summary"
# Backends whose servers also answer messages, and the backend that asks them so.
_MESSAGES = {
    "koboldcpp": "openai-chat",
    "llama-cpp-python": "openai-chat",
    "llama-server": "openai-chat",
    "llamacpp": "openai-chat",
    "lmstudio": "lmstudio-chat",
    "oobabooga": "openai-chat",
    "ollama": "ollama-chat",
    "openai-completions": "openai-chat",
    "sglang": "openai-chat",
    "text-generation-webui": "openai-chat",
    "textgen": "openai-chat",
    "vllm": "openai-chat",
}
# Those that are asked with messages only.
_ONLY_MESSAGES = ("azure", "lmstudio-chat", "ollama-chat", "openai", "openai-chat")


class Choice(msgspec.Struct, frozen=True):
    """What of the matrix is wanted; empty `models` and `wrappers` are all there are.

    `options` has a list of values for each option of wrappers. `native`: also the server's own
    tool calling, where it has one.
    """

    models: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()
    options: dict[str, tuple[Any, ...]] = msgspec.field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ("off", "grammar")
    native: bool = False


class Group(msgspec.Struct, frozen=True):
    """The cells that one backend answers. `settings` are the backend's, facts included."""

    model: str
    settings: ModelSettings
    cells: tuple[CellKey, ...]
    native: bool = False


def matrix(settings: Settings, choice: Choice) -> tuple[tuple[Group, ...], tuple[str, ...]]:
    """The cells by the backend that answers them, and what was left out, with the reason.

    Raises `ConfigError` for what names nothing, and for options that no wrapper has.
    """
    names = chosen_models(settings, choice.models)
    user = settings.user_folder
    _check_options(choice, user)
    groups: list[Group] = []
    left_out: list[str] = []
    for name in names:
        model = with_facts(settings.models[name])
        if model.backend not in _ONLY_MESSAGES:
            cells = _cells(name, settings.models[name], choice, user)
            groups.append(Group(name, alone(model), tuple(cells)))
        elif not choice.native:
            left_out.append(f"{name}: {model.backend} is asked with messages (--native)")
        if choice.native:
            chat = (
                model.backend if model.backend in _ONLY_MESSAGES else _MESSAGES.get(model.backend)
            )
            if chat is None:
                left_out.append(f"{name}, native: {model.backend} has no tool calling of its own")
                continue
            asked = msgspec.structs.replace(alone(model), backend=chat, constraint="auto")
            cell = CellKey(name, model.backend, NATIVE, "{}", "native")
            groups.append(Group(name, asked, (cell,), native=True))
    groups = [group for group in groups if group.cells]
    if not groups:
        raise ConfigError("there is no cell in this matrix.", hint="; ".join(left_out) or None)
    return tuple(groups), tuple(left_out)


def chosen_models(settings: Settings, wanted: Sequence[str]) -> list[str]:
    """The models that are wanted, all where none is named. Raises `UnknownName`."""
    makes_text = [
        name for name, model in settings.models.items() if not model.embedding and "*" not in name
    ]
    for name in wanted:
        if name not in makes_text:
            raise UnknownName("model", name, makes_text)
    return list(dict.fromkeys(wanted)) or makes_text


def wrapper_of(
    settings: ModelSettings, cell: CellKey, user: Path | None
) -> wrappers.Wrapper | wrappers.ModelWrapper:
    """The wrapper of a cell, with the facts known of a model under the cell's options."""
    model = msgspec.structs.replace(
        settings, wrapper=cell.wrapper, options=msgspec.json.decode(cell.options)
    )
    model = with_facts(model)
    return wrappers.open_wrapper(model.wrapper, model.options, user)


def canonical(options: Mapping[str, Any]) -> str:
    """Options as they stand in results: JSON in which the same is always written the same."""
    return msgspec.json.encode(options, order="deterministic").decode()


def alone(model: ModelSettings) -> ModelSettings:
    """One server of the model, which offers all the constraints that it has."""
    if model.url is None and model.replicas:
        first = model.replicas[0]
        model = msgspec.structs.replace(
            model,
            url=first.url,
            api_key=model.api_key if first.api_key is None else first.api_key,
            model=model.model if first.model is None else first.model,
        )
    return msgspec.structs.replace(model, replicas=(), constraint="auto")


def _cells(name: str, model: ModelSettings, choice: Choice, user: Path | None) -> Iterable[CellKey]:
    found = list(choice.wrappers) or [
        each for each in wrappers.names(user) if each != _FOR_SUMMARIES
    ]
    if not choice.wrappers and not is_shipped(model):
        found.append(wrappers.MODEL)
    seen: set[CellKey] = set()
    for wrapper in found:
        own = _own_options(wrapper, user)
        kept = {
            key: value
            for key, value in model.options.items()
            if key in Options.__struct_fields__ or (key in own and wrapper == model.wrapper)
        }
        mine = {
            key: values
            for key, values in choice.options.items()
            if key in own or key in Options.__struct_fields__
        }
        for values in itertools.product(*mine.values()):
            options = {**kept, **dict(zip(mine, values, strict=True))}
            wrappers.open_wrapper(wrapper, options, user)  # raises for a value that it can't have
            for constraint in choice.constraints:
                cell = CellKey(name, model.backend, wrapper, canonical(options), constraint)
                if cell not in seen:
                    seen.add(cell)
                    yield cell


def _check_options(choice: Choice, user: Path | None) -> None:
    names = choice.wrappers or tuple(wrappers.names(user))
    known = set(Options.__struct_fields__).union(*(_own_options(name, user) for name in names))
    for key in choice.options:
        if key not in known:
            raise ConfigError(
                f"none of the wrappers has an option {key!r}.", hint=suggestion(key, sorted(known))
            )


def _own_options(name: str, user: Path | None) -> frozenset[str]:
    """The options that this wrapper has and others have not. Raises `UnknownName`."""
    wrapper = wrappers.open_wrapper(name, None, user)
    return frozenset(wrapper.spec.options) if isinstance(wrapper, Wrapper) else frozenset()
