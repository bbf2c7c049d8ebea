"""Lines broken at words, also while they are still being written."""

from __future__ import annotations

import re

_PARTS = re.compile(r"\n|[^\S\n]+|\S+")
# A word that gets longer is shown as far as it is there: many scripts have no spaces.
_LONGEST = 20


class Wrapping:
    """Breaks a text that comes in pieces. What it holds back is at most the word at the end."""

    def __init__(self, column: int = 0) -> None:
        self._column = column
        self._gap = ""
        self._word = ""
        # The word that stands at the end was shown in part: its rest has to stand behind it.
        self._begun = False

    @property
    def holds(self) -> bool:
        """Whether something is held back."""
        return bool(self._word)

    def feed(self, text: str, width: int) -> str:
        """What can be written now, to lines of so many columns."""
        out: list[str] = []
        for part in _PARTS.findall(text):
            if part == "\n":
                out += (self.flush(width), "\n")
                self._column, self._gap, self._begun = 0, "", False
            elif part.isspace():
                out.append(self.flush(width))
                self._gap += part
                self._begun = False
            else:
                self._word += part
                if len(self._word) > _LONGEST:
                    out.append(self.flush(width))
        return "".join(out)

    def flush(self, width: int) -> str:
        """What was held back."""
        from rich.cells import cell_len

        word, gap = self._word, self._gap
        if not word:
            return ""
        begun, self._begun = self._begun, True
        self._word = self._gap = ""
        end = self._column + cell_len(gap) + cell_len(word)
        if end > width and self._column and not begun and cell_len(word) <= width:
            self._column = cell_len(word)
            return f"\n{word}"
        # The terminal breaks what is longer than its lines.
        self._column = end % width if width and end > width else end
        return gap + word


def wrapped(text: str, width: int) -> str:
    """A whole text, its lines broken at words; what goes on is indented as its line is."""
    lines: list[str] = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip(" "))]
        inner = Wrapping()
        broken = inner.feed(line[len(indent) :], width - len(indent)) + inner.flush(
            width - len(indent)
        )
        lines += [indent + part for part in broken.split("\n")]
    return "\n".join(lines)
