"""The folder for files: what is in it can be used, and nothing leads out of it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from llmgate.agent.functions import Sandbox, files
from llmgate.errors import FunctionError

SECRET = "the secret outside"
POSIX = pytest.mark.skipif(os.name == "nt", reason="links and pipes are made as POSIX has them")


@pytest.fixture
def places(tmp_path):
    """The sandbox's folder, and a folder beside it with a secret."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "sub" / "deeper").mkdir(parents=True)
    outside.mkdir()
    for folder in (inside, inside / "sub", inside / "sub" / "deeper"):
        (folder / "notes.txt").write_text("one\ntwo\n", encoding="utf-8")
    (outside / "secret.txt").write_text(SECRET, encoding="utf-8")
    (outside / "notes.txt").write_text(SECRET, encoding="utf-8")
    return inside, outside


@pytest.fixture(params=["stepwise", "checked"])
def sandbox(request, places, monkeypatch):
    """Both ways of opening a file: that of POSIX, and that of other systems."""
    if request.param == "stepwise" and not files._STEPWISE:
        pytest.skip("this system can't open a file from a folder")
    monkeypatch.setattr(files, "_STEPWISE", request.param == "stepwise")
    return Sandbox(places[0])


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All that is in a folder: kinds of files, and what stands in them."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content = path.read_bytes() if stat.S_ISREG(mode) else b""
        found[str(path)] = (mode, content)
    return found


async def refused(sandbox, name):
    """Whether a name is refused for reading and for writing."""
    with pytest.raises(FunctionError) as reading:
        await sandbox.read(name, 1, 100)
    with pytest.raises(FunctionError) as writing:
        await sandbox.append(name, "written")
    assert SECRET not in f"{reading.value}{writing.value}"
    return str(reading.value)


def traversals(outside: Path) -> list[str]:
    """Ways out of a folder, as attackers write them."""
    dots = ["..", "%2e%2e", "%252e%252e", "．．", "‥", "..;", ".. ", "...", "..\x00", "\x00..",
            "\\..", "..\\", "%c0%ae%c0%ae", "․․", "../.", "..//", "./..", "sub/../.."]  # fmt: skip
    slashes = ["/", "\\", "//", "/./", "%2f", "%5c", "／", "∕", "⁄", "\\/", "/\\", "%c0%af"]
    ends = ["", "\x00.txt", "%00.txt", ".", " ", "/", "::$DATA", "/."]
    starts = ["", "sub/", "./", "/", "~/", "C:", "C:\\", "\\\\?\\", "\\\\host\\share\\", "file://"]
    forms = []
    for dot, slash, end in itertools.product(dots, slashes, ends):
        forms.append(f"{dot}{slash}outside{slash}secret.txt{end}")
    for start, dot in itertools.product(starts, dots):
        forms.append(f"{start}{dot}/outside/secret.txt")
        forms.append(f"{start}sub/{dot}/{dot}/outside/secret.txt")
    for depth in range(1, 20):
        forms += ["../" * depth + "etc/passwd", "sub/" * 2 + "../" * depth + "outside/secret.txt"]
    target = str(outside / "secret.txt")
    for start in ("", "/", "//", "file://", "file:", "/proc/self/root", "/proc/self/cwd", "~"):
        forms += [start + target, start + target.replace("/", "\\"), start + target.upper()]
    forms += [f"{target}{end}" for end in ends]
    return list(dict.fromkeys(forms))


async def test_no_form_of_traversal_leads_out(sandbox, places, tmp_path):
    forms = traversals(places[1])
    assert len(forms) >= 500
    before = everything(tmp_path)
    for name in forms:
        assert await refused(sandbox, name)
    assert everything(tmp_path) == before


@POSIX
async def test_no_link_leads_out(sandbox, places, tmp_path):
    inside, outside = places
    links = {
        "file": outside / "secret.txt",
        "relative": Path("../outside/secret.txt"),
        "folder": outside,
        "root": Path("/"),
        "up": Path(".."),
        "new": outside / "new.txt",
        "sub/link": outside,
        "sub/file": outside / "secret.txt",
        "chain": Path("folder"),
        "chained": Path("file"),
        "round": Path("round"),
        "own": Path("notes.txt"),
        "here": Path("."),
        "proc": Path("/proc/self/fd"),
    }
    for name, target in links.items():
        (inside / name).symlink_to(target)
    names = [*links, "folder/secret.txt", "chain/secret.txt", "up/outside/secret.txt",
             "sub/link/secret.txt", "root" + str(outside / "secret.txt"), "folder/../notes.txt",
             "here/notes.txt", "here/here/notes.txt", "up/inside/notes.txt", "proc/0",
             "sub/link/new.txt"]  # fmt: skip
    before = everything(tmp_path)
    for name in names:
        assert await refused(sandbox, name)
    assert everything(tmp_path) == before
    assert "link" in await refused(sandbox, "file")


@POSIX
async def test_other_names_of_files_outside_are_refused(sandbox, places):
    inside, outside = places
    os.link(outside / "secret.txt", inside / "hard.txt")
    assert "another name" in await refused(sandbox, "hard.txt")
    assert (outside / "secret.txt").read_text(encoding="utf-8") == SECRET


@POSIX
async def test_what_is_not_a_plain_file_is_refused_at_once(sandbox, places):
    inside, _ = places
    os.mkfifo(inside / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    # The path of a socket may not be long, so it is made from its folder.
    here = Path.cwd()
    os.chdir(inside)
    try:
        listener.bind("socket")
    finally:
        os.chdir(here)
    names = ["pipe", "socket", "sub", "pipe/notes.txt", "notes.txt/notes.txt"]
    # Only who may make devices can see that they are refused.
    with contextlib.suppress(PermissionError):
        os.mknod(inside / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        names.append("zero")
    for name in names:
        assert await refused(sandbox, name)
    listener.close()


@POSIX
@pytest.mark.skipif(not files._STEPWISE, reason="this system can't open a file from a folder")
@pytest.mark.parametrize("swapped", ["folder", "file"])
async def test_a_link_that_comes_and_goes_never_leads_out(places, swapped):
    """A folder (or a file) and a link to the outside change places all the time."""
    inside, outside = places
    real, link, place = inside / "real", inside / "link", inside / "place"
    if swapped == "folder":
        real.mkdir()
        (real / "secret.txt").write_text("harmless", encoding="utf-8")
        link.symlink_to(outside)
        name = "place/secret.txt"
    else:
        real.write_text("harmless", encoding="utf-8")
        link.symlink_to(outside / "secret.txt")
        name = "place"
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            for one in (real, link):
                one.rename(place)
                place.rename(one)

    swapper = threading.Thread(target=swap)
    swapper.start()
    sandbox = Sandbox(inside)
    read, refusals = [], 0
    try:
        for _ in range(30_000):
            try:
                read.append(sandbox._read(name, 1, 1, 100).text)
                sandbox._append(name, "more")
            except FunctionError:
                refusals += 1
            if len(read) >= 50 and refusals >= 50:
                break
    finally:
        stop.set()
        swapper.join()
    assert refusals
    assert set(read) == {"harmless"}
    assert (outside / "secret.txt").read_text(encoding="utf-8") == SECRET


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "/", "a//b", "a/", "./notes.txt", "sub/./notes.txt", "notes.txt.",
     "notes.txt ", " notes.txt", "a:b", "notes.txt:stream", "CON", "con.txt", "sub/NUL", "aux",
     "com1.log", "LPT¹", "a\nb", "a\x7fb", "a\u2028b", "\ud800", "a*", "a?b", 'a"b', "<a>", "a|b",
     "x" * 300, "ü" * 200, "/".join(["a"] * 40)],
)  # fmt: skip
async def test_a_name_that_is_none_everywhere_is_refused(sandbox, name):
    assert await refused(sandbox, name)


async def test_names_in_every_script_can_be_used(sandbox, places):
    for name in ("größe.txt", "日本語.txt", "with space.txt", "..a", "a..b", ".hidden", "~a"[1:]):
        (places[0] / name).write_text("x", encoding="utf-8")
        assert (await sandbox.read(name)).text == "x"


async def test_lines_are_read_from_the_first_that_is_asked_for(sandbox, places):
    (places[0] / "lines.txt").write_bytes("\ufeffone\r\ntwo\r\n\r\nfour\n".encode())
    assert (await sandbox.read("lines.txt")).text == "one"
    assert (await sandbox.read("lines.txt", 2, 3)).text == "two\n\nfour"
    assert (await sandbox.read("lines.txt", 4, 99)).text == "four"
    assert (await sandbox.read("lines.txt", 1, 2)).total == 4
    with pytest.raises(FunctionError, match="has 4 lines, so there is no line 5"):
        await sandbox.read("lines.txt", 5)
    for first, count in ((0, 1), (-1, 1), (1, 0)):
        with pytest.raises(FunctionError, match="1 or more"):
            await sandbox.read("lines.txt", first, count)


async def test_an_empty_file_is_an_empty_line(sandbox, places):
    (places[0] / "empty.txt").touch()
    assert (await sandbox.read("empty.txt")).text == ""


async def test_a_reading_ends_at_the_limit_of_characters_and_of_lines(sandbox, places):
    (places[0] / "long.txt").write_text("abc\ndefgh\nijk", encoding="utf-8")
    lines = await sandbox.read("long.txt", 1, 9, most=6)
    assert (lines.text, lines.stopped) == ("abc\nde", 2)
    (places[0] / "many.txt").write_text("x\n" * 500, encoding="utf-8")
    lines = await sandbox.read("many.txt", 1, 500)
    assert (lines.text.count("x"), lines.stopped, lines.total) == (200, 201, 500)


@pytest.mark.parametrize("content", [b"a\0b", b"\xff\xfea", b"caf\xe9"])
async def test_what_is_no_text_is_not_read(sandbox, places, content):
    (places[0] / "binary").write_bytes(content)
    with pytest.raises(FunctionError, match="not a text file"):
        await sandbox.read("binary")


async def test_a_large_file_is_neither_read_nor_grown(places):
    sandbox = Sandbox(places[0], most_bytes=100)
    (places[0] / "large.txt").write_text("x" * 101, encoding="utf-8")
    assert "101 bytes, and the limit is 100" in await refused(sandbox, "large.txt")
    (places[0] / "full.txt").write_text("x" * 95, encoding="utf-8")
    with pytest.raises(FunctionError, match="would have 103 bytes"):
        await sandbox.append("full.txt", "y" * 7)
    assert len((await sandbox.read("full.txt")).text) == 95
    with pytest.raises(FunctionError, match="at once"):
        await sandbox.append("notes.txt", "y" * 100_000)


async def test_a_text_is_appended_as_a_line_of_its_own(sandbox, places):
    (places[0] / "log.txt").write_text("no end", encoding="utf-8")
    await sandbox.append("log.txt", "ünï")
    await sandbox.append("log.txt", "two\nlines")
    text = (places[0] / "log.txt").read_bytes().decode()
    assert text == "no end\nünï\ntwo\nlines\n"


async def test_only_files_that_are_there_are_appended_to(sandbox, places):
    with pytest.raises(FunctionError, match=r"There is no file new\.txt"):
        await sandbox.append("new.txt", "x")
    assert not (places[0] / "new.txt").exists()


async def test_a_full_disk_leaves_the_file_as_it_was(sandbox, places, monkeypatch):
    write = os.write

    def full(file, data):
        if len(data) > 3:
            return write(file, data[:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(FunctionError, match="could not be written"):
        await sandbox.append("notes.txt", "12345")
    assert (places[0] / "notes.txt").read_text(encoding="utf-8") == "one\ntwo\n"


async def test_a_folder_that_is_not_there_is_named_as_the_reason(tmp_path):
    assert "agent.files" in await refused(Sandbox(tmp_path / "nowhere"), "a.txt")


@POSIX
async def test_the_folder_itself_may_be_a_link(places, tmp_path):
    (tmp_path / "link").symlink_to(places[0])
    assert (await Sandbox(tmp_path / "link").read("sub/notes.txt")).text == "one"
