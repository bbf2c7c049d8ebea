"""The whole gateway from a config file to the HTTP answer: models, keys, cache, log, failures."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from scripted_models import scripted

from llmgate import config
from llmgate.errors import BackendUnreachable
from llmgate.gateway import Gateway, opening
from llmgate.server.app import build

CONFIG = """
[server]
usage_log = "usage.jsonl"

[server.keys.ann]
key = "key-of-ann"
requests = 100
models = ["small", "gpt-*", "cloud/*"]

[models.small]
backend = "llamacpp"
url = "http://one"
wrapper = "chatml"
aliases = ["gpt-4"]
fallbacks = ["cloud/big"]
retries = 1
cache = 60

[[models.small.replicas]]
url = "http://two"
weight = 2

[models."cloud/*"]
backend = "llamacpp"
url = "http://cloud"
model = "*"
wrapper = "chatml"
retries = 0
"""


class Stage:
    """The server over scripted backends, by the addresses and the models they are opened with."""

    def __init__(self, folder, monkeypatch):
        self.backends = {}
        self.log = folder / "usage.jsonl"

        def open_scripted(name, settings):
            backend = scripted()
            self.backends[(settings.url, settings.model)] = backend
            return backend

        monkeypatch.setattr(opening, "open_backend", open_scripted)
        file = folder / "llmgate.toml"
        file.write_text(CONFIG)
        settings = config.load(file, {})
        self.gateway = Gateway.open(settings)
        transport = httpx.ASGITransport(build(self.gateway, settings.server))
        self.client = httpx.AsyncClient(
            transport=transport,
            base_url="http://localhost",
            headers={"authorization": "Bearer key-of-ann"},
        )

    def says(self, url, *answers, model=None):
        self.backends[(url, model)]._answers = list(answers)

    async def post(self, model="small", text="hi", **fields):
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return await self.client.post("/v1/chat/completions", json=body)

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
async def stage(tmp_path, monkeypatch):
    stage = Stage(tmp_path, monkeypatch)
    async with stage.client, stage.gateway:
        yield stage


def notes(answer):
    return [note["code"] for note in answer.json().get("llmgate", {}).get("notes", [])]


def content(answer):
    return answer.json()["choices"][0]["message"]["content"]


async def test_names_aliases_and_patterns(stage):
    listed = (await stage.client.get("/v1/models")).json()["data"]
    assert [entry["id"] for entry in listed] == ["small", "gpt-4"]
    stage.says("http://one", "hello")
    stage.says("http://two", "hello")
    answer = await stage.post("gpt-4")
    assert (content(answer), answer.json()["model"]) == ("hello", "gpt-4")
    missing = await stage.post("smal")
    assert missing.status_code == 404
    assert "Did you mean 'small'" in missing.json()["error"]["message"]


async def test_a_failing_replica_is_replaced_and_the_answer_kept(stage):
    gone = BackendUnreachable("gone")
    stage.says("http://one", gone)
    stage.says("http://two", gone, "hello")
    stage.backends[("http://two", None)]._answers.pop(0)
    for codes in ([], ["cached"]):
        answer = await stage.post()
        assert answer.headers["x-ratelimit-limit-requests"] == "100"
        assert (content(answer), notes(answer)) == ("hello", codes)
    streamed = await stage.post(stream=True)
    assert '"hello"' in streamed.text
    assert '"code":"cached"' in streamed.text
    assert streamed.text.endswith("data: [DONE]\n\n")
    await stage.gateway.aclose()
    assert [line["from_cache"] for line in stage.lines()] == [False, True, True]
    assert {line["key"] for line in stage.lines()} == {"ann"}
    assert stage.lines()[0]["replica"] == "http://two"


@pytest.mark.parametrize("stream", [False, True])
async def test_when_all_replicas_fail_the_model_of_the_family_answers(stage, stream, monkeypatch):
    stage.says("http://one", BackendUnreachable("gone"))
    stage.says("http://two", BackendUnreachable("gone"))
    monkeypatch.setattr(
        opening,
        "open_backend",
        lambda name, settings: scripted(f"{name} as {settings.model} at {settings.url}"),
    )
    answer = await stage.post(stream=stream)
    assert "cloud/big as big at http://cloud" in answer.text
    assert "'cloud/big' answered in place of 'small'" in answer.text
    await stage.gateway.aclose()
    [line] = stage.lines()
    assert (line["answered_by"], line["fallback"], line["retries"]) == ("cloud/big", True, 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_when_everything_fails_the_client_hears_it(stage, stream, monkeypatch):
    gone = BackendUnreachable("gone")
    stage.says("http://one", gone)
    stage.says("http://two", gone)
    monkeypatch.setattr(opening, "open_backend", lambda name, settings: scripted(gone))
    answer = await stage.post(stream=stream)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "backend_unreachable"
    await stage.gateway.aclose()
    [line] = stage.lines()
    assert (line["status"], line["error"]) == (503, "backend_unreachable")


def test_the_example_in_the_docs_can_be_used():
    docs = Path(__file__).parents[2] / "docs" / "gateway.md"
    example = docs.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    settings = config.parse(example, docs)
    gateway = Gateway.open(settings)
    assert gateway.names == ["qwen", "gpt-4o"]
    gateway.check("cloud/gpt-4.1-mini")
    assert [replica.name for replica in gateway._models["qwen"].replicas.all] == [
        "http://10.0.0.1:8080",
        "http://10.0.0.2:8080",
    ]


def test_every_setting_stands_in_the_docs():
    docs = Path(__file__).parents[2] / "docs" / "configuration.md"
    text = docs.read_text(encoding="utf-8")
    mine = "aliases fallbacks replicas balance concurrency queue retries cooldown health cache"
    for name in (*mine.split(), "usage_log", *config.KeySettings.__struct_fields__):
        assert f"| `{name}` |" in text
