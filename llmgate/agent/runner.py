"""Who is in the middle of something with an agent, and whether that process still lives."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path

import msgspec


class Runner(msgspec.Struct, frozen=True):
    """A home in a process on a machine. `began` tells it from later ones that got its number."""

    host: str
    pid: int
    began: str = ""
    home: str = ""

    @classmethod
    def here(cls) -> Runner:
        """One of this process, unlike all others."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, _began(pid), secrets.token_hex(8))

    def lives(self) -> bool:
        """Whether its process is there and another one, as far as that can be known.

        False for one on another machine: two of them are told apart when they write.
        """
        if self.host != socket.gethostname() or self.pid == os.getpid():
            return False
        if sys.platform == "win32":
            return False  # there os.kill ends the process that it is asked about
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return _began(self.pid) == self.began


def _began(pid: int) -> str:
    """When a process began, in the words of the system; empty where it does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The name of the program may have spaces and brackets in it: what counts is behind it.
    behind = stat.rpartition(")")[2].split()
    state, began = behind[0], behind[19]
    return "" if state in "ZX" else began
