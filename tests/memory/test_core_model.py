"""Any edits of a block, against a list of its values."""

from __future__ import annotations

import asyncio
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgate import storage
from llmgate.errors import FunctionError, RequestError
from llmgate.memory.core import Core

LIMIT = 12
TEXTS = st.text("ab\n é", max_size=5)
EDITS = st.lists(
    st.tuples(st.just("append"), TEXTS)
    | st.tuples(st.just("replace"), TEXTS, TEXTS)
    | st.tuples(st.just("rewrite"), TEXTS)
    | st.tuples(st.just("undo"))
    | st.tuples(st.just("redo")),
    max_size=15,
)


def expected(value, edit):
    """The value after the edit, None if it must be refused."""
    match edit:
        case ("append", text):
            new = (f"{value}\n{text}" if value else text) if text.strip() else None
        case ("replace", old, text):
            times = sum(value.startswith(old, place) for place in range(len(value))) if old else 0
            new = value.replace(old, text) if times == 1 else None
        case ("rewrite", text):
            new = text
    return None if new is None or len(new) > LIMIT else new


async def play(url, edits):
    async with await storage.open(url) as records:
        core = Core(records, {}, by="agent ann")
        await core.create("human", "ab", limit=LIMIT)
        values, undone = ["ab"], []
        for number, edit in enumerate(edits):
            if edit == ("undo",):
                if len(values) == 1:
                    with pytest.raises(RequestError):
                        await core.undo("human")
                else:
                    undone.append(values.pop())
                    await core.undo("human")
            elif edit == ("redo",):
                if not undone:
                    with pytest.raises(RequestError):
                        await core.redo("human")
                else:
                    values.append(undone.pop())
                    await core.redo("human")
            else:
                kind, *arguments = edit
                new = expected(values[-1], edit)
                call = None if number % 2 else f"{number}"
                for _ in range(2 if call else 1):
                    if new is None:
                        with pytest.raises(FunctionError):
                            await getattr(core, kind)("human", *arguments, call=call)
                    else:
                        block = await getattr(core, kind)("human", *arguments, call=call)
                        assert block.value == new
                if new is not None and new != values[-1]:
                    values.append(new)
                    undone.clear()
            assert (await core.get("human")).value == values[-1]
        log = await core.log("human")
        assert [edit.number for edit in log] == list(range(1, len(log) + 1))
        assert [edit.before for edit in log] == ["", *(edit.after for edit in log[:-1])]
        assert log[-1].after == values[-1]


@pytest.mark.parametrize("engine", ["sqlite", "file", "memory"])
def test_any_edits_are_as_in_the_model(engine):
    @settings(max_examples=60 if engine == "memory" else 8, deadline=None)
    @given(EDITS)
    def run(edits):
        with tempfile.TemporaryDirectory() as folder:
            url = {"sqlite": f"sqlite:{folder}/a.db", "file": f"file:{folder}/a"}
            asyncio.run(play(url.get(engine, "memory:"), edits))

    run()
