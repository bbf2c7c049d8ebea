"""The endpoint over a scripted model: answers, streams, refusals, and clients that leave."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from llmgate.backends.scripted import ScriptedBackend
from llmgate.config import ServerSettings
from llmgate.errors import BackendBusy, BackendError, BackendUnreachable, ConfigError
from llmgate.gateway import Gateway, Route
from llmgate.server import responses
from llmgate.server.app import build
from llmgate.server.guard import check_exposure
from llmgate.types import Caps
from llmgate.wrappers import Template, Wrapper

HELLO = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
        },
    },
}
OPEN = ServerSettings()
CALL = '{"function": "add", "params": {"n": 5}}'


def client_of(*answers, settings=OPEN, grammar=True, base="http://127.0.0.1:8484"):
    backend = ScriptedBackend(
        answers[0] if answers and callable(answers[0]) else list(answers),
        caps=Caps(grammar=grammar),
    )
    app = build(Gateway({"m": Route(backend, Wrapper.load("chatml"))}), settings)
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url=base
    )
    return client, backend


def events(text):
    return [event.removeprefix("data: ") for event in text.split("\n\n") if event]


async def post(client, **fields):
    async with client:
        return await client.post("/v1/chat/completions", json={**HELLO, **fields})


async def test_a_plain_answer():
    answer = await post(client_of("Hello there.")[0])
    assert answer.status_code == 200
    body = answer.json()
    assert body["choices"][0]["message"]["content"] == "Hello there."
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["completion_tokens"] == 2
    assert answer.headers["x-request-id"].startswith("req_")
    assert "x-llmgate-notes" not in answer.headers


async def test_a_stream():
    answer = await post(client_of(["Hello ", "there."])[0], stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *chunks, done = events(answer.text)
    assert done == "[DONE]"
    contents = [json.loads(c)["choices"][0]["delta"].get("content") for c in chunks]
    assert "".join(c or "" for c in contents) == "Hello there."


async def test_notes_stand_in_the_body_and_in_a_header():
    answer = await post(client_of("ok")[0], logprobs=True)
    assert answer.json()["llmgate"]["notes"][0]["code"] == "ignored_parameter"
    assert json.loads(answer.headers["x-llmgate-notes"])[0]["code"] == "ignored_parameter"


async def test_models_and_health():
    client, _ = client_of()
    async with client:
        listed = (await client.get("/v1/models")).json()
        assert [entry["id"] for entry in listed["data"]] == ["m"]
        assert (await client.get("/v1/models/m")).json() == listed["data"][0]
        missing = await client.get("/v1/models/org/other:7b")
        assert missing.status_code == 404
        assert missing.json()["error"]["code"] == "model_not_found"
        health = (await client.get("/health")).json()
        assert health == {"status": "ok", "models": ["m"], "down": []}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (BackendUnreachable("gone"), 503, "backend_unreachable"),
        (BackendError("odd"), 502, "backend_error"),
        (BackendBusy("full", retry_after=3), 429, "rate_limit_exceeded"),
    ],
)
async def test_a_failing_backend_is_answered_by_its_status(stream, failure, status, code):
    answer = await post(client_of(failure)[0], stream=stream)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert answer.headers.get("retry-after") == ("3" if status == 429 else None)


async def test_a_backend_that_fails_in_a_stream_ends_it_with_an_error_and_without_done():
    answer = await post(client_of(["Hel", BackendError("odd")])[0], stream=True)
    assert answer.status_code == 200
    *_, last = events(answer.text)
    assert json.loads(last)["error"]["message"] == "odd"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unusable_answer_is_a_422(stream):
    client, _ = client_of("no call", "again none")
    answer = await post(client, stream=stream, tools=[TOOL], tool_choice="required")
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "invalid_model_output"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_model_is_a_404_that_names_the_known_ones(stream):
    answer = await post(client_of()[0], model="gpt-4", stream=stream)
    assert answer.status_code == 404
    assert "Known: m" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "object", "properties": {"n": {"type": "nonsense"}}}, "tools[0]"),
        ({"type": "object", "properties": []}, "tools[0]"),
        ({"type": "object", "properties": {"n": {"$ref": "#/nowhere"}}}, "tools[0]"),
    ],
)
async def test_a_tool_schema_that_is_no_schema_is_a_400(tool, param):
    broken = {"type": "function", "function": {"name": "f", "parameters": tool}}
    answer = await post(client_of("x")[0], tools=[broken])
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert (answer.json()["error"]["param"] or "tools[0]").startswith(param)


@pytest.mark.parametrize(
    "grammar",
    ["root ::= (", "root ::= other", "root ::= root [a]", "a ::= [b]", 'root ::= "x'],
)
async def test_a_bad_grammar_is_a_400(grammar):
    answer = await post(client_of("x")[0], grammar=grammar)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_grammar"


async def test_a_body_that_is_no_json_is_a_400():
    client, _ = client_of("x")
    async with client:
        answer = await client.post("/v1/chat/completions", content=b"{nope")
    assert answer.status_code == 400
    assert "not valid JSON" in answer.json()["error"]["message"]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_a_413(announced):
    client, _ = client_of("x", settings=ServerSettings(max_body=1000))

    async def pieces():
        for _ in range(10):
            yield b"x" * 500

    async with client:
        content = b"x" * 5000 if announced else pieces()
        answer = await client.post("/v1/chat/completions", content=content)
    assert answer.status_code == 413
    assert "max_body" in answer.json()["error"]["message"]


async def test_what_is_not_there_is_a_404_and_the_wrong_method_a_405():
    client, _ = client_of()
    async with client:
        missing = await client.get("/v1/nothing")
        wrong = await client.get("/v1/chat/completions")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert missing.json()["error"]["code"] == "not_found"


async def test_a_template_that_raises_is_a_clear_error():
    source = "{#- +++\nstop = []\n+++ -#}\n{{ messages[99].role }}"
    backend = ScriptedBackend(["x"])
    app = build(
        Gateway({"m": Route(backend, Wrapper(Template("broken", source)))}), ServerSettings()
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url="http://localhost")
    answer = await post(client)
    assert answer.status_code == 500
    assert "the template 'broken' failed" in answer.json()["error"]["message"]


async def test_a_template_that_refuses_the_conversation_is_a_400():
    source = "{#- +++\nstop = []\n+++ -#}\n{{ raise_exception('roles must alternate') }}"
    app = build(
        Gateway({"m": Route(ScriptedBackend(["x"]), Wrapper(Template("w", source)))}),
        ServerSettings(),
    )
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
    answer = await post(client)
    assert answer.status_code == 400
    assert "roles must alternate" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "evil.example:8484"}, 403),
        ({"host": "localhost:8484"}, 200),
        ({"host": "[::1]:8484"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:3000"}, 200),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"origin": "https://app.example"}, 200),
        ({"host": "gate.lan"}, 200),
    ],
)
async def test_a_web_page_elsewhere_cannot_drive_it(headers, status):
    settings = ServerSettings(origins=("https://app.example",), hosts=("gate.lan",))
    client, backend = client_of("ok", settings=settings)
    async with client:
        answer = await client.post("/v1/chat/completions", json=HELLO, headers=headers)
    assert answer.status_code == status
    assert len(backend.prompts) == (1 if status == 200 else 0)


async def test_a_preflight_of_a_page_elsewhere_is_not_granted():
    client, _ = client_of()
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    async with client:
        answer = await client.options("/v1/chat/completions", headers=headers)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Bearer secret"}, 200),
        ({"authorization": "bearer secret"}, 200),
        ({"x-api-key": "secret"}, 200),
        ({"authorization": "Basic secret"}, 401),
    ],
)
async def test_the_api_key(headers, status):
    settings = ServerSettings(host="0.0.0.0", api_key="secret")
    client, _ = client_of("ok", settings=settings, base="http://gate.example")
    async with client:
        answer = await client.post("/v1/chat/completions", json=HELLO, headers=headers)
        health = await client.get("/health")
    assert answer.status_code == status
    assert health.status_code == 200


def test_other_machines_are_not_served_without_a_key():
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.org"):
        with pytest.raises(ConfigError, match="LLMGATE_API_KEY"):
            check_exposure(ServerSettings(host=host))
        check_exposure(ServerSettings(host=host, api_key="k"))
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        check_exposure(ServerSettings(host=host))


class Connection:
    """One request on the ASGI interface, whose client can leave."""

    def __init__(self, app, body):
        self.sent = []
        self.left = asyncio.Event()
        self._body = json.dumps(body).encode()
        self._read = False
        headers = [(b"host", b"127.0.0.1")]
        self.scope = {
            "type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"",
            "headers": headers, "http_version": "1.1", "scheme": "http", "root_path": "",
            "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2), "asgi": {"version": "3.0"},
        }  # fmt: skip
        self.task = asyncio.create_task(app(self.scope, self._receive, self._send))

    async def _receive(self):
        if not self._read:
            self._read = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self.sent.append(message)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_stops_the_generation(stream):
    reached, stopped = asyncio.Event(), asyncio.Event()

    class Endless(ScriptedBackend):
        async def complete(self, prompt):
            try:
                while True:
                    yield Delta(text="word ")
                    reached.set()
                    await asyncio.sleep(0)
            finally:
                stopped.set()

    from llmgate.types import Delta

    app = build(Gateway({"m": Route(Endless(), Wrapper.load("chatml"))}), ServerSettings())
    connection = Connection(app, {**HELLO, "stream": stream})
    await asyncio.wait_for(reached.wait(), 5)
    assert not stopped.is_set()
    connection.left.set()
    await asyncio.wait_for(connection.task, 5)
    assert stopped.is_set()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (HELLO, 200),
        ({**HELLO, "stream": True}, 200),
        ({**HELLO, "model": "other"}, 404),
        ({**HELLO, "n": 2}, 400),
        ({**HELLO, "messages": "hi"}, 400),
    ],
)
async def test_programs_and_pages_of_this_machine_get_the_same_answer(body, status):
    answers = []
    for headers in ({}, {"origin": "http://localhost:3000"}):
        client, _ = client_of("Hello.")
        async with client:
            answers.append(await client.post("/v1/chat/completions", json=body, headers=headers))
    program, page = answers
    assert program.status_code == page.status_code == status
    assert len({answer.headers["x-request-id"] for answer in answers}) == 2
    cors = {"access-control-allow-origin", "access-control-expose-headers", "vary"}
    assert set(page.headers) - cors == set(program.headers)
    assert program.headers["content-type"] == page.headers["content-type"]
    if status != 200:
        assert program.json() == page.json()


@pytest.mark.parametrize("headers", [{}, {"origin": "http://localhost:3000"}])
async def test_what_nobody_thought_of_is_answered_and_raised_for_the_log(headers, monkeypatch):
    async def broken(self, *args, **kwargs):
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(Gateway, "complete", broken)
    app = build(Gateway({"m": Route(ScriptedBackend(["x"]), Wrapper.load("chatml"))}), OPEN)
    quiet = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=quiet, base_url="http://localhost") as client:
        answer = await client.post("/v1/chat/completions", json=HELLO, headers=headers)
    assert answer.status_code == 500
    assert "nobody thought" not in answer.text
    assert answer.json()["error"]["message"]
    loud = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=loud, base_url="http://localhost") as client:
        with pytest.raises(ZeroDivisionError):
            await client.post("/v1/chat/completions", json=HELLO, headers=headers)


async def test_a_long_silence_is_filled_with_comments(monkeypatch):
    monkeypatch.setattr(responses, "KEEP_ALIVE_SECONDS", 0.02)

    class Slow(ScriptedBackend):
        async def complete(self, prompt):
            await asyncio.sleep(0.2)
            async for delta in super().complete(prompt):
                yield delta

    app = build(Gateway({"m": Route(Slow(["late"]), Wrapper.load("chatml"))}), ServerSettings())
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
    answer = await post(client, stream=True)
    assert answer.text.startswith(": keep-alive\n\n")
    assert answer.text.endswith("data: [DONE]\n\n")
    assert '"late"' in answer.text
