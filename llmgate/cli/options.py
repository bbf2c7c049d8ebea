"""Options that several commands share, and what they make of the settings."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from llmgate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmgate.config import ModelSettings, Settings
    from llmgate.types import Request
    from llmgate.wrappers import Wrapper

Command = TypeVar("Command", bound="Callable[..., Any]")


def models(function: Command) -> Command:
    """--config, --model and --wrapper, which say what models there are."""
    for option in (
        click.option("--wrapper", metavar="NAME", help="Prompt format, for every model."),
        click.option("--model", metavar="FILE", help="A GGUF file, in place of the configured."),
        click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml)."),
    ):
        function = option(function)
    return function


def wrapper(function: Command) -> Command:
    """--wrapper, --option and --config, which say how prompts are written."""
    for option in (
        click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml)."),
        click.option(
            "--option",
            metavar="KEY=VALUE",
            multiple=True,
            help="An option of the wrapper, as in inner_thoughts=inside.",
        ),
        click.option(
            "--wrapper",
            metavar="NAME",
            default="chatml",
            show_default=True,
            help="A wrapper, or the .jinja file of a chat template.",
        ),
    ):
        function = option(function)
    return function


def settings_of(config: str | None, model: str | None, wrapper: str | None) -> Settings:
    """The settings that the shared options describe."""
    import msgspec

    from llmgate import config as configuration

    settings = configuration.load(Path(config) if config else None)
    chosen = settings.models
    if model is None and settings.source is None and configuration.may_discover():
        chosen = _running_here() or chosen
    if model is not None:
        path = Path(model).expanduser()
        chosen = {path.stem: configuration.ModelSettings(path=str(path))}
    if wrapper is not None:
        chosen = {
            name: msgspec.structs.replace(entry, wrapper=wrapper) for name, entry in chosen.items()
        }
    return msgspec.structs.replace(settings, models=chosen)


def _running_here() -> dict[str, ModelSettings]:
    """The model of the first server that runs on this machine, if one does."""
    import asyncio

    from llmgate.discovery.ports import answering

    # Most often nothing does: the rest is not even imported then.
    if not (ports := asyncio.run(answering())):
        return {}
    from llmgate.discovery.choice import first_model

    found = asyncio.run(first_model(tuple(ports)))
    if found is None:
        return {}
    name, model, kind = found
    click.echo(
        f"No llmgate.toml: uses {kind} at {model.url} (llmgate doctor examines it)", err=True
    )
    return {name: model}


def wrapper_of(config: str | None, name: str, options: tuple[str, ...]) -> Wrapper:
    """The wrapper that the shared options describe: a name, or the file of a chat template."""
    from llmgate import config as configuration
    from llmgate.types import Caps, ChatTemplate
    from llmgate.wrappers import ModelWrapper, Template, Wrapper, open_wrapper

    user = configuration.load(Path(config) if config else None).user_folder
    chosen = dict(_option(text) for text in options)
    if not name.endswith((".jinja", ".jinja2", ".j2")):
        return open_wrapper(name, chosen, user).of(Caps())
    text = read(name).decode("utf-8", "replace")
    if text.lstrip().startswith(("{#- +++", "{# +++")):
        return Wrapper(Template(Path(name).stem, text, chosen))
    return ModelWrapper(chosen).of(Caps(template=ChatTemplate(text)))


def request_of(file: str) -> Request:
    """The request in a file with a chat completions body; `model` may be missing."""
    import msgspec

    from llmgate.errors import RequestError
    from llmgate.wire import chat

    raw = read(file)
    try:
        body = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise RequestError(f"{file} is not valid JSON: {error}.") from error
    if isinstance(body, dict):
        body.setdefault("model", "model")
    return chat.decode(msgspec.json.encode(body)).request


def read(file: str) -> bytes:
    """The content of a file, `-` for standard input."""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"can't read {file}: {error.strerror}.") from error


def shortened(text: str, length: int) -> str:
    """A text on one line, of that length at most."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def pilot_warning(settings: Settings) -> str | None:
    """What a person should know who talks to the model that comes with llmgate."""
    from llmgate.config import is_shipped

    names = [name for name, model in settings.models.items() if is_shipped(model)]
    if not names:
        return None
    return (
        f"{names[0]} is a 2.8 MB test pilot, not an assistant: it shows that everything works."
        "\nUse a model of your own with --model FILE.gguf."
    )


def note_line(code: str, message: str) -> None:
    """A note, on standard error so that what is piped on stays clean."""
    click.echo(f"{code}: {message}", err=True)


def _option(text: str) -> tuple[str, Any]:
    key, found, value = text.partition("=")
    if not found:
        raise ConfigError(f"--option {text!r} is not of the form KEY=VALUE.")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value  # a bare word is a string
