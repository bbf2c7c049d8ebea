"""JSON out of what a model wrote: valid JSON untouched, anything else mended and reported.

Valid text goes through the standard library's decoder. What that refuses is read by a
tolerant reader: one pass, an explicit stack instead of recursion, and a rule for every fault
that models make often (prose and fences around the value, cut text, unescaped quotes, Python
literals, missing commas and closers, restarts). It only ever leaves out what can't be read: a
cut number or a key without a value goes, nothing is completed to something else.
Shapes that it has no rule for, `{"a" => 1}` or `(1, 2)`, go to the package json-repair, whose
answer counts only if each of its strings stands in the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llmgate.repair.strict import MAX_DEPTH, STRICT, deep_error, too_deep
from llmgate.types import Note

if TYPE_CHECKING:
    from llmgate.repair.reader import Document

__all__ = ["MAX_DEPTH", "Repaired", "loads"]


class Repaired(msgspec.Struct, frozen=True):
    """The value of a text, all values in it, what was mended, and whether the text was cut.

    `value` is the first whole object, else the first cut one, else the first value.
    """

    value: Any
    values: tuple[Any, ...]
    notes: tuple[Note, ...] = ()
    truncated: bool = False


def loads(text: str) -> Repaired:
    """Read the JSON in a model's text, mending what can be mended.

    Raises OutputError if there is no JSON in it, or JSON nested deeper than `MAX_DEPTH`.
    """
    try:
        value = STRICT.decode(text)
    except (ValueError, RecursionError):
        # Not at the top: the reader's patterns cost ten times what this module costs.
        from llmgate.repair import salvage

        documents, notes = salvage.read(text)
        values = tuple(document.value for document in documents)
        return Repaired(_best(documents), values, notes, any(d.cut for d in documents))
    if too_deep(value, text):
        raise deep_error(text)
    return Repaired(value, (value,))


def _best(documents: list[Document]) -> Any:
    objects = [d for d in documents if isinstance(d.value, dict)]
    best = next((d for d in objects if not d.cut), next(iter(objects), documents[0]))
    return best.value
