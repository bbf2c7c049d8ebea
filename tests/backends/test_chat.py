"""Backends that are asked with messages, over made-up servers that speak their wire formats."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import httpx
import pytest
from wire_servers.base import Asked, Reply, document, event
from wire_servers.chat import (
    USAGE,
    AzureServer,
    ChatServer,
    LMStudioServer,
    OpenAIServer,
    calls,
    chunk,
    piece,
    words,
)

from llmgate.backends import open_backend
from llmgate.backends.chat import resource
from llmgate.config import ModelSettings, Timeouts
from llmgate.errors import (
    BackendBusy,
    BackendError,
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    ConfigError,
    ContentFiltered,
    ContextOverflow,
    RequestError,
    Unsupported,
)
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

KINDS = [ChatServer, OpenAIServer, AzureServer, LMStudioServer]
PARIS = "The capital of France is Paris."
ADD = Tool("add", "Add.", {"type": "object", "properties": {"n": {"type": "integer"}}})
SAY = Tool("say")
OBJECT = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
every = pytest.mark.parametrize("kind", KINDS)


def ask(text="What is the capital of France?", **fields):
    return Request("tiny", (Message("user", text),), **fields)


async def answer(backend, request=None):
    deltas = [delta async for delta in backend.chat(request or ask())]
    return Completion.fold(deltas)


def codes(completion):
    return [(note.code, note.message.split()[0]) for note in completion.notes]


@every
async def test_text_and_usage(kind):
    server = kind()
    async with server.opened() as backend:
        got = await answer(backend)
    assert got.message.content == PARIS
    assert (got.finish, got.usage, got.notes) == ("stop", Usage(10, 3), ())
    assert backend.caps.chat


@every
async def test_text_comes_as_soon_as_it_is_sent(kind):
    server, seen = kind(), asyncio.Event()
    async with server.opened() as backend:

        async def frames():
            yield chunk({"content": "a "})
            await seen.wait()
            yield chunk({"content": "b"})
            yield chunk({}, "stop")

        def fault(asked: Asked, reply: Reply) -> Reply:
            reply.frames = frames()
            return reply

        server.fault = fault
        async with aclosing(backend.chat(ask())) as deltas:
            assert (await anext(deltas)).text == "a "
            seen.set()
            assert (await anext(deltas)).text == "b"
            assert (await anext(deltas)).finish == "stop"


@every
async def test_calls_and_thoughts(kind):
    server = kind()
    async with server.opened() as backend:
        server.says = [
            calls(
                {"reasoning": "Hm."},
                piece(0, id="a", name="add", arguments=""),
                piece(0, arguments='{"n": '),
                piece(0, arguments="1}"),
                piece(1, id="b", name="say", arguments="{}"),
            )
        ]
        got = await answer(backend, ask(tools=(ADD, SAY)))
    assert got.message.reasoning == "Hm."
    assert got.message.tool_calls == (ToolCall("a", "add", '{"n": 1}'), ToolCall("b", "say", "{}"))
    assert got.finish == "tool_calls"


@every
async def test_a_stop_string_ends_the_answer_whether_or_not_the_server_knows_it(kind):
    server = kind()
    async with server.opened() as backend:
        server.says = [words("The capital", " of Fra", "nce.")]
        got = await answer(backend, ask(stop=("x1", "x2", "x3", "x4", "of France")))
    assert (got.message.content, got.finish) == ("The capital ", "stop")


async def test_a_conversation_is_sent_as_messages():
    server = OpenAIServer()
    messages = (
        Message("system", "Be kind."),
        Message("user", "Add one.", name="ann"),
        Message("assistant", None, (ToolCall("a", "add", '{"n":1}'),), reasoning="Hm."),
        Message("tool", "1", tool_call_id="a", name="add"),
        Message("assistant", None),
    )
    async with server.opened(extra={"reasoning_effort": "low"}) as backend:
        await answer(backend, Request("tiny", messages, (ADD,), parallel=False))
    call = {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"n":1}'}}
    assert server.body == {
        "model": "gpt-5-mini",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Add one.", "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "1", "tool_call_id": "a"},
            {"role": "assistant", "content": ""},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "add", "description": "Add.", "parameters": ADD.parameters},
            }
        ],
        "parallel_tool_calls": False,
        "stream": True,
        "stream_options": {"include_usage": True},
        "reasoning_effort": "low",
    }


SAMPLING = Sampling(7, 0.5, 0.9, 40, 0.05, 1.1, 0.1, 0.2, 41)
COMMON = {
    "temperature": 0.5,
    "top_p": 0.9,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "seed": 41,
}
LOCAL = {"max_tokens": 7, "top_k": 40, "min_p": 0.05, "repeat_penalty": 1.1}


@pytest.mark.parametrize(
    ("kind", "sent", "unsaid"),
    [
        (ChatServer, {**LOCAL, "repetition_penalty": 1.1}, []),
        (LMStudioServer, LOCAL, []),
        (OpenAIServer, {"max_completion_tokens": 7}, ["top_k", "min_p", "repeat_penalty"]),
        (AzureServer, {"max_completion_tokens": 7}, ["top_k", "min_p", "repeat_penalty"]),
    ],
)
async def test_sampling_in_the_words_of_each(kind, sent, unsaid):
    server = kind()
    async with server.opened() as backend:
        got = await answer(backend, ask(sampling=SAMPLING))
    others = {"model", "messages", "stream", "stream_options"}
    assert {k: v for k, v in server.body.items() if k not in others} == {**COMMON, **sent}
    assert codes(got) == [("ignored_parameter", field) for field in unsaid]


@pytest.mark.parametrize(
    ("kind", "choice", "sent", "tools"),
    [
        (ChatServer, ToolChoice("none"), "none", 2),
        (ChatServer, ToolChoice("required"), "required", 2),
        (
            OpenAIServer,
            ToolChoice("required", "say"),
            {"type": "function", "function": {"name": "say"}},
            2,
        ),
        (LMStudioServer, ToolChoice("required", "say"), "required", 1),
        (LMStudioServer, ToolChoice("auto"), None, 2),
        (
            OpenAIServer,
            ToolChoice("auto", allowed=("say",)),
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "say"}}],
                },
            },
            2,
        ),
        (
            ChatServer,
            ToolChoice("required", allowed=("say",)),
            {"type": "function", "function": {"name": "say"}},
            2,
        ),
        (ChatServer, ToolChoice("required", allowed=("add", "say")), "required", 2),
        (ChatServer, ToolChoice("auto", allowed=("say",)), None, 1),
        (LMStudioServer, ToolChoice("required", allowed=("say",)), "required", 1),
    ],
)
async def test_the_choice_of_tools(kind, choice, sent, tools):
    server = kind()
    async with server.opened() as backend:
        await answer(backend, ask(tools=(ADD, SAY), tool_choice=choice))
    assert server.body.get("tool_choice") == sent
    assert len(server.body["tools"]) == tools
    assert server.body["tools"][-1]["function"]["name"] == "say"


@every
async def test_a_schema_goes_along(kind):
    server = kind()
    async with server.opened() as backend:
        await answer(backend, ask(schema=OBJECT))
    form = server.body["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["schema"]["properties"] == OBJECT["properties"]
    told = server.body["messages"][0]["content"]
    assert ("matches this schema" in told) == (kind in (ChatServer, LMStudioServer))


@every
async def test_any_object_is_asked_for_in_the_servers_way(kind):
    server = kind()
    async with server.opened() as backend:
        await answer(backend, ask(schema={"type": "object"}))
    wanted = "json_schema" if kind is LMStudioServer else "json_object"
    assert server.body["response_format"]["type"] == wanted
    assert "JSON" in server.body["messages"][0]["content"]


LONG = "x" * 100


@every
async def test_any_name_of_a_function_can_be_called(kind):
    server = kind()
    names = ["files.read", "files_read", "files/read", LONG, LONG + "2"]
    old = (Message("assistant", None, (ToolCall("a", "files/read", "{}"),)), Message("tool", "1"))
    request = Request(
        "tiny",
        (Message("user", "Read."), *old),
        tuple(Tool(name) for name in names),
        ToolChoice("required", "files.read"),
    )
    async with server.opened() as backend:
        await answer(backend, request)
        there = [tool["function"]["name"] for tool in server.body["tools"]]
        assert len(set(there)) == len(there)
        server.says = [calls(*(piece(i, name=n, arguments="{}") for i, n in enumerate(there)))]
        got = await answer(backend, request)
    sent = names[:1] if kind is LMStudioServer else names
    assert [call.name for call in got.message.tool_calls] == sent


async def test_the_names_of_allowed_functions_are_made_plain_too():
    server = OpenAIServer()
    tools = (Tool("files.read"), Tool("files.write"), Tool("say"))
    choice = ToolChoice("required", allowed=("files.read", "say"))
    async with server.opened() as backend:
        await answer(backend, ask(tools=tools, tool_choice=choice))
    sent = server.body["tool_choice"]["allowed_tools"]["tools"]
    assert [tool["function"]["name"] for tool in sent] == ["files_read", "say"]


async def test_what_is_beyond_the_strict_subset_is_a_hint():
    server = OpenAIServer()
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    async with server.opened() as backend:
        await answer(backend, ask(schema=schema))
    form = server.body["response_format"]["json_schema"]
    assert (form["strict"], form["schema"]) == (False, schema)


async def test_no_schema_is_sent_if_the_settings_say_so():
    server = ChatServer()
    async with server.opened(constraint="none") as backend:
        await answer(backend, ask(schema=OBJECT))
    assert "response_format" not in server.body


async def test_a_strict_tool_is_sent_in_the_subset_where_there_is_one():
    strict = Tool("add", "", {**ADD.parameters, "description": "x"}, strict=True)
    for kind, held in ((OpenAIServer, True), (ChatServer, None)):
        server = kind()
        async with server.opened() as backend:
            await answer(backend, ask(tools=(strict,)))
        assert server.body["tools"][0]["function"].get("strict") is held


async def test_a_model_that_thinks_teaches_what_it_refuses_once():
    server = OpenAIServer()
    server.reasons = True
    asked = ask(sampling=Sampling(max_tokens=9, temperature=0.2, presence_penalty=0.5), stop=("x",))
    async with server.opened() as backend:
        first = await answer(backend, asked)
        before = len(server.requests)
        second = await answer(backend, asked)
        assert len(server.requests) == before + 1
    assert first.message.content == second.message.content == PARIS
    expected = [("ignored_parameter", "temperature"), ("ignored_parameter", "presence_penalty")]
    assert codes(first) == codes(second) == expected
    assert server.body["max_completion_tokens"] == 9


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
async def test_the_limit_goes_by_the_name_that_the_server_knows(limit):
    server = OpenAIServer() if limit == "max_tokens" else ChatServer()
    known = server.refuses

    def refuses(body):
        if limit not in body and ("max_tokens" in body or "max_completion_tokens" in body):
            wrong = "max_tokens" if "max_tokens" in body else "max_completion_tokens"
            return f"Unrecognized request argument supplied: {wrong}", {}
        return known(body)

    server.refuses = refuses
    async with server.opened() as backend:
        got = await answer(backend, ask(sampling=Sampling(max_tokens=9)))
    assert server.body[limit] == 9
    assert got.notes == ()


async def test_a_value_that_is_out_of_range_is_the_clients_fault_and_teaches_nothing():
    server = ChatServer()
    server.refuses = lambda body: (
        ("Invalid value: 'temperature' must be at most 2.", {"param": "temperature"})
        if body.get("temperature", 0) > 2
        else None
    )
    async with server.opened() as backend:
        with pytest.raises(RequestError, match="at most 2") as caught:
            await answer(backend, ask(sampling=Sampling(temperature=3.0)))
        assert (caught.value.status, caught.value.param) == (400, "temperature")
        assert (await answer(backend, ask(sampling=Sampling(temperature=1.0)))).notes == ()
    assert server.body["temperature"] == 1.0


async def test_a_schema_that_is_refused_is_checked_and_no_others():
    server = ChatServer()
    server.refuses = lambda body: (
        ("Invalid schema for response_format 'answer': 'x' is not permitted", {})
        if "x" in str(body.get("response_format"))
        else None
    )
    async with server.opened() as backend:
        got = await answer(backend, ask(schema={**OBJECT, "x": 1}))
        assert codes(got) == [("ignored_parameter", "response_format")]
        assert (await answer(backend, ask(schema=OBJECT))).notes == ()
    assert "response_format" in server.body


async def test_several_requests_at_once_learn_the_same():
    server = OpenAIServer()
    server.reasons = True
    asked = ask(sampling=Sampling(temperature=0.2, top_p=0.5))
    async with server.opened() as backend:
        for got in await asyncio.gather(*(answer(backend, asked) for _ in range(5))):
            assert {field for _, field in codes(got)} == {"temperature", "top_p"}


@every
async def test_a_server_that_does_not_stream_is_read_all_the_same(kind):
    server = kind()
    function = {"name": "add", "arguments": '{"n": 1}'}
    call = {"id": "a", "type": "function", "function": function}
    message = {"role": "assistant", "content": "Well.", "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}

    def fault(asked: Asked, reply: Reply) -> Reply:
        return document({"object": "chat.completion", "choices": [choice], "usage": USAGE})

    async with server.opened() as backend:
        server.fault = fault
        got = await answer(backend, ask(tools=(ADD,)))
    assert (got.message.content, got.usage) == ("Well.", Usage(10, 3))
    assert got.message.tool_calls == (ToolCall("a", "add", '{"n": 1}'),)


async def test_a_server_that_refuses_to_stream_tools_is_asked_without():
    server = ChatServer()
    server.refuses = lambda body: (
        ("Cannot use tools with stream", {}) if body.get("stream") else None
    )
    async with server.opened() as backend:
        assert (await answer(backend, ask(tools=(ADD,)))).notes == ()
    assert "stream_options" not in server.body


async def test_a_server_that_refuses_everything_is_not_asked_forever():
    server = ChatServer()
    server.refuses = lambda body: ("unknown field 'messages'", {"param": "messages"})
    async with server.opened() as backend:
        with pytest.raises(RequestError, match="unknown field"):
            await answer(backend, ask(sampling=SAMPLING))
    assert len([path for path in server.paths() if path.endswith("completions")]) == 1


async def test_the_only_model_of_a_server_is_the_one_that_is_asked():
    server = ChatServer()
    server.names = ["org/big-model"]
    async with server.opened() as backend:
        await answer(backend)
        assert await backend.models() == ("org/big-model",)
        assert await backend.health() is None
    assert server.body["model"] == "org/big-model"
    server = ChatServer()
    server.names = ["org/big-model", "tiny"]
    async with server.opened() as backend:
        await answer(backend)
    assert server.body["model"] == "tiny"


@pytest.mark.parametrize(
    ("told", "settings", "context"),
    [
        ({"max_model_len": 4096}, {}, 4096),
        ({"meta": {"n_ctx": 2048, "n_ctx_train": 8192}}, {}, 2048),
        ({"max_model_len": 4096}, {"context": 1024}, 1024),
        ({"meta": None, "max_model_len": "x"}, {}, None),
    ],
)
async def test_the_context_that_the_server_tells(told, settings, context):
    server = ChatServer()
    server.told = told
    async with server.opened(**settings) as backend:
        assert backend.caps.context == context


@every
async def test_it_completes_no_prompts(kind):
    server = kind()
    async with server.opened() as backend:
        with pytest.raises(Unsupported, match="messages"):
            [delta async for delta in backend.complete(Prompt("hi"))]


@every
async def test_an_answer_without_its_end_is_no_answer(kind):
    server = kind()
    async with server.opened() as backend:
        for done in (True, False):
            server.done = done
            server.says = [words("half", finish=None)]
            with pytest.raises(BackendError, match="in the middle"):
                await answer(backend)
        server.done = True
        server.says = [([], None)]
        with pytest.raises(BackendError):
            await answer(backend)


@every
async def test_an_error_in_the_middle_is_raised_though_the_end_mark_follows(kind):
    server = kind()
    async with server.opened() as backend:

        def fault(asked: Asked, reply: Reply) -> Reply:
            reply.frames = [chunk({"content": "half"}), server.broken("CUDA"), event("[DONE]")]
            return reply

        server.fault = fault
        with pytest.raises(BackendError, match="CUDA"):
            await answer(backend)


@every
async def test_an_error_behind_the_end_takes_nothing_back(kind):
    server = kind()
    async with server.opened() as backend:

        def fault(asked: Asked, reply: Reply) -> Reply:
            reply.frames = [chunk({"content": "all"}), chunk({}, "stop"), server.broken("CUDA")]
            return reply

        server.fault = fault
        assert (await answer(backend)).message.content == "all"


@every
async def test_nothing_at_all_is_no_answer(kind):
    server = kind()
    async with server.opened() as backend:

        def fault(asked: Asked, reply: Reply) -> Reply:
            reply.frames = [chunk({"role": "assistant"}), chunk({}, "stop"), event("[DONE]")]
            return reply

        server.fault = fault
        with pytest.raises(BackendError, match="before it began"):
            await answer(backend)


@every
async def test_leaving_closes_the_connection(kind):
    server = kind()
    async with server.opened() as backend:

        async def frames():
            while True:
                yield chunk({"content": "tic "})
                await asyncio.sleep(0.01)

        def fault(asked: Asked, reply: Reply) -> Reply:
            reply.frames = frames()
            return reply

        server.fault = fault
        async with aclosing(backend.chat(ask())) as deltas:
            assert (await anext(deltas)).text == "tic "
        await asyncio.wait_for(server.left.wait(), 5)


async def test_a_server_that_says_nothing_more_is_too_slow():
    server = ChatServer()
    quick = Timeouts(between_tokens=0.2, first_token=5)
    async with server.opened(timeouts=quick) as backend:

        def fault(asked: Asked, reply: Reply) -> Reply:
            reply.frames, reply.end = [chunk({"content": "half"})], "silence"
            return reply

        server.fault = fault
        with pytest.raises(BackendTimeout):
            await answer(backend)


@every
async def test_vectors_of_texts(kind):
    server = kind()
    for old in [{}, {"api_version": "2024-10-21"}] if kind is AzureServer else [{}]:
        async with server.opened(**old) as backend:
            made = await backend.embed(["one", "three"])
        assert made.vectors == ((3.0, 0.5), (5.0, 0.5))


def failing(status, message="no", headers=(), **more):
    """What the server answers instead."""

    def fault(server):
        def changed(asked: Asked, reply: Reply) -> Reply:
            made = OpenAIServer.error(OpenAIServer(), status, message, **more)
            made.headers |= dict(headers)
            return made

        return changed

    return fault


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (failing(401, code="invalid_api_key"), BackendRejected, "api_key"),
        (failing(403, "country"), BackendRejected, "api_key"),
        (failing(404, code="model_not_found"), BackendRejected, "`model`"),
        (failing(429, "slow down"), BackendBusy, "slow down"),
        (failing(429, "pay", code="insufficient_quota"), BackendRejected, "nothing left to spend"),
        (failing(400, "long", code="context_length_exceeded"), ContextOverflow, "long"),
        (failing(400, "This model's maximum context length is 8"), ContextOverflow, "is 8"),
        (failing(400, "violence", code="content_filter"), ContentFiltered, "violence"),
        (failing(400, "bad schema", param="tools"), RequestError, "bad schema"),
        (failing(422, "bad"), RequestError, "bad"),
        (failing(500, "oops"), BackendError, "oops"),
        (failing(503, "overloaded"), BackendUnreachable, "overloaded"),
    ],
)
@every
async def test_every_refusal_has_its_error(kind, fault, error, said):
    server = kind()
    async with server.opened() as backend:
        server.fault = fault(server)
        with pytest.raises(error, match=said) as caught:
            await answer(backend)
    assert caught.type is error


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, 1),
        ({}, 1),
    ],
)
async def test_when_to_come_back_is_told(headers, seconds):
    server = OpenAIServer()
    async with server.opened() as backend:
        server.fault = failing(429, headers=headers.items())(server)
        with pytest.raises(BackendBusy) as caught:
            await answer(backend)
    assert caught.value.retry_after == seconds


async def test_a_wrong_key_is_named():
    server = OpenAIServer()
    async with server.opened(api_key="sk-wrong") as backend:
        with pytest.raises(BackendRejected, match="`api_key`"):
            await answer(backend)
        with pytest.raises(BackendRejected, match="`api_key`"):
            await backend.health()


def test_openai_needs_a_key_and_no_address():
    with pytest.raises(ConfigError, match="`api_key`"):
        open_backend("m", ModelSettings(backend="openai"))
    backend = open_backend("m", ModelSettings(backend="openai", api_key="sk-x"))
    assert backend.server.url == "https://api.openai.com"
    with pytest.raises(ConfigError, match="`api_key`"):
        open_backend("m", ModelSettings(backend="openai", api_key="sk-\n"))
    with pytest.raises(ConfigError, match="`url`"):
        open_backend("m", ModelSettings(backend="azure", api_key="x"))


BASE = "https://name.openai.azure.com"
V1 = "/openai/v1/chat/completions"
OLD = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"url": BASE}, BASE + V1),
        ({"url": f"{BASE}/openai/v1/"}, BASE + V1),
        ({"url": f"{BASE}{V1}"}, BASE + V1),
        ({"url": "name.openai.azure.com"}, BASE + V1),
        ({"url": BASE, "api_version": "2024-10-21"}, BASE + OLD.format("gpt")),
        ({"url": BASE + OLD.format("mine")}, BASE + OLD.format("mine")),
        ({"url": BASE + OLD.format("mine"), "model": "other"}, BASE + OLD.format("other")),
        (
            {"url": "https://proxy.example.org/azure/openai/v1"},
            "https://proxy.example.org/azure" + V1,
        ),
    ],
)
async def test_both_kinds_of_azure_addresses(settings, url):
    asked = []

    def respond(request):
        asked.append((str(request.url), request.headers.get("api-key")))
        return httpx.Response(500, json={"error": {"message": "no"}})

    from llmgate.backends.chat import AzureBackend

    made = ModelSettings(backend="azure", api_key="k", **settings)
    backend = AzureBackend("gpt", made, transport=httpx.MockTransport(respond))
    with pytest.raises(BackendError):
        await answer(backend)
    assert asked == [(url, "k")]


async def test_an_old_azure_address_is_asked_with_its_version():
    server = AzureServer()
    async with server.opened(api_version="2024-10-21") as backend:
        assert (await answer(backend)).message.content == PARIS
        assert await backend.models() == ("gpt-5-mini", "gpt-4o-mini")
    assert [(a.path, a.query) for a in server.requests] == [
        (AzureServer.answers[1], "api-version=2024-10-21"),
        ("/openai/models", "api-version=2024-10-21"),
    ]


def test_what_the_settings_say_goes_before_the_address():
    told = ModelSettings(url=BASE + OLD.format("mine"), api_version="v", model="m")
    assert (resource(told).api_version, resource(told).model) == ("v", "m")
