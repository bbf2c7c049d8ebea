"""Clients with keys of their own: what they see, what is left to them, what they may not."""

from __future__ import annotations

import httpx
import pytest

from llmgate.backends.scripted import ScriptedBackend
from llmgate.config import KeySettings, ServerSettings
from llmgate.gateway import Gateway, Route
from llmgate.server.app import build
from llmgate.server.guard import check_exposure
from llmgate.wrappers import Wrapper

KEYS = {
    "ann": KeySettings("key-of-ann", requests=2, tokens=10_000),
    "bob": KeySettings("key-of-bob", models=("small",)),
}


def client_of(key=None, **settings):
    wrapper = Wrapper.load("chatml")
    routes = {
        name: Route(ScriptedBackend(["ok"] * 9), wrapper) for name in ("small", "large", "larger")
    }
    app = build(Gateway(routes), ServerSettings(keys=KEYS, **settings))
    headers = {"authorization": f"Bearer {key}"} if key else {}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


async def post(client, model="small", **fields):
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
    return await client.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize(
    ("key", "status"),
    [("key-of-ann", 200), ("key-of-bob", 200), ("own", 200), ("key", 401), (None, 401)],
)
async def test_each_key_is_let_in_and_no_other(key, status):
    async with client_of(key, api_key="own") as client:
        answer = await post(client)
        assert answer.status_code == status
        assert (await client.get("/health")).status_code == 200


async def test_without_a_key_of_the_servers_own_the_others_still_count():
    async with client_of() as client:
        assert (await post(client)).status_code == 401
    check_exposure(ServerSettings(host="0.0.0.0", keys=KEYS))


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_left_is_told_and_then_there_is_a_429(stream):
    async with client_of("key-of-ann") as client:
        for left in ("1", "0"):
            answer = await post(client, stream=stream)
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-limit-requests"] == "2"
            assert answer.headers["x-ratelimit-remaining-requests"] == left
            assert 9_000 < int(answer.headers["x-ratelimit-remaining-tokens"]) < 10_000
            assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
        refused = await post(client, stream=stream)
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert 25 < int(refused.headers["retry-after"]) <= 30


async def test_other_keys_have_their_own_limits():
    async with client_of("key-of-bob") as client:
        answer = await post(client)
        assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


async def test_a_key_sees_and_uses_only_its_models():
    async with client_of("key-of-bob") as client:
        listed = (await client.get("/v1/models")).json()["data"]
        assert [entry["id"] for entry in listed] == ["small"]
        assert (await client.get("/v1/models/small")).status_code == 200
        for answer in (await client.get("/v1/models/large"), await post(client, "large")):
            assert answer.status_code == 403
            assert answer.json()["error"]["code"] == "forbidden"
        unknown = await post(client, "larg")
        assert unknown.status_code == 404
        assert "large" not in unknown.text
