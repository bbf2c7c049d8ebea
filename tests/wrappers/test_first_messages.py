"""First messages with the functions in them are kept: each request still gets its own."""

from __future__ import annotations

from llmgate.types import Caps, Message, Request, Tool
from llmgate.wrappers import Wrapper
from llmgate.wrappers.conversation import _HEADS


def prompt(wrapper: Wrapper, system: str, tool: str, name: str | None = None) -> str:
    messages = (Message("system", system, name=name), Message("user", "hi"))
    tools = (Tool(tool, "Does it.", {"type": "object", "properties": {}}),)
    return wrapper.render(Request("m", messages, tools=tools), Caps()).text


def test_the_same_first_message_comes_with_the_functions_of_each_request():
    kept = Wrapper.load("chatml")
    asked = [("Be brief.", "one"), ("Be brief.", "two"), ("Be kind.", "one")]
    for _ in range(2):
        for system, tool in asked:
            assert prompt(kept, system, tool) == prompt(Wrapper.load("chatml"), system, tool)
    assert len({prompt(kept, *each) for each in asked}) == len(asked)
    assert prompt(kept, "Be brief.", "one", "ann") == prompt(
        Wrapper.load("chatml"), "Be brief.", "one", "ann"
    )


def test_many_first_messages_are_forgotten_again():
    kept = Wrapper.load("chatml")
    for number in range(3 * _HEADS):
        assert f"Number {number}." in prompt(kept, f"Number {number}.", "one")
    assert len(kept._writer._views._headed) <= _HEADS
    assert prompt(kept, "Number 0.", "one") == prompt(Wrapper.load("chatml"), "Number 0.", "one")
