"""Values and texts that several of these tests read, and what every mended text must report."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from llmgate.repair import Repaired, loads

CALL = {"function": "send_message", "params": {"message": "hi"}}
TEXT = '{"function": "send_message", "params": {"message": "hi"}}'
# Letters of which junk is made that looks like JSON.
JUNK = "{}[]\"':,\\ \nabtrue01.-/*#`<|>"

texts = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.text("\"'\\{}[],: \n\tab/#`<|>é😀", max_size=8)
    | st.sampled_from(["</s>", "x<|im_end|>", "```", "C:\\dir", "\\d+\\b", "//", "/*", 'a", "b'])
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, min_size=1, max_size=4)
documents = st.lists(values, max_size=4) | st.dictionaries(texts, values, max_size=4) | texts


def mended(text: str, schema: Any = None) -> Repaired:
    """The result for a faulty text: it must not go unreported."""
    found = loads(text, schema=schema)
    assert found.notes
    assert all(note.code == "repaired" and note.message for note in found.notes)
    assert len({note.message.partition(" (")[0] for note in found.notes}) == len(found.notes)
    return found
