"""What was done to a text, in words."""

from __future__ import annotations

from llmgate.types import Note

_SHOWN = 8
SENTENCES = {
    "around": "Ignored text that is not part of the JSON",
    "token": "Removed an end token of the model",
    "cut": "The text ends inside a value, so closed what was open",
    "lost": "The rest of a value can't be read, so closed what was open",
    "escaped": "Read JSON whose quotes are all escaped",
    "space": "Removed white space that JSON does not have",
    "closer": "Added a missing closing bracket",
    "kind": "Read a bracket as one of the other kind",
    "opener": "Added the missing opening brace",
    "stray": "Ignored stray text between the values",
    "extra": "Ignored a bracket that closes nothing or closes too early",
    "doubled": "Ignored a doubled opening brace",
    "restart": "The object was started again inside its own beginning, so kept the inner one",
    "newline": "Kept raw line breaks, tabs or control characters in a string",
    "escape": "Kept a backslash that escapes nothing, or took its character",
    "inner": "Kept unescaped quotes inside a string",
    "unclosed": "Added a missing closing quote",
    "unopened": "Added a missing opening quote",
    "embedded": "Read JSON that stood in quotes without escapes",
    "quotes": "Read quotes other than double quotes",
    "python": "Read Python's or another spelling of true, false or null",
    "number": "Read a number in a notation that JSON does not have",
    "nan": "Wrote null for NaN, Infinity or undefined",
    "tuple": "Read round brackets as an array",
    "bare": "Read a string without quotes",
    "bare_key": "Read a key without quotes",
    "comment": "Removed a comment",
    "trailing": "Removed a superfluous comma",
    "comma": "Added a missing comma between two values",
    "colon": "Mended the colon between a key and its value",
    "key": "Dropped a key without a value",
    "value": "Dropped a value that is cut, so that it may have been another",
    "range": "Dropped a number that is out of range",
}


def notes(edits: list[tuple[int, str]], values: int) -> tuple[Note, ...]:
    """A note for each rule that was used, with the offsets at which it was."""
    if len(edits) == 1 and values == 1:
        return (Note("repaired", f"{SENTENCES[edits[0][1]]} (at {edits[0][0]})."),)
    places: dict[str, list[int]] = {}
    for offset, rule in edits:
        places.setdefault(rule, []).append(offset)
    made = [Note("repaired", _sentence(rule, offsets)) for rule, offsets in places.items()]
    if values > 1:
        made.append(Note("repaired", f"Found {values} JSON values, not one."))
    return tuple(made)


def _sentence(rule: str, offsets: list[int]) -> str:
    shown = ", ".join(map(str, offsets[:_SHOWN]))
    more = f" and {len(offsets) - _SHOWN} more" if len(offsets) > _SHOWN else ""
    return f"{SENTENCES[rule]} (at {shown}{more})."
