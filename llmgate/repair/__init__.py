"""JSON out of what a model wrote: valid JSON untouched, anything else mended and reported.

Valid text goes through a strict decoder and is what that makes of it: the last of several
members with one key counts, integers have any size, half a surrogate pair in an escape is kept.
JSON has no NaN and no Infinity, so they are mended to null; a number that no float can hold
(1e999) or with more digits than Python converts is left out.

What the decoder refuses is read by a tolerant reader: one pass, an explicit stack instead of
recursion, and a rule for every fault that models make often. A schema, where one is known,
tells which keys are expected, and so where a string ends in which quotes are not escaped.

Nothing is invented. Of a text that is cut, what is certain is kept: a string as far as it goes,
but a number at the very end may have had more digits, so it is left out, as are half a literal
and a key without a value. `truncated` says that the text was cut. Every edit is reported.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from llmgate.repair.strict import MAX_DEPTH, deep_error, too_deep
from llmgate.types import JSONSchema, Note

if TYPE_CHECKING:
    from llmgate.repair.partial import Partial
    from llmgate.repair.reader import Document
    from llmgate.repair.shapes import Shape

__all__ = ["MAX_DEPTH", "Edit", "Partial", "Repaired", "loads"]


class Edit(msgspec.Struct, frozen=True):
    """One thing that was mended: the name of the rule, and where in the text."""

    rule: str
    offset: int


class Repaired(msgspec.Struct, frozen=True):
    """The value of a text, all values in it, what was mended, and whether the text was cut.

    `value` is the first whole object, else the first cut one, else the first value. `notes` has
    one note for each rule that was used, `edits` each single use in the order of the text.
    """

    value: Any
    values: tuple[Any, ...]
    notes: tuple[Note, ...] = ()
    truncated: bool = False
    edits: tuple[Edit, ...] = ()


def loads(text: str, *, schema: JSONSchema | None = None, max_depth: int | None = None) -> Repaired:
    """Read the JSON in a model's text, mending what can be mended.

    With a `schema` objects that have keys of it are preferred as the `value`. It is a source of
    hints: the value is not checked against it.

    Raises OutputError if there is no JSON in the text, or JSON with more levels than
    `max_depth`. What recurses, as json.dumps does, can't take more than a few hundred;
    `MAX_DEPTH` is safe.
    """
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        return _salvaged(text, schema, max_depth, str(error))
    except (ValueError, RecursionError):
        return _salvaged(text, schema, max_depth, "")
    if max_depth is not None and too_deep(value, max_depth):
        raise deep_error(max_depth, text)
    return Repaired(value, (value,))


def _salvaged(text: str, schema: JSONSchema | None, max_depth: int | None, error: str) -> Repaired:
    """The values of a text that the strict decoder refused, and what it said."""
    salvage, report, shapes_of = _tolerant()
    shapes = shapes_of(schema) if isinstance(schema, dict) else None
    documents, edits = salvage(text, shapes, max_depth, error)
    if not edits and len(documents) == 1:
        # Valid, but not for the faster decoder: half surrogate pairs, very long numbers.
        return Repaired(documents[0].value, (documents[0].value,))
    return Repaired(
        _best(documents, shapes.root if shapes else None),
        tuple([document.value for document in documents]),
        report(edits, len(documents)),
        any(document.cut for document in documents),
        tuple([Edit(rule, offset) for offset, rule in edits]),
    )


@cache
def _tolerant() -> tuple[Any, Any, Any]:
    """What reads faulty text: not at the top, since their patterns cost 40 ms to compile."""
    from llmgate.repair import report, salvage
    from llmgate.repair.shapes import Shapes

    return salvage.read, report.notes, Shapes


def _best(documents: list[Document], form: Shape | None) -> Any:
    """The value among several: the first whole object, of the kind that the schema wants."""
    if len(documents) == 1:
        return documents[0].value
    kind: type = list if form is not None and form.only("array", "null") else dict
    found = [document for document in documents if isinstance(document.value, kind)]
    whole = [document for document in found if not document.cut]
    if form is not None and form.known and kind is dict:
        known = form.known.keys()
        fitting = [d for d in whole if form.required <= d.value.keys() and known & d.value.keys()]
        whole = fitting or whole
    return next(iter(whole or found or documents)).value


def __getattr__(name: str) -> Any:
    if name == "Partial":
        from llmgate.repair.partial import Partial

        return Partial
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
