"""`llmgate doctor`, `configure`, `models`, and what is used where nothing is configured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest
from engines import needs_server, running_server


def run(*arguments: str, cwd, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmgate", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        cwd=cwd,
        env={**os.environ, **env},
    )


@pytest.fixture(scope="module")
def url():
    with running_server() as (address, _):
        yield address


@needs_server
def test_the_doctor_examines_a_server_at_any_of_its_addresses(url, tmp_path):
    done = run("doctor", f"{url.removeprefix('http://')}/v1/chat/completions", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"is read as {url}" in done.stderr
    assert done.stdout.startswith(f"{url}  llama-server")
    for words in ("model", "2048 tokens", "constraint  grammars", "get_weather(", "pieces"):
        assert words in done.stdout


@needs_server
def test_the_doctor_speaks_json(url, tmp_path):
    done = run("doctor", url, "--json", "--quick", cwd=tmp_path)
    (server,) = json.loads(done.stdout)["servers"]
    assert (server["backend"], server["usable"]) == ("llamacpp", True)
    assert "tool_call" not in server or server["tool_call"] is None


def test_the_doctor_says_when_nothing_answers(tmp_path):
    done = run("doctor", "http://127.0.0.1:9", cwd=tmp_path)
    assert done.returncode == 1
    assert "nothing answers" in done.stdout
    assert "Traceback" not in done.stderr


@needs_server
def test_configure_writes_what_serve_reads(url, tmp_path):
    done = run("configure", "--url", url, "--yes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = tomllib.loads((tmp_path / "llmgate.toml").read_text(encoding="utf-8"))
    assert written == {"models": {"llmgate-tiny": {"backend": "llamacpp", "url": url}}}
    listed = run("models", "--live", cwd=tmp_path)
    assert listed.stdout.splitlines()[0].split()[:3] == ["llmgate-tiny", "llamacpp", url]
    assert "llmgate-tiny.gguf" in listed.stdout.splitlines()[1]


@needs_server
def test_configure_adds_to_what_is_there_and_asks_first(url, tmp_path):
    file = tmp_path / "llmgate.toml"
    file.write_text("# mine\n[server]\nport = 9000\n", encoding="utf-8")
    refused = run("configure", "--url", url, cwd=tmp_path, stdin="mine\nn\n")
    assert refused.returncode == 1
    assert file.read_text(encoding="utf-8") == "# mine\n[server]\nport = 9000\n"
    for expected in ("mine", "mine-2"):
        done = run("configure", "--url", url, cwd=tmp_path, stdin="mine\ny\n")
        assert done.returncode == 0, done.stderr
        text = file.read_text(encoding="utf-8")
        assert text.startswith("# mine\n")
        assert expected in tomllib.loads(text)["models"]


def test_configure_leaves_a_broken_file_alone(tmp_path):
    file = tmp_path / "llmgate.toml"
    file.write_text("[server\n", encoding="utf-8")
    done = run("configure", "--yes", cwd=tmp_path, LLMGATE_DISCOVER="off")
    assert done.returncode == 2
    assert "not valid TOML" in done.stderr
    assert file.read_text(encoding="utf-8") == "[server\n"


def test_configure_refuses_an_address_without_a_server(tmp_path):
    done = run("configure", "--url", "http://127.0.0.1:9", "--yes", cwd=tmp_path)
    assert done.returncode == 2
    assert "llmgate: nothing at http://127.0.0.1:9" in done.stderr
    assert not (tmp_path / "llmgate.toml").exists()


def test_models_lists_what_is_configured(tmp_path):
    (tmp_path / "llmgate.toml").write_text(
        '[models.a]\nbackend = "ollama"\nurl = "http://h:1"\nmodel = "x"\n'
        'aliases = ["gpt-*"]\nreplicas = [{ url = "http://h:2" }]\n',
        encoding="utf-8",
    )
    done = run("models", cwd=tmp_path)
    assert done.stdout == "a  ollama  http://h:1, http://h:2  auto  (also gpt-*)\n"
    (row,) = json.loads(run("models", "--json", cwd=tmp_path).stdout)["models"]
    assert row["model"] == "x"
