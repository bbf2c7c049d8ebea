"""Text of models, files and the web, made harmless for a terminal."""

from __future__ import annotations

# What a terminal acts on: C0 but for the line break and the tab, DEL and C1. Then what turns the
# direction of writing: it can make a command look like another one.
_ACTED_ON = [*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)]
_TURNING = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_DROPPED = dict.fromkeys(_ACTED_ON + _TURNING)
_HALVES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
_SPACES = {ord("\n"): " ", ord("\t"): " ", 0x2028: " ", 0x2029: " ", 0x85: " "}


def clean(text: str) -> str:
    """The text without anything that a terminal would act on; line breaks and tabs stay.

    Each character is looked at alone, so that pieces of a text give the pieces of the clean one.
    """
    return text.translate(_DROPPED | _HALVES)


def one_line(text: str) -> str:
    """The clean text on one line."""
    return " ".join(text.translate(_SPACES).translate(_DROPPED | _HALVES).split())


def fitted(text: str, width: int) -> str:
    """The clean text on one line that takes at most so many columns."""
    from rich.cells import cell_len, set_cell_size

    text = one_line(text)
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + "…"
