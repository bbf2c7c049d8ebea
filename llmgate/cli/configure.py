"""`llmgate configure`: asks what is needed, and writes llmgate.toml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmgate.errors import ConfigError

if TYPE_CHECKING:
    from llmgate.config import ModelSettings
    from llmgate.discovery import Found


@click.command("configure")
@click.option("--output", metavar="FILE", help="Where to write (default: ./llmgate.toml).")
@click.option("--user", is_flag=True, help="Write into your own configuration folder.")
@click.option("--url", metavar="URL", help="The address of a model server.")
@click.option("--yes", is_flag=True, help="Take what is suggested and ask nothing.")
def command(output: str | None, user: bool, url: str | None, yes: bool) -> None:
    """Write the configuration: find a model server or a file, name the model."""
    import asyncio

    from llmgate import config as configuration

    if output is not None and user:
        raise click.UsageError("--output and --user say two different places.")
    folder = configuration.user_folder() if user else Path()
    file = Path(output) if output else folder / configuration.FILE_NAME
    before = _before(file)
    found = asyncio.run(_found(url))
    model = _file_model(yes) if found is None else _server_model(found, yes)
    if model is None:
        raise ConfigError(
            "no model server was found, so there is nothing to write.",
            hint="Start one, or name it: llmgate configure --url http://HOST:PORT",
        )
    name, settings = model
    if not yes:
        name = _asked_name(name)
    while name in configuration.parse(before, file).models if before else False:
        name += "-2"
    table = _table(name, settings)
    whole = f"{before.rstrip()}\n\n{table}" if before else table
    configuration.parse(whole, file)
    click.echo(f"\n{table}")
    if not yes and not click.confirm(f"Write this to {file}?", default=True):
        raise SystemExit(1)
    _write(file, whole)
    click.echo(f"Wrote {file}. `llmgate serve` uses it now, `llmgate doctor` examines it.")


def _before(file: Path) -> str:
    """What stands in the file, which must be understood before anything is added to it."""
    from llmgate import config as configuration

    if not file.exists():
        return ""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read {file}: {error}.") from error
    configuration.parse(text, file)
    return text


async def _found(url: str | None) -> list[Found] | None:
    """The servers to choose from, None where there are none."""
    from llmgate.backends.server import mend
    from llmgate.discovery import Found, identify, search

    if url is None:
        return [each for each in await search() if each.identity is not None] or None
    address = mend(url)
    identity = await identify(address)
    if identity is None:
        raise ConfigError(
            f"nothing at {address} speaks the language of a model server.",
            hint="Is the address right, port included? `llmgate doctor` looks on this machine.",
        )
    return [Found(address, identity)]


def _server_model(found: list[Found], yes: bool) -> tuple[str, ModelSettings] | None:
    import asyncio

    from llmgate.config import ModelSettings
    from llmgate.discovery.choice import listed, named, short

    chosen = found[0]
    if len(found) > 1 and not yes:
        for number, each in enumerate(found, 1):
            assert each.identity is not None
            click.echo(f"  {number}  {each.url}  {each.identity.kind}")
        most = len(found)
        number = click.prompt("Which server", default=1, type=click.IntRange(1, most))
        chosen = found[number - 1]
    assert chosen.identity is not None
    settings = ModelSettings(backend=chosen.identity.backend, url=chosen.url)
    names = asyncio.run(listed(settings))
    name = names[0] if names else "local"
    if len(names) > 1 and not yes:
        for number, listed_name in enumerate(names, 1):
            click.echo(f"  {number}  {listed_name}")
        number = click.prompt("Which model", default=1, type=click.IntRange(1, len(names)))
        name = names[number - 1]
    return short(name), named(settings, (name,) if names else ())


def _file_model(yes: bool) -> tuple[str, ModelSettings] | None:
    from llmgate.config import ModelSettings
    from llmgate.discovery.choice import short

    if yes:
        return None
    click.echo("No model server answers on this machine.")
    there = click.Path(exists=True, dir_okay=False, path_type=Path)
    path: Path = click.prompt("A GGUF file to run in process", type=there)
    absolute = path.expanduser().resolve()
    return short(absolute.name), ModelSettings(path=str(absolute))


def _asked_name(name: str) -> str:
    given: str = click.prompt("The name that clients use", default=name)
    return given.strip() or name


def _table(name: str, settings: ModelSettings) -> str:
    """The TOML table of a model."""
    import json

    lines = [f"[models.{json.dumps(name)}]"]
    for key in ("backend", "url", "model", "path"):
        value = getattr(settings, key)
        if value is not None:
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _write(file: Path, text: str) -> None:
    """Write all of it or nothing."""
    import os
    import tempfile

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
        try:
            with open(descriptor, "w", encoding="utf-8") as new:
                new.write(text)
                new.flush()
                os.fsync(new.fileno())
            Path(name).replace(file)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"can't write {file}: {error.strerror}.") from error
