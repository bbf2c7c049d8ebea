"""What a server can do is tried on it, and what to change is said in its own words."""

from __future__ import annotations

import pytest
from engines import needs_server, running_server
from wire_servers import SERVERS

from llmgate.config import ModelSettings
from llmgate.discovery import Identity, Report, examine, identify
from llmgate.discovery.advice import advice
from llmgate.discovery.examination import Check
from llmgate.types import Caps


@needs_server
async def test_a_real_llama_server_is_found_to_do_everything():
    with running_server() as (url, _):
        identity = await identify(url)
        assert identity is not None
        assert identity.backend == "llamacpp"
        report = await examine(ModelSettings(backend="llamacpp", url=url), identity)
    assert report.usable
    assert report.model.endswith("llmgate-tiny.gguf")
    assert report.caps.context == 2048
    for check in (report.constraint, report.tool_call, report.stream):
        assert check is not None
        assert check.passed, check
    assert report.tool_call is not None
    assert "get_weather(" in report.tool_call.said
    assert any("-c 16384" in sentence for sentence in report.advice)


@pytest.mark.parametrize("name", ["koboldcpp", "ollama"])
async def test_made_up_servers_are_known_and_examined(name):
    async with SERVERS[name]() as server:
        settings = server.settings()
        identity = await identify(settings.url)
        assert identity is not None
        assert identity.backend == name
        report = await examine(settings, identity)
        assert report.usable, report
        assert report.stream is not None
        assert report.tool_call is not None
        assert report.tool_call.passed, report


async def test_a_server_that_is_gone_is_reported():
    report = await examine(ModelSettings(backend="llamacpp", url="http://127.0.0.1:9"))
    assert not report.usable
    assert "No answer from the server" in report.error


async def test_a_server_that_loads_is_waited_for():
    loading = Identity("llamacpp", "llama-server", loading=True)
    report = await examine(ModelSettings(backend="llamacpp", url="http://x"), loading)
    assert not report.usable
    assert report.advice == ("Wait until the model is there, and ask again.",)


CASES = [
    (Report("u", "ollama", "Ollama", caps=Caps(context=4096)), "OLLAMA_CONTEXT_LENGTH"),
    (Report("u", "koboldcpp", "K", caps=Caps(truncates=True)), "set `context`"),
    (Report("u", "vllm", "vLLM", caps=Caps(context=99)), "--max-model-len"),
    (
        Report("u", "llamacpp", "llama-server", constraint=Check(False, "it does not keep to it")),
        "a newer one",
    ),
    (Report("u", "ollama", "Ollama", error="no model"), "ollama pull"),
    (Report("u", "vllm", "vLLM", error="… (status 401)"), "api_key"),
    (Report("u", "ollama", "Ollama", tool_call=Check(False, "none")), "ollama-chat"),
    (
        Report("u", "llamacpp", "x", stream=Check(False, "the whole answer came in one piece")),
        "proxy",
    ),
]


@pytest.mark.parametrize(("report", "words"), CASES)
def test_the_advice_says_what_to_do(report, words):
    assert any(words in sentence for sentence in advice(report)), advice(report)


def test_a_good_server_needs_no_advice():
    caps = Caps(grammar=True, context=32768, chat=True)
    fine = Check(True, "fine")
    report = Report("u", "x", "x", caps=caps, constraint=fine, tool_call=fine, stream=fine)
    assert advice(report) == ()
