"""What `llmgate serve` survives: each gets a clear error, and the next request an answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from engines import needs_engine, needs_server, running_server
from programs import Serve

pytestmark = [needs_engine, needs_server]
HELLO = [{"role": "user", "content": "Hello!"}]
ENDLESS = 'root ::= line{1000}\nline ::= ("tic " | "tac "){1000}'
SAMPLED = {"temperature": 1.0}
# Tokens: enough that an endless answer does not end while a test looks away.
LONG = 32_768
BROKEN = "{#- +++\nstop = []\n+++ -#}\n{{ messages[5].text }}"


@pytest.fixture(scope="module")
def llama_server():
    with running_server(LONG) as (url, process):
        yield url, process


@pytest.fixture(scope="module")
def server(tmp_path_factory, llama_server):
    folder = tmp_path_factory.mktemp("survival")
    templates = Path(os.environ["XDG_CONFIG_HOME"]) / "llmgate" / "templates"
    templates.mkdir(parents=True, exist_ok=True)
    (templates / "broken.jinja").write_text(BROKEN)
    (folder / "llmgate.toml").write_text(
        "[models.tiny]\nthreads = 1\n"
        f"[models.long]\nthreads = 1\ncontext = {LONG}\n"
        '[models.broken]\nthreads = 1\nwrapper = "broken"\n'
        f'[models.remote]\nbackend = "llamacpp"\nurl = "{llama_server[0]}/v1/"\n'
        "sampling = {temperature = 0.0}\n"
        '[models.nobody]\nbackend = "llamacpp"\nurl = "http://127.0.0.1:9"\n'
    )
    with Serve(cwd=folder) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with httpx.Client(base_url=server.url, timeout=60) as made:
        yield made


def post(client, model="tiny", **fields):
    return client.post("/chat/completions", json={"model": model, "messages": HELLO, **fields})


def error(answer):
    return answer.json()["error"]


@pytest.fixture(autouse=True)
def _the_next_request_is_answered(client, server):
    yield
    answer = post(client)
    assert answer.json()["choices"][0]["message"]["content"] == "Hello! How can I help you?"
    assert server.process.poll() is None
    assert "Traceback" not in "".join(server.errors)


def children(pid):
    """The workers of a server, by /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            worker = b"worker.main()" in folder.joinpath("cmdline").read_bytes()
        except OSError:
            continue  # it ended while we looked
        if parent == pid and worker:
            found.append(int(folder.name))
    return found


@pytest.mark.parametrize("model", ["long", "remote"])
def test_a_client_that_leaves_a_stream(client, model):
    fields = {"grammar": ENDLESS, "stream": True, **SAMPLED}
    body = {"model": model, "messages": HELLO, **fields}
    with client.stream("POST", "/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        for _ in range(8):
            next(lines)
    # The model has one place: the next answer can only come if the first was stopped.
    assert post(client, model).status_code == 200


@pytest.mark.parametrize("model", ["long", "remote"])
def test_a_client_that_leaves_before_there_is_an_answer(client, model):
    with pytest.raises(httpx.ReadTimeout):
        client.post(
            "/chat/completions",
            json={"model": model, "messages": HELLO, "grammar": ENDLESS, **SAMPLED},
            timeout=0.3,
        )
    assert post(client, model).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"null"])
def test_a_body_that_is_no_json(client, body):
    answer = client.post("/chat/completions", content=body)
    assert answer.status_code == 400
    assert error(answer)["type"] == "invalid_request_error"


def test_a_body_of_5_mb(client):
    answer = post(client, messages=[{"role": "user", "content": "x" * 5_000_000}])
    assert answer.status_code == 413
    assert "max_body" in error(answer)["message"]


def test_a_body_just_below_the_limit(client):
    answer = post(client, messages=[{"role": "user", "content": "word " * 800_000}])
    assert answer.status_code == 400
    assert error(answer)["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"type": "object", "properties": 5},
        {"type": "object", "properties": {"a": {"$ref": "https://example.org/x"}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
        {"type": "array"},
        {"$ref": "#"},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_schema_that_is_no_schema(client, schema, stream):
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    answer = post(client, tools=[tool], tool_choice="required", stream=stream)
    assert answer.status_code == 400
    assert "f" in error(answer)["message"]


def test_a_tool_schema_of_absurd_depth(client):
    schema = {"type": "object"}
    for _ in range(400):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert post(client, tools=[tool]).status_code == 400


@pytest.mark.parametrize("stream", [False, True])
def test_a_template_that_raises(client, stream):
    answer = post(client, "broken", stream=stream)
    assert answer.status_code == 500
    assert "the template 'broken' failed" in error(answer)["message"]


@pytest.mark.parametrize(
    "grammar",
    [
        'root ::= "a',
        "root ::= other",
        "root ::= root [a]",
        'root ::= a "x"\na ::= b\nb ::= a?',
        'first ::= "x"',
        'root ::= "a"{9999999}',
    ],
)
@pytest.mark.parametrize("model", ["tiny", "remote"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_grammar_of_the_users(client, model, grammar, stream):
    answer = post(client, model, grammar=grammar, stream=stream)
    assert answer.status_code == 400
    assert error(answer)["code"] == "invalid_grammar"


def test_a_good_grammar_of_the_users(client):
    for model in ("tiny", "remote"):
        answer = post(client, model, grammar='root ::= "yes" | "no"')
        assert answer.json()["choices"][0]["message"]["content"] in ("yes", "no")


def test_a_server_that_is_not_there(client):
    for stream in (False, True):
        answer = post(client, "nobody", stream=stream)
        assert answer.status_code == 503
        assert "http://127.0.0.1:9" in error(answer)["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_worker_that_is_killed_in_the_middle_of_an_answer(client, server, stream):
    post(client, "long")
    before = set(children(server.process.pid))
    fields = {"model": "long", "messages": HELLO, "grammar": ENDLESS, "stream": stream, **SAMPLED}
    if stream:
        with client.stream("POST", "/chat/completions", json=fields) as answer:
            lines = answer.iter_lines()
            next(lines)
            for worker in before:
                os.kill(worker, signal.SIGKILL)
            events = [line for line in lines if line.startswith("data: ")]
        problem = json.loads(events[-1].removeprefix("data: "))["error"]
    else:
        code = (
            "import os, signal, sys, time\ntime.sleep(0.4)\n"
            "for pid in sys.argv[1:]: os.kill(int(pid), signal.SIGKILL)"
        )
        killer = subprocess.Popen([sys.executable, "-c", code, *map(str, before)])
        answer = client.post("/chat/completions", json=fields)
        killer.wait()
        assert answer.status_code == 503
        problem = error(answer)
    assert problem["code"] == "backend_unreachable"
    assert "SIGKILL" in problem["message"]


def test_a_model_file_that_is_a_text_file(tmp_path):
    file = tmp_path / "model.gguf"
    file.write_text("This is a text file.")
    for command in ("serve", "chat"):
        done = subprocess.run(
            [sys.executable, "-m", "llmgate", command, "--model", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "is not a GGUF file" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_model_file_that_is_cut_off(tmp_path, client):
    from llmgate import resources

    file = tmp_path / "cut.gguf"
    file.write_bytes(resources.default_model().read_bytes()[:100_000])
    with Serve("--model", str(file)) as other:
        answer = httpx.post(
            f"{other.url}/chat/completions", json={"model": "cut", "messages": HELLO}, timeout=60
        )
        assert answer.status_code == 503
        assert str(file) in error(answer)["message"]
        assert "Traceback" not in "".join(other.errors)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_its_workers_with_it(tmp_path, how, client):
    with Serve(cwd=tmp_path) as other:
        httpx.post(
            f"{other.url}/chat/completions",
            json={"model": "llmgate-tiny", "messages": HELLO},
            timeout=60,
        )
        workers = children(other.process.pid)
        assert workers
        other.process.send_signal(how)
        assert other.process.wait(20) in (0, -how, 128 + how)
    assert "Traceback" not in "".join(other.errors)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_under_way_is_ended_with_a_reason_when_the_server_stops(
    tmp_path, endless, stream
):
    (tmp_path / "llmgate.toml").write_text(
        f'[models.e]\nbackend = "llamacpp"\nurl = "http://127.0.0.1:{endless.server_port}"\n'
        'constraint = "none"\n'  # it writes the same whatever is asked
    )
    body = {"model": "e", "messages": HELLO, "stream": stream}
    with Serve(cwd=tmp_path) as other, httpx.Client(base_url=other.url, timeout=60) as mine:
        stop = threading.Timer(0.7, other.process.send_signal, [signal.SIGINT])
        stop.start()
        answer = mine.post("/chat/completions", json=body)
        stop.join()
        # 0 where SIGINT was ignored from the start, as in a shell's background.
        assert other.process.wait(20) in (0, 130)
    assert answer.status_code == (200 if stream else 503)
    last = answer.text.strip().split("\n\n")[-1].removeprefix("data: ")
    assert json.loads(last)["error"]["code"] == "shutting_down"
    assert endless.left.wait(10)
    assert other.errors == []


def test_a_port_that_is_taken_is_one_line(server, tmp_path):
    port = server.url.split(":")[-1].split("/")[0]
    done = subprocess.run(
        [sys.executable, "-m", "llmgate", "serve", "--port", port],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert f"can't listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_llama_server_that_is_killed_in_the_middle_of_an_answer(client, llama_server):
    """The last of these tests: the server does not come back."""
    fields = {"grammar": ENDLESS, "stream": True, **SAMPLED}
    body = {"model": "remote", "messages": HELLO, **fields}
    with client.stream("POST", "/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        llama_server[1].kill()
        events = [line for line in lines if line.startswith("data: ")]
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] in (
        "backend_error",
        "backend_unreachable",
    )
    assert post(client, "remote").status_code == 503
