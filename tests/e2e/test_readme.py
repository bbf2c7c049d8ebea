"""The README's first session gives what the README shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from engines import needs_engine
from programs import Serve

pytestmark = needs_engine
ROOT = Path(__file__).parent.parent.parent
KINDS = ("STORAGE", "VECTORS")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language, containing):
    """The code block of that language with that text in it, and the plain block behind it."""
    found = [
        (code, shown)
        for kind, code, shown in re.findall(
            r"```(\w+)\n(.*?)```(?:\s*```\n(.*?)```)?", README, re.DOTALL
        )
        if kind == language and containing in code
    ]
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Serve(cwd=tmp_path_factory.mktemp("readme")) as running:
        yield running


def without_accidents(answer):
    """An answer without what differs from one to the next."""
    answer = {key: value for key, value in answer.items() if key not in ("id", "created")}
    for call in answer["choices"][0]["message"]["tool_calls"]:
        del call["id"]
    return answer


def test_serve_says_what_the_readme_shows(server):
    _, shown = block("sh", "llmgate serve")
    first = shown.splitlines()[0]
    assert server.first_line.strip().replace(server.url, "URL") == first.replace(
        "http://127.0.0.1:8484/v1", "URL"
    )


def test_the_curl_answer_is_the_real_one(server):
    code, shown = block("sh", "curl")
    body = re.search(r"-d '(.*)'", code, re.DOTALL)[1]
    answer = httpx.post(f"{server.url}/chat/completions", content=body, timeout=60).json()
    # The order of the keys is part of what is shown.
    assert json.dumps(without_accidents(answer)) == json.dumps(without_accidents(json.loads(shown)))


def test_the_sdk_prints_what_is_shown(server):
    code, shown = block("python", "from openai")
    code = code.replace("http://127.0.0.1:8484/v1", server.url)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == shown.strip()


def test_the_library_example_runs(tmp_path):
    code, _ = block("python", "Gateway.open")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "Hello! How can I help you?\n"


def test_the_agent_of_the_library_example_notes_the_name(tmp_path):
    code, _ = block("python", "Home.open")
    stored = {f"LLMGATE_{kind}_URL": f"sqlite:{tmp_path / kind}.db" for kind in KINDS}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | stored,
    )
    assert "core_memory_append" in done.stdout
    assert "Name: Zarkun" in done.stdout


def test_the_configuration_is_a_valid_one(tmp_path):
    from llmgate import config

    code, _ = block("toml", "[models.local]")
    settings = config.parse(code, tmp_path / "llmgate.toml")
    assert list(settings.models) == ["local", "qwen", "vectors"]


def test_the_wrapper_of_the_documentation_renders(tmp_path):
    from llmgate.types import Caps, Message, Request
    from llmgate.wrappers import Template, Wrapper

    text = (ROOT / "docs" / "wrappers.md").read_text(encoding="utf-8")
    source = re.search(r"```jinja\n(.*?)```", text, re.DOTALL)[1]
    request = Request(model="m", messages=(Message("user", "hi"),))
    shown = Wrapper(Template("mine", source, {"shout": True})).render(request, Caps()).text
    assert shown == "[USER] hi</s>\n[assistant] "


def test_every_option_and_setting_is_documented():
    import msgspec

    from llmgate import resources
    from llmgate.config import ModelSettings, ServerSettings
    from llmgate.types import Sampling
    from llmgate.wrappers import Options, Wrapper

    docs = {
        name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("configuration", "wrappers")
    }
    for struct in (ModelSettings, ServerSettings, Sampling):
        for field in msgspec.structs.fields(struct):
            assert f"`{field.name}`" in docs["configuration"]
    own = {key for name in resources.names("templates") for key in Wrapper.load(name).spec.options}
    for option in {field.name for field in msgspec.structs.fields(Options)} | own:
        assert f"| `{option}` |" in docs["wrappers"]
