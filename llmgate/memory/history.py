"""What was done to a block of core memory, by whom, and the way back."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from llmgate.errors import RequestError

Kind = Literal["create", "append", "replace", "rewrite", "undo"]


class Edit(msgspec.Struct, frozen=True):
    """A change of a block's value; `number` counts from 1, which is its creation.

    `by` says who did it ("agent ann", "user", "import"), `call` names the call of a function that
    did it. An undo names the edit that it took back in `undoes`, which may be an undo too.
    """

    number: int
    at: datetime
    by: str
    call: str | None
    kind: Kind
    before: str
    after: str
    undoes: int | None = None


def to_undo(edits: Sequence[Edit], label: str, number: int | None = None) -> Edit:
    """The edit that an undo takes back: the last one that counts, or the one of that number.

    One of a number can be taken back if nothing that counts came after it; that of an undo does
    again what it took back. Raises `RequestError`.
    """
    done, undone = _stacks(edits)
    if number is None:
        if not done:
            raise RequestError(
                f"there is nothing to undo in the block {label!r}: it is as it was created."
            )
        return done[-1]
    if number == 1 or not any(edit.number == number for edit in edits):
        raise RequestError(
            f"the block {label!r} has no edit {number} that can be undone.",
            hint=f"Its edits are 2 to {len(edits)}." if len(edits) > 1 else "It has no edits yet.",
        )
    for stack in (done, undone):
        if stack and stack[-1].number == number:
            return stack[-1]
    if any(edit.number == number for edit in done):
        later = ", ".join(str(edit.number) for edit in done if edit.number > number)
        raise RequestError(
            f"edit {number} of the block {label!r} can't be undone: {later} came after it.",
            hint="Undo these first, the last one first.",
        )
    raise RequestError(
        f"edit {number} of the block {label!r} does not count: it was undone, or changed nothing.",
        hint="An undo can be undone as long as nothing else was changed since.",
    )


def to_redo(edits: Sequence[Edit], label: str) -> Edit:
    """The last undo, if nothing was changed since. Raises `RequestError`."""
    _, undone = _stacks(edits)
    if not undone:
        raise RequestError(f"there is nothing to do again in the block {label!r}.")
    return undone[-1]


def diff(edits: Sequence[Edit], label: str, a: int | None = None, b: int | None = None) -> str:
    """What changed from after edit `a` to after edit `b`, as a unified diff; empty if nothing.

    `b` is the last edit and `a` the one before it where they are not given; 0 is the empty block.
    """
    last = len(edits)
    b = last if b is None else b
    a = max(0, b - 1) if a is None else a
    for number in (a, b):
        if not 0 <= number <= last:
            raise RequestError(
                f"the block {label!r} has no edit {number}.", hint=f"Its edits are 1 to {last}."
            )
    before, after = (edits[number - 1].after if number else "" for number in (a, b))
    lines = difflib.unified_diff(
        before.splitlines(),
        after.splitlines(),
        f"{label} after edit {a}",
        f"{label} after edit {b}",
        lineterm="",
    )
    return "\n".join(lines)


def _stacks(edits: Sequence[Edit]) -> tuple[list[Edit], list[Edit]]:
    """The edits that count, and the undos that can be taken back themselves."""
    done: list[Edit] = []
    undone: list[Edit] = []
    for edit in edits:
        # Of what changed nothing there is nothing to take back.
        if edit.kind == "create" or (edit.before == edit.after and edit.undoes is None):
            continue
        if edit.undoes is None:
            done.append(edit)
            undone.clear()
        elif done and done[-1].number == edit.undoes:
            done.pop()
            undone.append(edit)
        else:
            undone.pop()
            done.append(edit)
    return done, undone
