"""Ollama's chat route: calls whole, arguments as objects, lines of JSON."""

from __future__ import annotations

import pytest
from wire_servers.base import Asked, Reply, line
from wire_servers.ollama_chat import OllamaChatServer

from llmgate.backends import open_backend
from llmgate.config import ModelSettings
from llmgate.errors import BackendError, BackendRejected, RequestError, Unsupported
from llmgate.types import (
    Completion,
    Message,
    Prompt,
    Request,
    Sampling,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
)

PARIS = "The capital of France is Paris."
ADD = Tool("add", "Add.", {"type": "object", "properties": {"n": {"type": "integer"}}})
SAY = Tool("say")
OBJECT = {"type": "object", "properties": {"n": {"type": "integer"}}}


def ask(text="What is the capital of France?", **fields):
    return Request("tiny", (Message("user", text),), **fields)


def call(name, arguments):
    return {"function": {"name": name, "arguments": arguments}}


async def answer(backend, request=None):
    deltas = [delta async for delta in backend.chat(request or ask())]
    return Completion.fold(deltas)


def codes(completion):
    return [note.code for note in completion.notes]


async def test_text_thoughts_and_usage():
    server = OllamaChatServer()
    async with server.opened() as backend:
        assert (await answer(backend)).message.content == PARIS
        server.says = [[{"thinking": "Hm."}, {"content": "Yes"}, {"content": "."}]]
        got = await answer(backend)
    assert (got.message.content, got.message.reasoning) == ("Yes.", "Hm.")
    assert (got.finish, got.usage, got.notes) == ("stop", Usage(10, 3), ())


async def test_whole_calls_with_arguments_as_objects():
    server = OllamaChatServer()
    one, two = call("add", {"n": 1}), call("add", {"n": 2})
    async with server.opened() as backend:
        server.says = [[{"tool_calls": [one, two]}, {"tool_calls": [call("say", {})]}]]
        got = await answer(backend, ask(tools=(ADD, SAY)))
    assert [(c.name, c.arguments) for c in got.message.tool_calls] == [
        ("add", '{"n":1}'),
        ("add", '{"n":2}'),
        ("say", "{}"),
    ]


async def test_a_conversation_is_sent_in_its_words():
    server = OllamaChatServer()
    messages = (
        Message("user", "Add one."),
        Message("assistant", None, (ToolCall("a", "add", '{"n": 1}'), ToolCall("b", "say", "x"))),
        Message("tool", "1", tool_call_id="a"),
        Message("tool", "2", name="say"),
    )
    sampling = Sampling(7, 0.5, 0.9, 40, 0.05, 1.1, 0.1, 0.2, 41)
    settings = {"context": 512, "extra": {"keep_alive": "1h", "options": {"num_gpu": 1}}}
    async with server.opened(**settings) as backend:
        await answer(backend, Request("tiny", messages, (ADD,), stop=("x",), sampling=sampling))
    assert server.body == {
        "model": "tiny",
        "messages": [
            {"role": "user", "content": "Add one."},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [call("add", {"n": 1}), call("say", {"value": "x"})],
            },
            {"role": "tool", "content": "1", "tool_name": "add"},
            {"role": "tool", "content": "2", "tool_name": "say"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "add", "description": "Add.", "parameters": ADD.parameters},
            }
        ],
        "options": {
            "num_ctx": 512,
            "num_predict": 7,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 40,
            "min_p": 0.05,
            "repeat_penalty": 1.1,
            "presence_penalty": 0.1,
            "frequency_penalty": 0.2,
            "seed": 41,
            "stop": ["x"],
            "num_gpu": 1,
        },
        "keep_alive": "1h",
        "stream": True,
        "truncate": False,
        "shift": False,
    }


@pytest.mark.parametrize(
    ("choice", "names", "noted"),
    [
        (ToolChoice("none"), [], []),
        (ToolChoice("auto"), ["add", "say"], []),
        (ToolChoice("required"), ["add", "say"], ["ignored_parameter"]),
        (ToolChoice("required", "say"), ["say"], ["ignored_parameter"]),
        (ToolChoice("auto", allowed=("say",)), ["say"], []),
    ],
)
async def test_what_can_be_said_of_the_choice_is_said_by_the_tools(choice, names, noted):
    server = OllamaChatServer()
    async with server.opened() as backend:
        got = await answer(backend, ask(tools=(ADD, SAY), tool_choice=choice))
    sent = [tool["function"]["name"] for tool in server.body.get("tools", ())]
    assert (sent, codes(got)) == (names, noted)


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"schema": OBJECT}, OBJECT),
        ({"schema": {"type": "object"}}, "json"),
        ({"schema": OBJECT, "tools": (ADD,)}, None),
        ({"schema": OBJECT, "tools": (ADD,), "tool_choice": ToolChoice("none")}, OBJECT),
        ({}, None),
    ],
)
async def test_the_schema_of_the_answer(fields, sent):
    server = OllamaChatServer()
    async with server.opened() as backend:
        await answer(backend, ask(**fields))
    assert server.body.get("format") == sent


async def test_it_is_asked_with_messages_only_and_holds_nothing():
    server = OllamaChatServer()
    async with server.opened() as backend:
        assert backend.caps.chat
        assert (backend.caps.schema, backend.caps.grammar) == (False, False)
        with pytest.raises(Unsupported, match="messages"):
            [delta async for delta in backend.complete(Prompt("hi"))]
        assert await backend.models() == ("tiny:latest",)
        assert await backend.health() is None


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([line({"message": {"content": "half"}, "done": False})], "in the middle"),
        ([line({"message": {"content": "half"}}), line({"error": "CUDA"})], "CUDA"),
        ([line({"done": True, "done_reason": "load"})], "loaded"),
        ([line({"message": {"content": ""}, "done": True})], "before it began"),
        ([], "in the middle"),
    ],
)
async def test_answers_that_are_none(frames, said):
    server = OllamaChatServer()
    async with server.opened() as backend:

        def fault(asked: Asked, reply: Reply) -> Reply:
            reply.frames = frames
            return reply

        server.fault = fault
        with pytest.raises(BackendError, match=said):
            await answer(backend)


async def test_refusals():
    server = OllamaChatServer()
    async with server.opened() as backend:
        message = '"tiny" does not support tools'
        server.fault = lambda asked, reply: server.error(400, message)
        with pytest.raises(RequestError, match="does not support tools"):
            await answer(backend, ask(tools=(ADD,)))
    async with server.opened(model="other") as backend:
        server.fault = None
        with pytest.raises(BackendRejected, match="ollama pull other"):
            await answer(backend)


async def test_a_version_that_cuts_is_noted_with_long_conversations():
    server = OllamaChatServer()
    server.version = "0.12.0"
    async with server.opened() as backend:
        assert codes(await answer(backend)) == []
        assert codes(await answer(backend, ask("capital of France? " * 200))) == ["estimated"]


def test_its_usual_address_is_known():
    backend = open_backend("tiny", ModelSettings(backend="ollama-chat"))
    assert backend.server.url == "http://127.0.0.1:11434"
