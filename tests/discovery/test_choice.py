"""What is used where nothing is configured."""

from __future__ import annotations

import pytest
from engines import needs_server, running_server
from wire_servers import SERVERS

from llmgate.config import ModelSettings, may_discover
from llmgate.discovery.choice import first_model, named, short
from llmgate.discovery.ports import PORTS, answering


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


@needs_server
async def test_the_first_server_that_answers_is_used():
    with running_server() as (url, _):
        assert await answering((9, port_of(url))) == [port_of(url)]
        found = await first_model((9, port_of(url)))
    assert found is not None
    name, settings, kind = found
    assert (name, settings.backend, kind) == ("llmgate-tiny", "llamacpp", "llama-server")
    assert settings.url == f"http://127.0.0.1:{port_of(url)}"


async def test_a_server_with_several_models_is_told_which_one():
    async with SERVERS["ollama"]() as server:
        settings = server.settings()
        found = await first_model((port_of(settings.url),))
    assert found is not None
    assert found[1].backend == "ollama"
    assert found[1].model


async def test_nothing_is_found_where_nothing_is():
    assert await first_model((9,)) is None


def test_koboldcpp_comes_before_ollama():
    ports = list(PORTS)
    assert ports.index(5001) < ports.index(11434)
    assert {8080, 9931} <= set(ports)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/models/a/Some-Model.gguf", "Some-Model"),
        ("C:\\models\\m.gguf", "m"),
        ("qwen3:8b", "qwen3:8b"),
        ("org/name", "name"),
        ("", "local"),
    ],
)
def test_names_are_short(name, said):
    assert short(name) == said


def test_only_servers_of_many_models_are_told_a_name():
    llama = ModelSettings(backend="llamacpp", url="http://h")
    assert named(llama, ("m",)) == llama
    assert named(ModelSettings(backend="ollama", url="http://h"), ("m",)).model == "m"


@pytest.mark.parametrize(("value", "may"), [("", True), ("off", False), ("0", False), ("1", True)])
def test_it_can_be_switched_off(value, may):
    assert may_discover({"LLMGATE_DISCOVER": value}) is may
