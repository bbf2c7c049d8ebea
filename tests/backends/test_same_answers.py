"""The same request gets the same answer, whichever server stands behind the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from engines import needs_engine, needs_server
from llama_cpp_python import needs_llama_cpp_python
from wire_servers import SERVERS

from llmgate.config import ModelSettings, Settings
from llmgate.gateway import Gateway
from llmgate.types import Message, Request, Sampling, Tool, ToolChoice

KINDS = [
    pytest.param("embedded", marks=needs_engine),
    pytest.param("llamacpp", marks=needs_server),
    pytest.param("real llama-cpp-python", marks=needs_llama_cpp_python),
    *sorted(name for name, server in SERVERS.items() if not server.chats),
]
ASKED = (Message("user", "What is the capital of France?"),)
GREEDY = Sampling(temperature=0.0, max_tokens=200)
# One call that is right: what can be held to the schema has no choice.
ANSWER = Tool(
    "give_city",
    "Answers the question.",
    {
        "type": "object",
        "properties": {"city": {"enum": ["Paris"]}, "sure": {"const": True}},
        "required": ["city", "sure"],
        "additionalProperties": False,
    },
)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@asynccontextmanager
async def gateway_to(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Gateway]:
    """A gateway with one model `tiny`, on a server of that kind."""
    async with AsyncExitStack() as stack:
        if kind in SERVERS:
            server = await stack.enter_async_context(SERVERS[kind]())
            settings = server.settings(wrapper="chatml")
        elif kind == "real llama-cpp-python":
            url = request.getfixturevalue("llama_cpp_python_server")
            settings = ModelSettings(
                backend="llama-cpp-python", url=url, context=2048, wrapper="chatml"
            )
        elif kind == "llamacpp":
            url = request.getfixturevalue("llama_server")
            settings = ModelSettings(backend="llamacpp", url=url, wrapper="chatml")
        else:
            settings = ModelSettings(threads=1)
        gateway = await stack.enter_async_context(Gateway.open(Settings(models={"tiny": settings})))
        await gateway.start()
        yield gateway


async def test_a_question_is_answered_alike(kind, request):
    async with gateway_to(kind, request) as gateway:
        got = await gateway.complete(Request("tiny", ASKED, sampling=GREEDY))
    assert (got.message.content, got.finish) == ("The capital of France is Paris.", "stop")


async def test_a_forced_call_is_the_same_call(kind, request):
    async with gateway_to(kind, request) as gateway:
        if not (
            gateway.route("tiny").backend.caps.grammar or gateway.route("tiny").backend.caps.schema
        ):
            pytest.skip("it takes no constraints")
        forced = ToolChoice("required", "give_city")
        asked = Request("tiny", ASKED, (ANSWER,), forced, sampling=GREEDY)
        got = await gateway.complete(asked)
    (call,) = got.message.tool_calls
    assert (call.name, call.error, got.finish) == ("give_city", None, "tool_calls")
    assert "".join(call.arguments.split()) == '{"city":"Paris","sure":true}'
