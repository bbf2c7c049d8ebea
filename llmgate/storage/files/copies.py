"""What a `file:` store is as a whole: its schema number, its backups, and their way back."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from llmgate.errors import NewerStore, StorageError, StoreCorrupt
from llmgate.storage.files.journal import Journal
from llmgate.storage.files.tree import flush
from llmgate.storage.places import make_folder, prune, sync_folder, utc_stamp, write_whole

SCHEMA = 1
_ABOUT = "store.json"
_FORMAT = "llmgate file store"

# From each number to the next; done again after a crash, so each must bear being done twice.
MIGRATIONS: Mapping[int, Callable[[Path], None]] = {}


class About(msgspec.Struct, frozen=True):
    """The file that says what the folder is."""

    format: str
    schema: int


def check_ours(folder: Path) -> None:
    """Raise `StoreCorrupt` for a folder with other things in it, `NewerStore` for a newer store."""
    if (folder / _ABOUT).exists():
        _about(folder)
    elif others := [path for path in folder.iterdir() if path.name not in _BEFORE]:
        raise StoreCorrupt(
            f"{folder} is not empty and not a store: it has {others[0].name!r} in it.",
            hint="Choose another folder.",
        )


def prepare(folder: Path, backups: int) -> None:
    """Make the store, or bring it up to date; the lock is held."""
    journal, about = folder / "journal.jsonl", folder / _ABOUT
    if about.exists() and (number := _about(folder).schema) < SCHEMA:
        backup(folder, None, backups)
        for step in range(number, SCHEMA):
            MIGRATIONS[step](folder)
        _write_about(folder)
    _finish_restore(folder)
    if not journal.exists():
        # Without the journal it is not known which versions were given out: these were not.
        new = Journal(journal)
        new.start(int(time.time() * 1000) if about.exists() else 0)
        new.close()
    if not about.exists():
        _write_about(folder)


def backup(folder: Path, path: Path | None, keep: int) -> Path:
    """Copy the store, whose files are flushed and whose lock is held."""
    backups = folder.with_name(f"{folder.name}.backups")
    target = path or backups / utc_stamp()
    if target.exists():
        raise StorageError(f"{target} is there already.", hint="Choose another path.")
    beside = target.with_name(f".{target.name}.new")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        make_folder(beside.parent)
        make_folder(beside)
        for name in ("data", "journal.jsonl", _ABOUT):
            _copy(folder / name, beside / name)
        _flush_all(beside)
        beside.rename(target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    if path is None:
        prune(backups, "2*", keep)
    return target


def check_backup(path: Path) -> None:
    """Raise `StorageError` for what is no backup of such a store."""
    if not (path / _ABOUT).is_file():
        raise StorageError(f"{path} is not a backup of a file: store.")
    if (number := _about(path).schema) != SCHEMA:
        raise StorageError(
            f"{path} has schema {number}, this store {SCHEMA}.",
            hint=f"Open it once to bring it up to date: llmgate storage stats --url file:{path}",
        )


def version_of(folder: Path) -> int:
    """The last version that the store has given out."""
    journal = Journal(folder / "journal.jsonl")
    try:
        journal.open()
        return journal.version
    finally:
        journal.close()


def restore(folder: Path, path: Path) -> None:
    """Put the backup's data into the place of the store's, whose journal is empty."""
    incoming = folder / "data.restored"
    shutil.rmtree(incoming, ignore_errors=True)
    shutil.copytree(path / "data", folder / "data.copying", dirs_exist_ok=False)
    _flush_all(folder / "data.copying")
    # From this name on it is finished even after a crash.
    (folder / "data.copying").rename(incoming)
    sync_folder(folder)
    _finish_restore(folder)


def _finish_restore(folder: Path) -> None:
    shutil.rmtree(folder / "data.copying", ignore_errors=True)
    incoming, old = folder / "data.restored", folder / "data.replaced"
    if incoming.exists():
        if (folder / "data").exists():
            shutil.rmtree(old, ignore_errors=True)
            (folder / "data").rename(old)
        incoming.rename(folder / "data")
        sync_folder(folder)
    shutil.rmtree(old, ignore_errors=True)


def _about(folder: Path) -> About:
    path = folder / _ABOUT
    try:
        about = msgspec.json.decode(path.read_bytes(), type=About)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"{path} can't be understood: {error}.") from error
    if about.format != _FORMAT or about.schema < 1:
        raise StoreCorrupt(f"{path} is not about a store of llmgate.")
    if about.schema > SCHEMA:
        raise NewerStore(
            f"{folder} has schema {about.schema}, and this llmgate knows schemas up to {SCHEMA}.",
            hint="Use the newer llmgate that wrote it; nothing was changed.",
        )
    return about


def _write_about(folder: Path) -> None:
    path = folder / _ABOUT
    data = msgspec.json.encode(About(_FORMAT, SCHEMA)) + b"\n"
    beside = folder / f"{_ABOUT}.next"
    beside.unlink(missing_ok=True)
    write_whole(beside, data)
    beside.replace(path)
    sync_folder(folder)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _flush_all(folder: Path) -> None:
    names = [Path(parent, name) for parent, _, files in os.walk(folder) for name in files]
    flush(names, folder.parent)


# What may be there of a store whose making was interrupted.
_BEFORE = ("lock", "journal.jsonl", "journal.jsonl.new", f"{_ABOUT}.next", f".{_ABOUT}.next.new")
