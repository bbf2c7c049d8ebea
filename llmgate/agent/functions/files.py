"""A folder that nothing leads out of: text files in it are read by lines and appended to.

Each part of a name is opened by itself, from the folder that holds it and without following
links, so that there is no moment between a check and its use. Where the system can't do that
(Windows), each part is checked before the file is opened, and the open file afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from llmgate.agent.functions.names import parts_of
from llmgate.errors import FunctionError

MOST_CHARACTERS = 2000
MOST_LINES = 200
_MOST_LISTED = 20
_MOST_BYTES = 8 * 1024 * 1024
_MOST_APPENDED = 64 * 1024

_STEPWISE = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
# No terminal becomes ours, no pipe makes us wait, nothing is inherited or translated.
_PLAIN = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"))
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _PLAIN
_LINKS = (errno.ELOOP, errno.EMLINK)


class Lines(msgspec.Struct, frozen=True):
    """Some lines of a file. `stopped` is the line in which the limit of characters was met."""

    text: str
    first: int
    total: int
    stopped: int | None = None


class Sandbox:
    """A folder whose text files functions may use. It has to be there when it is used."""

    def __init__(self, folder: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        """`most_bytes` is how large a file may be, or become."""
        self.folder = folder
        self._most_bytes = most_bytes

    async def read(
        self, name: str, first: int = 1, count: int = 1, *, most: int = MOST_CHARACTERS
    ) -> Lines:
        """Lines of a file, the first one being 1, with at most `most` characters.

        Raises FunctionError for what is not a text file in the folder, or is too large.
        """
        return await asyncio.to_thread(self._read, name, first, count, most)

    async def append(self, name: str, text: str) -> int:
        """Add text and a line's end to a file that is there; its new size in bytes.

        Raises FunctionError as `read` does, and if it would become too large.
        """
        return await asyncio.to_thread(self._append, name, text)

    def _read(self, name: str, first: int, count: int, most: int) -> Lines:
        if first < 1 or count < 1:
            raise FunctionError(f"line_start {first} and num_lines {count} have to be 1 or more.")
        with self._opened(name, os.O_RDONLY) as file:
            text = _text(name, _all(file))
        lines = text.split("\n")
        if lines[-1] == "":
            lines.pop()
        if first > max(1, len(lines)):
            raise FunctionError(f"{name} has {len(lines)} lines, so there is no line {first}.")
        wanted = lines[first - 1 : first - 1 + min(count, MOST_LINES)]
        left, stopped, taken = most, None, []
        for number, line in enumerate(wanted, first):
            if len(line) > left:
                taken.append(line[:left])
                stopped = number
                break
            taken.append(line)
            left -= len(line) + 1
        if stopped is None and count > len(wanted) and first - 1 + len(wanted) < len(lines):
            stopped = first + len(wanted)
        return Lines("\n".join(taken), first, len(lines), stopped)

    def _append(self, name: str, text: str) -> int:
        data = f"{text}\n".encode("utf-8", "replace")
        if len(data) > _MOST_APPENDED:
            raise FunctionError(
                f"The text has {len(data)} bytes, and {_MOST_APPENDED} can be added at once."
            )
        with self._opened(name, os.O_RDWR | os.O_APPEND) as file:
            status = os.fstat(file)
            if status.st_size + len(data) > self._most_bytes:
                raise FunctionError(
                    f"{name} would have {status.st_size + len(data)} bytes, and the limit is "
                    f"{self._most_bytes}."
                )
            _write(name, file, data)
            return status.st_size + len(data)

    @contextlib.contextmanager
    def _opened(self, name: str, flags: int) -> Iterator[int]:
        """The file open, once it is sure that it is a plain file in the folder."""
        parts = parts_of(name)
        try:
            file = self._stepwise(parts, flags) if _STEPWISE else self._checked(parts, flags)
        except OSError as error:
            raise self._refusal(name, error) from error
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise FunctionError(f"{name} is not a plain file.")
            # Another name of the same file may stand outside the folder.
            if status.st_nlink > 1:
                raise FunctionError(f"{name} is also a file of another name, so it is not used.")
            if status.st_size > self._most_bytes:
                raise FunctionError(
                    f"{name} has {status.st_size} bytes, and the limit is {self._most_bytes}."
                )
            yield file
        finally:
            os.close(file)

    def _stepwise(self, parts: tuple[str, ...], flags: int) -> int:
        """Open part by part, each from the folder before it and never through a link."""
        # The folder itself is the user's choice, so that it may be a link.
        folder = os.open(self.folder, _FOLDER)
        try:
            for part in parts[:-1]:
                inner = os.open(part, _FOLDER | _NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            return os.open(parts[-1], flags | _PLAIN | _NOFOLLOW, dir_fd=folder)
        finally:
            os.close(folder)

    def _checked(self, parts: tuple[str, ...], flags: int) -> int:
        """Open by the whole path, with a check of its parts before and of the file after."""
        path = Path(os.path.realpath(self.folder))
        for part in parts:
            path /= part
            before = os.lstat(path)
            # Junctions of Windows are no symbolic links, but lead away as well.
            tag: int = getattr(before, "st_reparse_tag", 0)
            if stat.S_ISLNK(before.st_mode) or tag:
                raise OSError(errno.ELOOP, "a link")
        if not stat.S_ISREG(before.st_mode):
            raise OSError(errno.EISDIR, "not a plain file")
        file = os.open(path, flags | _PLAIN | _NOFOLLOW)
        after = os.fstat(file)
        same = (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino)
        if not same or os.path.realpath(path) != str(path):
            os.close(file)
            raise OSError(errno.ELOOP, "a link")
        return file

    def _refusal(self, name: str, error: OSError) -> FunctionError:
        if not self.folder.is_dir():
            return FunctionError(
                "The folder for files is not there.", hint="Tell the user to look at agent.files."
            )
        if error.errno in _LINKS:
            return FunctionError(f"{name} leads through a link, and links are not followed.")
        if error.errno == errno.ENOENT:
            return FunctionError(f"There is no file {name}.", hint=self._known())
        if error.errno == errno.ENOTDIR:
            # That is how a link in the place of a folder shows, too.
            return FunctionError(f"{name} goes through something that is not a folder.")
        if error.errno in (errno.EISDIR, errno.ENXIO, errno.ENODEV):
            return FunctionError(f"{name} is not a plain file.")
        return FunctionError(f"{name} can't be opened: {error.strerror or 'it is refused'}.")

    def _known(self) -> str | None:
        """What files there are, for a model that looks for one."""
        try:
            with os.scandir(self.folder) as entries:
                names = sorted(one.name for one in entries if one.is_file(follow_symlinks=False))
        except OSError:
            return None
        if not names:
            return "The folder has no files."
        more = ", …" if len(names) > _MOST_LISTED else ""
        return f"There are: {', '.join(names[:_MOST_LISTED])}{more}"


def _all(file: int) -> bytes:
    pieces = []
    while piece := os.read(file, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def _write(name: str, file: int, data: bytes) -> None:
    """All of the data at the end of the file, or nothing of it."""
    before = os.fstat(file).st_size
    # A last line without an end would swallow the first one of what is added.
    if before:
        os.lseek(file, before - 1, os.SEEK_SET)
        if os.read(file, 1) != b"\n":
            data = b"\n" + data
    written = 0
    try:
        while written < len(data):
            written += os.write(file, data[written:])
        os.fsync(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            # What somebody else has added meanwhile is not cut off.
            if os.fstat(file).st_size == before + written:
                os.ftruncate(file, before)
        raise FunctionError(f"{name} could not be written: {error.strerror}.") from error


def _text(name: str, data: bytes) -> str:
    if b"\0" in data:
        raise FunctionError(f"{name} is not a text file.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FunctionError(f"{name} is not a text file in UTF-8.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
