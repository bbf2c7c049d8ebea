"""Calls inside of the names of calls, however deep: each of them is looked at once."""

from __future__ import annotations

import pytest

from llmgate.errors import OutputError
from llmgate.gateway.checks import Checks
from llmgate.gateway.native import Native
from llmgate.types import Caps, Delta, Message, Request, Tool, ToolChoice
from llmgate.wrappers import Wrapper

TOOL = Tool("f", parameters={"type": "object", "properties": {"a": {"type": "string"}}})
REQUEST = Request("m", (Message("user", "x"),), tools=(TOOL,), tool_choice=ToolChoice("required"))


@pytest.mark.parametrize("key", ["name", "function", "tool_name"])
@pytest.mark.parametrize("ending", ["1", '"f"', '{"a": "b"}'])
@pytest.mark.parametrize("depth", [60, 600])
def test_nested_names_are_refused_by_checks_at_once(key, ending, depth):
    checks = Checks(Native().task(REQUEST))
    text = f'{{"{key}": ' * depth + ending + "}" * depth
    try:
        found = [*checks.feed(Delta(text=text)), *checks.feed(Delta(finish="stop"))]
        found += checks.end()
    except OutputError:
        return
    assert [delta.call.name for delta in found if delta.call and delta.call.name] == ["f"]


@pytest.mark.parametrize("name", ["chatml", "dolphin"])
@pytest.mark.parametrize("depth", [60, 600])
async def test_nested_names_are_refused_by_wrappers_at_once(name, depth):
    async def deltas():
        yield Delta(text='{"function": ' * depth + "1" + "}" * depth)
        yield Delta(finish="stop")

    wrapper = Wrapper.load(name, {})
    prompt = wrapper.render(REQUEST, Caps())
    with pytest.raises(OutputError):
        [delta async for delta in wrapper.parse(deltas(), REQUEST, prompt)]
