"""`llmgate bench run` as a program: killed anywhere, it goes on as if nothing had been."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import random
import signal
import subprocess
import sys
import threading
from collections import Counter

import msgspec
import pytest
from bench_doubles import timeless, weather

from llmgate.bench.journal import read

KILLS = 6
CITIES = [f"City{number}" for number in range(24)]
unix = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of Unix")


class Handler(http.server.BaseHTTPRequestHandler):
    """Calls for the city, or for another one, by what the request says alone."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self._send(404, {"error": {"message": "nothing here"}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = json.dumps(body["messages"])
        with self.server.lock:
            self.server.asked[text] += 1
            self.server.count += 1
            kill = self.server.kill_at is not None and self.server.count >= self.server.kill_at
        if kill:
            self.server.arrived.set()
            self.server.killed.wait(30)
        city = text.rpartition("The weather in ")[2].partition("?")[0]
        wrong = hashlib.sha256(text.encode()).digest()[0] % 3 == 0
        call = {
            "id": "x",
            "type": "function",
            "function": {
                "name": "get_weather",
                "arguments": json.dumps({"city": "Nowhere" if wrong else city}),
            },
        }
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        self._send(200, {"object": "chat.completion", "choices": [choice], "usage": usage})

    def _send(self, status, answer):
        data = json.dumps(answer).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *arguments):
        """A client that was killed leaves in the middle of a sentence."""


@pytest.fixture
def server():
    opened = Server(("127.0.0.1", 0), Handler)
    opened.lock, opened.asked, opened.count = threading.Lock(), Counter(), 0
    opened.kill_at, opened.arrived, opened.killed = None, threading.Event(), threading.Event()
    thread = threading.Thread(target=opened.serve_forever, args=(0.02,))
    thread.start()
    yield opened
    opened.killed.set()
    opened.shutdown()
    opened.server_close()
    thread.join()


@pytest.fixture
def begin(tmp_path, server):
    suite = tmp_path / "mine.jsonl"
    cases = [msgspec.json.encode(weather(city, suite="")) for city in CITIES]
    suite.write_bytes(b"\n".join(cases))
    config = tmp_path / "llmgate.toml"
    config.write_text(
        f'[models.m]\nbackend = "openai-chat"\nurl = "http://127.0.0.1:{server.server_port}"\n'
        "concurrency = 3\n"
    )

    def begun(name):
        command = [sys.executable, "-m", "llmgate", "bench", "run", "--config", str(config)]
        command += ["--suite", str(suite), "--native", "--samples", "2", "-o", str(tmp_path / name)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return begun


@unix
def test_a_run_that_is_killed_again_and_again_has_the_same_numbers(tmp_path, server, begin):
    with begin("whole") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    total = 2 * len(CITIES)
    asked_whole = server.count
    server.asked.clear()
    dice = random.Random(6)
    for _ in range(KILLS):
        server.arrived.clear()
        server.killed.clear()
        # Some are under way at the others' end, some results just written.
        server.count, server.kill_at = 0, dice.randint(1, total // 5)
        with begin("killed") as process:
            assert server.arrived.wait(60)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
        server.killed.set()
        assert process.returncode == -signal.SIGKILL
    server.kill_at = None
    with begin("killed") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert f"{total} of {total} results" in said

    whole = {(result.cell, result.key): timeless(result) for result in read(tmp_path / "whole")}
    found = [timeless(result) for result in read(tmp_path / "killed")]
    assert len(whole) == len(found) == total
    assert {(result.cell, result.key): result for result in found} == whole
    assert len({result.outcome for result in found}) == 2
    # Only what was under way at a kill is asked again, and a first question warms each run up.
    again = sum(server.asked.values()) - asked_whole
    assert 0 < again <= (3 + 1) * KILLS


@unix
def test_what_is_complete_is_not_asked_again_and_its_report_is_the_same(tmp_path, server, begin):
    reports = []
    for _ in range(2):
        with begin("whole") as process:
            out, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        names = ("report.html", "results.csv", "summary.md")
        reports.append([out, *((tmp_path / "whole" / name).read_bytes() for name in names)])
    assert reports[0] == reports[1]
    assert server.count == 2 * len(CITIES) + 1


@unix
def test_ctrl_c_waits_for_what_is_under_way_and_says_how_to_go_on(tmp_path, server, begin):
    server.kill_at = 10
    with begin("stopped") as process:
        assert server.arrived.wait(60)
        process.send_signal(signal.SIGINT)
        server.killed.wait(0.2)
        server.killed.set()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again to go on" in said
    assert 7 <= len(list(read(tmp_path / "stopped"))) < 2 * len(CITIES)
