"""`llmgate storage`: what is stored, how it is, its backups, and its way to another engine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from click._termui_impl import ProgressBar

    from llmgate.storage import Records
    from llmgate.storage.passages import VectorStore

_URL = click.option(
    "--url",
    metavar="URL",
    help="The store, as in sqlite:llmgate.db (default: LLMGATE_STORAGE_URL, then [storage] url).",
)
_CONFIG = click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml).")
_VECTORS = click.option(
    "--vectors",
    is_flag=True,
    help="The store of passages (default: LLMGATE_VECTORS_URL, then [storage] vectors).",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group("storage")
def command() -> None:
    """Look at what is stored, back it up, or move it to another engine."""


@command.command("health")
@_URL
@_VECTORS
@_CONFIG
@_JSON
def health(url: str | None, vectors: bool, config: str | None, as_json: bool) -> None:
    """Look through everything that is stored. Exits with 1 if something is wrong."""

    async def look(records: Records | VectorStore) -> None:
        found = await records.health()
        if as_json:
            _print_json(found)
        else:
            for line in (*found.repaired, *found.problems):
                click.echo(line)
            click.echo("ok" if found.ok else f"{len(found.problems)} problems")
        if not found.ok:
            raise click.exceptions.Exit(1)

    _with_either(url, vectors, config, look)


@command.command("stats")
@_URL
@_VECTORS
@_CONFIG
@_JSON
def stats(url: str | None, vectors: bool, config: str | None, as_json: bool) -> None:
    """Count what is stored."""

    async def count(records: Records | VectorStore) -> None:
        found = await records.stats()
        if as_json:
            _print_json(found)
            return
        for name in found.__struct_fields__:
            click.echo(f"{name:11} {getattr(found, name)}")

    _with_either(url, vectors, config, count)


@command.command("ls")
@click.argument("prefix", default="")
@_URL
@_VECTORS
@_CONFIG
@_JSON
def ls(prefix: str, url: str | None, vectors: bool, config: str | None, as_json: bool) -> None:
    """List documents and logs, or those whose names begin with PREFIX.

    With --vectors, the collections of passages.
    """

    async def collections(store: VectorStore) -> None:
        for name in await store.collections(prefix):
            async with await store.open(name) as opened:
                _line("collection", name, await opened.size(), as_json)

    async def listed(records: Records) -> None:
        after = ""
        while page := await records.keys(prefix, after=after):
            for key in page:
                _line("document", key, None, as_json)
            after = page[-1]
        after = ""
        while page := await records.logs(prefix, after=after):
            for log in page:
                _line("log", log, await records.end(log), as_json)
            after = page[-1]

    if vectors:
        _with_vectors(url, config, collections)
    else:
        _with_store(url, config, listed)


@command.command("backup")
@click.argument("path", required=False)
@_URL
@_VECTORS
@_CONFIG
def backup(path: str | None, url: str | None, vectors: bool, config: str | None) -> None:
    """Copy all that is stored at this moment, to PATH or beside the store."""

    async def copy(records: Records | VectorStore) -> None:
        click.echo(await records.backup(Path(path) if path else None))

    _with_either(url, vectors, config, copy)


@command.command("restore")
@click.argument("backup")
@_URL
@_VECTORS
@_CONFIG
def restore(backup: str, url: str | None, vectors: bool, config: str | None) -> None:
    """Put a BACKUP in the place of all that is stored, of which a backup is made first."""

    async def replace(records: Records) -> None:
        if await records.keys(limit=1) or await records.logs(limit=1):
            click.echo(f"What was stored is kept in {await records.backup()}", err=True)
        await records.restore(Path(backup))
        found = await records.stats()
        click.echo(
            f"restored {found.documents} documents and {found.entries} entries of {found.logs} logs"
        )

    async def replace_vectors(store: VectorStore) -> None:
        if await store.collections():
            click.echo(f"What was stored is kept in {await store.backup()}", err=True)
        await store.restore(Path(backup))
        found = await store.stats()
        click.echo(f"restored {found.passages} passages of {found.collections} collections")

    if vectors:
        _with_vectors(url, config, replace_vectors, make=True)
    else:
        _with_store(url, config, replace, make=True)


@command.command("migrate")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--vectors", is_flag=True, help="They are stores of passages.")
def migrate(source: str, target: str, vectors: bool) -> None:
    """Copy everything from one store into another, and compare both.

    \b
        llmgate storage migrate file:old sqlite:llmgate.db

    TO must be empty. After an interruption the same command goes on where it was.
    """
    import asyncio

    from llmgate import storage
    from llmgate.storage.copying import migrate as copy

    async def run() -> None:
        _check_there(source)
        async with await storage.open(source) as old, await storage.open(target) as new:
            before = await old.stats()
            with _progress(before.documents + before.entries) as bar:
                found = await copy(old, new, source, bar.update)
        click.echo(
            f"{found.documents} documents and {found.entries} entries of {len(found.logs)} logs"
            " are the same in both"
        )

    asyncio.run(_migrate_vectors(source, target) if vectors else run())


async def _migrate_vectors(source: str, target: str) -> None:
    from llmgate.storage.copying_vectors import migrate_vectors
    from llmgate.storage.vectors import open_vector_store

    _check_there(source)
    async with await open_vector_store(source) as old, await open_vector_store(target) as new:
        with _progress((await old.stats()).passages) as bar:
            found = await migrate_vectors(old, new, bar.update)
    click.echo(
        f"{found.passages} passages of {len(found.collections)} collections are the same in both"
    )


def _progress(things: int) -> ProgressBar[int]:
    return click.progressbar(
        # Read, written and compared: each comes by three times.
        length=3 * things or 1,
        label="Copying and comparing",
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
    )


def _with_store(
    url: str | None,
    config: str | None,
    use: Callable[[Records], Awaitable[None]],
    *,
    make: bool = False,
) -> None:
    import asyncio

    from llmgate import config as configuration
    from llmgate import storage

    if url is None:
        settings = configuration.load(Path(config) if config else None)
        url = configuration.storage_url(settings)
    chosen = url

    async def run() -> None:
        if not make:
            _check_there(chosen)
        async with await storage.open(chosen) as records:
            await use(records)

    asyncio.run(run())


def _with_vectors(
    url: str | None,
    config: str | None,
    use: Callable[[VectorStore], Awaitable[None]],
    *,
    make: bool = False,
) -> None:
    import asyncio

    from llmgate import config as configuration
    from llmgate.storage.vectors import open_vector_store

    if url is None:
        settings = configuration.load(Path(config) if config else None)
        url = configuration.vectors_url(settings)
    chosen = url

    async def run() -> None:
        if not make:
            _check_there(chosen)
        async with await open_vector_store(chosen) as store:
            await use(store)

    asyncio.run(run())


def _with_either(
    url: str | None,
    vectors: bool,
    config: str | None,
    use: Callable[[Records | VectorStore], Awaitable[None]],
) -> None:
    if vectors:
        _with_vectors(url, config, use)
    else:
        _with_store(url, config, use)


def _check_there(url: str) -> None:
    """Only to be looked at, no store is to be made."""
    from llmgate.errors import StorageError
    from llmgate.storage import Url

    parsed = Url.parse(url)
    if parsed.scheme in ("sqlite", "file") and not (path := parsed.path()).exists():
        raise StorageError(f"there is no store yet at {path}.", hint="Name another with --url.")


def _line(kind: str, name: str, entries: int | None, as_json: bool) -> None:
    import msgspec

    if as_json:
        line = {"kind": kind, "name": name} | ({} if entries is None else {"entries": entries})
        click.echo(msgspec.json.encode(line).decode())
        return
    # What a terminal would act on is shown, not sent.
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)
    click.echo(f"{kind:9} {shown}" + ("" if entries is None else f"  ({entries})"))


def _print_json(value: object) -> None:
    import msgspec

    click.echo(msgspec.json.encode(value).decode())
