"""Servers are told apart by what only they say, though most of them imitate another one."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from llmgate.discovery import identify
from llmgate.discovery.identity import reached

OPENAI = {"/v1/models": {"object": "list", "data": [{"id": "m", "owned_by": "somebody"}]}}
LLAMA = {"/props": {"default_generation_settings": {}, "build_info": "b7000"}, **OPENAI}
OLLAMA = {"/": "Ollama is running", "/api/version": {"version": "0.33.0"}, **OPENAI}
VLLM = {"/v1/models": {"data": [{"id": "m", "owned_by": "vllm"}]}, "/version": {"version": "0.26"}}
LM_STUDIO = {"/api/v0/models": {"data": [{"id": "m", "state": "loaded"}]}, **OPENAI}
LEGACY = {"/api/v1/model": {"result": "llama"}}

SERVERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "koboldcpp": (
        # It answers what Ollama, llama-server and the old text-generation-webui are asked, too.
        {
            "/api/extra/version": {"result": "KoboldCpp", "version": "1.102"},
            **LLAMA,
            **OLLAMA,
            **LEGACY,
        },
        "koboldcpp",
        "1.102",
    ),
    "ollama": (OLLAMA, "ollama", "0.33.0"),
    "llama-server": (LLAMA, "llamacpp", "b7000"),
    "sglang": ({"/get_model_info": {"model_path": "m"}, **OPENAI}, "sglang", ""),
    "vllm": (VLLM, "vllm", "0.26"),
    "lm studio": (LM_STUDIO, "lmstudio", ""),
    "lm studio without models": (
        {"/api/v0/models": {"data": []}, "/v1/models": {"data": []}},
        "lmstudio",
        "",
    ),
    "textgen": ({"/v1/internal/model/info": {"model_name": "m"}, **OPENAI}, "textgen", ""),
    "old textgen": (LEGACY, "textgen-legacy", ""),
    "llama-cpp-python": (
        {"/openapi.json": {"info": {"title": "🦙 llama.cpp Python API", "version": "1"}}, **OPENAI},
        "llama-cpp-python",
        "1",
    ),
    "another": (OPENAI, "openai-chat", ""),
}
NOBODY: dict[str, dict[str, Any]] = {
    "a page": {"/": "<html>Welcome</html>"},
    "nothing": {},
    "strange JSON": {"/props": [1], "/v1/models": {"data": "x"}, "/openapi.json": {"info": 3}},
}


def speaking(pages: dict[str, Any]) -> httpx.MockTransport:
    def respond(request: httpx.Request) -> httpx.Response:
        page = pages.get(request.url.path)
        if page is None:
            return httpx.Response(404, json={"detail": "Not Found"})
        return (
            httpx.Response(200, text=page)
            if isinstance(page, str)
            else httpx.Response(200, json=page)
        )

    return httpx.MockTransport(respond)


@pytest.mark.parametrize("name", SERVERS)
async def test_a_server_is_known(name):
    pages, backend, version = SERVERS[name]
    found = await identify("http://server", speaking(pages))
    assert found is not None
    assert (found.backend, found.version, found.loading) == (backend, version, False)


@pytest.mark.parametrize("name", NOBODY)
async def test_what_is_no_model_server_is_none(name):
    assert await identify("http://server", speaking(NOBODY[name])) is None


async def test_a_server_that_still_loads_its_model_is_known():
    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"error": {"message": "Loading model", "code": 503}})

    found = await identify("http://server", httpx.MockTransport(respond))
    assert found is not None
    assert (found.backend, found.loading) == ("llamacpp", True)


async def test_a_server_without_end_is_left_alone():
    async def forever():
        while True:
            yield b"x" * 65536

    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=forever())

    assert await identify("http://server", httpx.MockTransport(respond)) is None


async def test_why_nothing_answers_is_told():
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    def wait(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("")

    assert await reached("http://server", httpx.MockTransport(refuse)) == "connection refused"
    assert "within" in await reached("http://server", httpx.MockTransport(wait))
    assert "protocol" in await reached("no address")
    assert await reached("http://server", speaking({})) == ""
