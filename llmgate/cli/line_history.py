"""The lines that a person has typed, kept in the user's folder where that can be written."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prompt_toolkit.history import History


def line_history(folder: Path | None) -> History:
    """The history in that folder; one that ends with the program where there is none."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    if folder is not None:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / "chat_history"
            file.touch(mode=0o600)
            return FileHistory(str(file))
    return InMemoryHistory()
