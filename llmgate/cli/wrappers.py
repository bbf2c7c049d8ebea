"""`llmgate wrappers`: what prompt formats and styles of calls there are, and which fits a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmgate.cli import options

if TYPE_CHECKING:
    from llmgate.config import ModelSettings
    from llmgate.types import ChatTemplate


@click.group("wrappers", invoke_without_command=True)
@click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml).")
@click.pass_context
def command(context: click.Context, config: str | None) -> None:
    """List the wrappers with their options, and the styles of calls."""
    if context.invoked_subcommand is not None:
        return
    from llmgate import config as configuration
    from llmgate import wrappers
    from llmgate.styles import STYLES
    from llmgate.wrappers import Options

    user = configuration.load(Path(config) if config else None).user_folder
    common = Options.__struct_fields__
    click.echo("Wrappers")
    _row("auto", "the model's own chat template, chatml where it has none (the default)")
    _row("model", "the model's own chat template")
    for name in wrappers.names(user):
        found = wrappers.open_wrapper(name, None, user)
        assert isinstance(found, wrappers.Wrapper)
        _row(name, found.spec.description)
        own = {k: v for k, v in found.spec.options.items() if k not in common}
        if own:
            _row("", f"own options: {', '.join(f'{k} ({_shown(v)})' for k, v in own.items())}")
    click.echo("\nOptions of every wrapper (and their defaults)")
    defaults = Options()
    for key in common:
        _row(key, f"{_shown(getattr(defaults, key))}{_choices(Options, key)}")
    click.echo("\nStyles of calls (option style)")
    for style in STYLES.values():
        _row(style.name, style.description)


@command.command("detect")
@click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml).")
@click.argument("model", metavar="MODEL")
def detect(config: str | None, model: str) -> None:
    """Say which wrapper and style fit a model, and why.

    MODEL is a configured model's name, a GGUF file, a chat template (.jinja), or the address of a
    llama-server.
    """
    import asyncio

    from llmgate.config import SHIPPED_WRAPPER, is_shipped
    from llmgate.wrappers.detection import detect as detect_style
    from llmgate.wrappers.detection import guess

    chosen = _chosen(config, model)
    if chosen is not None and is_shipped(chosen):
        click.echo(
            f"wrapper: {SHIPPED_WRAPPER}\nwhy: the model that comes along was trained on it."
        )
        return
    template = asyncio.run(_template_of(model, chosen))
    if template is None:
        wrapper, why = guess(model)
        click.echo(f"wrapper: {wrapper}\nwhy: the model has no chat template; {why}")
        return
    found = detect_style(template)
    click.echo("wrapper: model (its own chat template)")
    click.echo(f"style: {found.style.name if found.style else 'unknown: bare JSON will be used'}")
    for open_, close in found.reasoning:
        click.echo(f"thoughts: between {open_!r} and {close!r}")
    click.echo(f"why: {found.why}")


def _chosen(config: str | None, model: str) -> ModelSettings | None:
    """The settings of what a person may mean by a model, None for the file of a template."""
    from llmgate import config as configuration
    from llmgate.config import ModelSettings
    from llmgate.errors import UnknownModel

    if model.endswith((".jinja", ".jinja2", ".j2")):
        return None
    settings = configuration.load(Path(config) if config else None)
    if model in settings.models:
        return settings.models[model]
    if model.startswith(("http://", "https://")):
        return ModelSettings(backend="llamacpp", url=model)
    if Path(model).is_file():
        return ModelSettings(path=str(Path(model)))
    raise UnknownModel(model, settings.models)


async def _template_of(model: str, chosen: ModelSettings | None) -> ChatTemplate | None:
    """The chat template of a model, or in a file."""
    from llmgate.backends import open_backend
    from llmgate.types import ChatTemplate

    if chosen is None:
        return ChatTemplate(options.read(model).decode("utf-8", "replace"))
    backend = open_backend(model, chosen)
    try:
        await backend.start()
        return backend.caps.template
    finally:
        await backend.aclose()


def _row(name: str, text: str) -> None:
    click.echo(f"  {name:18} {text}")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if value != {} else "none"


def _choices(struct: type, key: str) -> str:
    """The values of an option that has few of them."""
    from typing import Literal, get_args, get_origin, get_type_hints

    kind = get_type_hints(struct)[key]
    return f" ({', '.join(get_args(kind))})" if get_origin(kind) is Literal else ""
