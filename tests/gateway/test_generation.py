"""One generation from a prompt: what the backend is told, and what held the answer."""

from __future__ import annotations

import pytest

from llmgate.backends.scripted import ScriptedBackend
from llmgate.gateway import Route
from llmgate.gateway.generation import generate
from llmgate.types import Caps, Completion, Delta, Message, Note, Request, Tool, ToolChoice
from llmgate.wrappers import Wrapper

ADD = Tool("add", "Add.", {"type": "object", "properties": {"n": {"type": "integer"}}})
CALL = '{"function": "add", "params": {"n": 5}}'
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
CHECKED = "checked, not constrained"
BY_SCHEMA = "constrained by a JSON Schema, and checked"


class Noting(ScriptedBackend):
    """Says something of its own about the answer."""

    async def complete(self, prompt):
        yield Delta(note=Note("constraint", "the server refused the schema"))
        async for delta in super().complete(prompt):
            yield delta


def ask(**fields):
    return Request("m", (Message("user", "Add five."),), **fields)


async def answer(backend, request):
    route = Route(backend, Wrapper.load("chatml", {"opening_brace": "never"}))
    return Completion.fold([delta async for delta in generate(route, request, None)])


@pytest.mark.parametrize(
    ("caps", "text", "fields", "said"),
    [
        (Caps(), CALL, {"tools": (ADD,)}, [CHECKED]),
        (Caps(), '{"n": 5}', {"schema": SCHEMA}, [CHECKED]),
        (Caps(), "Five.", {"tools": (ADD,), "tool_choice": ToolChoice("none")}, []),
        (Caps(), "Five.", {}, []),
        (Caps(schema=True), '{"n": 5}', {"schema": SCHEMA}, [BY_SCHEMA]),
        (Caps(schema=True, grammar=True), '{"n": 5}', {"schema": SCHEMA}, []),
    ],
)
async def test_what_is_weaker_than_a_grammar_is_noted(caps, text, fields, said):
    completion = await answer(ScriptedBackend([text], caps=caps), ask(**fields))
    assert [note.message for note in completion.notes if note.code == "constraint"] == said


async def test_what_the_backend_says_of_its_constraint_stands():
    completion = await answer(Noting(['{"n": 5}'], caps=Caps(schema=True)), ask(schema=SCHEMA))
    assert [note.message for note in completion.notes] == ["the server refused the schema"]


async def test_the_conversation_is_the_hint_for_the_slot():
    backend = ScriptedBackend(["Hi.", "Hi."])
    await answer(backend, ask(conversation="c1"))
    await answer(backend, ask())
    assert [prompt.slot for prompt in backend.prompts] == ["c1", None]
