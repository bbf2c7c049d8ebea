"""`llmgate batch` as a program: killed, interrupted, resumed; what a person sees."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from batch_doubles import chat_line, read_lines, stamp, write_lines

KILLS = 12
unix = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of Unix")


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by what the request says, after a while, and remembers who asked."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = body["messages"][0]["content"]
        with self.server.lock:
            self.server.asked[text] += 1
            times = self.server.asked[text]
        self.server.arrived.set()
        time.sleep(self.server.seconds())
        status, headers, answer = 200, {}, {"object": "chat.completion", "echo": text}
        answer["usage"] = {"prompt_tokens": 5, "completion_tokens": 2}
        if text == "limited" and times == 1:
            status, headers, answer = 429, {"retry-after": "0"}, {"error": {"message": "slow"}}
        elif text == "broken" and times == 1:
            status, answer = 500, {"error": {"message": "oops"}}
        elif text == "refused":
            status, answer = 400, {"error": {"message": "never", "code": "bad"}}
        elif text == "reset" and times == 1:
            self.close_connection = True
            return
        data = json.dumps(answer).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *arguments):
        """A client that was killed leaves in the middle of a sentence."""


@pytest.fixture
def server():
    opened = Server(("127.0.0.1", 0), Handler)
    opened.lock, opened.asked, opened.arrived = threading.Lock(), Counter(), threading.Event()
    opened.seconds = lambda: 0.0
    opened.url = f"http://127.0.0.1:{opened.server_port}/v1"
    thread = threading.Thread(target=opened.serve_forever, args=(0.02,))
    thread.start()
    yield opened
    opened.shutdown()
    opened.server_close()
    thread.join()


class Folder:
    """A requests file, its results, and the program over them."""

    def __init__(self, path, *lines):
        self.requests = write_lines(path / "requests.jsonl", *lines)
        self.results = path / "results.jsonl"

    def start(self, *arguments, stderr=subprocess.PIPE):
        command = [sys.executable, "-m", "llmgate", "batch", self.requests, "-o", self.results]
        return subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=self.requests.parent,
        )

    def run(self, *arguments):
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=120)
        assert out == ""
        return process.returncode, err

    def complete(self):
        """The indices of the results that are on the disk as whole lines."""
        if not self.results.exists():
            return []
        whole, _, _ = self.results.read_bytes().rpartition(b"\n")
        return [stamp(json.loads(line))["index"] for line in whole.splitlines()]


@unix
def test_killed_at_any_moment_it_answers_every_request_once(tmp_path, server):
    dice = random.Random()
    server.seconds = lambda: dice.uniform(0.0, 0.1)
    number = 240
    folder = Folder(tmp_path, *(chat_line(f"{i}", metadata={"row": i}) for i in range(number)))
    options = ("--url", server.url, "--concurrency", "8")
    kills = 0
    while True:
        before = folder.complete()
        asked_before = Counter(server.asked)
        process = folder.start(*options)
        wanted = len(before) + dice.randrange(12)
        while kills < KILLS and process.poll() is None and len(folder.complete()) < wanted:
            time.sleep(0.002)
        if kills < KILLS:
            time.sleep(dice.uniform(0, 0.03))
            process.kill()
        process.communicate(timeout=120)
        asked = server.asked - asked_before
        assert not {str(i) for i in before} & set(asked), "a finished request was asked again"
        assert folder.complete()[: len(before)] == before, "a result was lost"
        if process.returncode != -signal.SIGKILL:
            break
        kills += 1
    assert kills >= 10
    assert process.returncode == 0
    assert Counter(folder.complete()) == Counter(range(number))
    for request, response, metadata, mark in read_lines(folder.results):
        assert request == chat_line(str(mark["index"]))
        assert response["echo"] == str(metadata["row"]) == str(mark["index"])
    # Only what was under way at a kill, eight at a time, was asked more than once.
    assert sum(server.asked.values()) - number <= 8 * kills


@unix
def test_ctrl_c_lets_finish_what_is_under_way_and_says_how_to_go_on(tmp_path, server):
    server.seconds = lambda: 0.3
    folder = Folder(tmp_path, *(chat_line(f"{i}") for i in range(40)))
    process = folder.start("--url", server.url, "--concurrency", "4")
    assert server.arrived.wait(60)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Ctrl-C again drops them" in err
    assert err.endswith("llmgate: interrupted; run the same command again to go on.\n")
    assert "Traceback" not in err
    finished = folder.complete()
    assert 0 < len(finished) == sum(server.asked.values()) < 40
    server.seconds = lambda: 0.0
    code, err = folder.run("--url", server.url)
    assert (code, Counter(folder.complete())) == (0, Counter(range(40)))
    assert f"({len(finished)} in earlier runs)" in err
    assert sum(server.asked.values()) == 40


@unix
@pytest.mark.parametrize(
    ("signals", "code"), [([signal.SIGINT, signal.SIGINT], 130), ([signal.SIGTERM], 143)]
)
def test_a_second_ctrl_c_and_sigterm_wait_for_nothing(tmp_path, server, signals, code):
    never = threading.Event()
    server.seconds = lambda: never.wait(30) and 0.0
    folder = Folder(tmp_path, *(chat_line(f"{i}") for i in range(4)))
    process = folder.start("--url", server.url)
    assert server.arrived.wait(60)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.3)  # two of the same at once would be one
    _, err = process.communicate(timeout=20)
    never.set()
    assert process.returncode == code
    assert "4 not done" in err
    assert folder.complete() == []


def test_failures_of_all_kinds_in_one_run(tmp_path, server):
    texts = ["fine", "limited", "broken", "reset", "refused"]
    lines = [
        {
            "custom_id": text,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": chat_line(text),
        }
        for text in texts
    ]
    folder = Folder(tmp_path, *lines, "{broken", "")
    code, err = folder.run("--url", server.url)
    assert code == 1
    assert "6 requests: 4 answered, 2 failed; 28 tokens, 8 of them written." in err
    assert "Failures: bad (1), invalid_json (1)." in err or "invalid_json (1), bad (1)" in err
    results = {line["custom_id"]: line for line in read_lines(folder.results)}
    for text in texts[:4]:
        assert results[text]["response"]["body"]["echo"] == text
    assert [results[text]["llmgate"]["attempts"] for text in texts] == [1, 2, 2, 2, 1]
    assert results["refused"]["response"]["status_code"] == 400
    assert results[None]["error"]["message"].startswith("Line 6 ")
    code, err = folder.run("--url", server.url)
    assert code == 1
    assert "4 answered, 2 failed (6 in earlier runs)" in err
    assert server.asked["refused"] == 1
    folder.run("--url", server.url, "--retry-failed")
    assert server.asked["refused"] == 2
    assert sum(server.asked.values()) == 9
    assert sorted(folder.complete()) == list(range(6))


def test_a_changed_requests_file_is_refused(tmp_path, server):
    folder = Folder(tmp_path, chat_line("a"), chat_line("b"))
    assert folder.run("--url", server.url)[0] == 0
    write_lines(folder.requests, chat_line("a"), chat_line("c"), chat_line("d"))
    code, err = folder.run("--url", server.url)
    assert code == 2
    assert "line 2 is another request" in err
    assert sum(server.asked.values()) == 2


def test_a_key_that_is_refused_ends_a_long_run(tmp_path):
    class Refusing(Handler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(401)
            self.send_header("content-length", "0")
            self.end_headers()

    folder = Folder(tmp_path, *(chat_line(f"{i}") for i in range(300)))
    with Server(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        code, err = folder.run("--url", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
    assert code == 1
    assert "gave up, as nothing gets through" in err
    assert "(status 401)" in err
    assert len(folder.complete()) < 100


def test_the_scripted_model_in_process(tmp_path):
    (tmp_path / "answers.json").write_text(json.dumps(["One.", "Two.", "Three."]))
    (tmp_path / "llmgate.toml").write_text(
        '[models.play]\nbackend = "scripted"\npath = "answers.json"\nwrapper = "chatml"\n'
    )
    folder = Folder(
        tmp_path, chat_line("a"), chat_line("b", model="play"), chat_line("c", model="no")
    )
    code, err = folder.run("--concurrency", "1")
    assert code == 1
    assert "3 requests: 2 answered, 1 failed" in err
    answers = {stamp(line)["index"]: line[1] for line in read_lines(folder.results)}
    assert answers[0]["choices"][0]["message"]["content"] == "One."
    assert answers[1]["choices"][0]["message"]["content"] == "Two."
    assert answers[2] == ["The model 'no' does not exist here. Known: play."]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.jsonl"], "can't read gone.jsonl"),
        (["requests.jsonl", "-o", "requests.jsonl"], "can't be written into the file"),
        (["requests.jsonl", "--url", "ftp://x"], "not an address on the web"),
        (
            ["requests.jsonl", "--url", "http://x", "--wrapper", "chatml"],
            "--wrapper is for models in process, not for --url",
        ),
        (["requests.jsonl", "--api-key", "x"], "--api-key is for --url"),
        (["requests.jsonl", "-o", "notes.txt"], "did not write, line 1"),
        (["requests.jsonl", "-o", "."], "it is no file"),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path, arguments, said):
    write_lines(tmp_path / "requests.jsonl", chat_line("a"))
    (tmp_path / "notes.txt").write_text("my notes\n")
    done = subprocess.run(
        [sys.executable, "-m", "llmgate", "batch", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "notes.txt").read_text() == "my notes\n"
    assert not (tmp_path / "requests_results.jsonl").exists()


@unix
def test_a_terminal_shows_a_bar_that_goes_away(tmp_path, server):
    import pty

    server.seconds = lambda: 0.05
    folder = Folder(tmp_path, *(chat_line(f"{i}") for i in range(60)))
    ours, theirs = pty.openpty()
    process = folder.start("--url", server.url, "--concurrency", "4", stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux: the end of a terminal is an error
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    process.communicate(timeout=60)
    text = shown.decode()
    assert process.returncode == 0
    assert re.search(r"\[#+-+\] \d+/60  4 running", text)
    last = text.rpartition("\r\x1b[K")[2].replace("\r\n", "\n")
    assert last.startswith("60 requests: 60 answered; 420 tokens, 120 of them written. Results: ")
