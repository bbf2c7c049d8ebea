"""`llmgate chat --no-agent` in a pipe, and in a real terminal: history, several lines, Ctrl-C."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest
from engines import needs_engine

pytestmark = needs_engine
CHAT = [sys.executable, "-m", "llmgate", "chat", "--no-agent"]


def test_a_conversation_in_a_pipe(tmp_path):
    lines = (
        "Hello!\n/raw\n/wrapper zephyr\nWhat is the capital of France?\n/nothing\n/exit\nnot read\n"
    )
    done = subprocess.run(
        CHAT, input=lines, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120
    )
    assert done.returncode == 0
    assert "Hello! How can I help you?\n" in done.stdout
    assert "<|im_start|>user\nHello!<|im_end|>" in done.stdout
    assert "* zephyr" in done.stdout
    assert "The capital of France is Paris.\n" in done.stdout
    assert "There is no /nothing" in done.stdout
    assert "not read" not in done.stdout
    assert "test pilot, not an assistant" in done.stderr
    assert "tokens in" in done.stderr


def test_a_failing_model_is_one_line_and_the_chat_goes_on(tmp_path):
    (tmp_path / "llmgate.toml").write_text(
        '[models.gone]\nbackend = "llamacpp"\nurl = "http://127.0.0.1:9"\n'
    )
    done = subprocess.run(
        CHAT, input="Hello!\n/model\n", capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr
    assert "* gone" in done.stdout


class Screen:
    """A chat in a terminal of its own."""

    def __init__(self, name, folder):
        self._tmux = ["tmux", "-L", name]
        environment = os.environ | {"XDG_CONFIG_HOME": str(folder / "config")}
        command = " ".join([*CHAT, "; echo ended $?; sleep 60"])
        subprocess.run(
            [*self._tmux, "-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "50", command],
            check=True,
            cwd=folder,
            env=environment,
        )

    def type(self, *keys):
        subprocess.run([*self._tmux, "send-keys", *keys], check=True)

    def text(self):
        shown = subprocess.run(
            [*self._tmux, "capture-pane", "-p"], check=True, capture_output=True, text=True
        )
        return shown.stdout

    def wait_for(self, wanted, seconds=60):
        """The screen, once `wanted` stands on it."""
        end = time.monotonic() + seconds
        while wanted not in (text := self.text()):
            assert time.monotonic() < end, f"{wanted!r} did not appear:\n{text}"
            time.sleep(0.05)
        return text

    def close(self):
        subprocess.run([*self._tmux, "kill-server"], check=False)


@pytest.fixture
def screen(tmp_path, endless):
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    (tmp_path / "llmgate.toml").write_text(
        "[models.tiny]\nthreads = 1\n"
        '[models.endless]\nbackend = "llamacpp"\n'
        f'url = "http://127.0.0.1:{endless.server_port}"\n'
    )
    opened = Screen(f"llmgate-{os.getpid()}", tmp_path)
    yield opened
    opened.close()


def test_a_conversation_in_a_terminal(screen):
    screen.wait_for("/help lists the commands")
    screen.type("Hello!", "Enter")
    screen.wait_for("Hello! How can I help you?")
    screen.type("/help", "Enter")
    screen.wait_for("Ctrl-C stops an answer")
    # Alt-Enter makes a second line of the same message.
    screen.type("Say", "M-Enter", "hello", "Enter")
    screen.wait_for("tokens in, ")
    screen.type("/raw", "Enter")
    screen.wait_for("Say\nhello<|im_end|>")
    # The up key brings earlier lines back.
    screen.type("/nothing", "Enter")
    screen.wait_for("There is no /nothing;")
    screen.type("Up", "x", "Enter")
    screen.wait_for("There is no /nothingx;")
    screen.type("C-d")
    screen.wait_for("ended 0")


def test_ctrl_c_stops_the_answer_and_not_the_program(screen, endless):
    screen.wait_for("/help lists the commands")
    screen.type("/model endless", "Enter")
    screen.wait_for("* endless")
    screen.type("Go on.", "Enter")
    screen.wait_for("word word")
    screen.type("C-c")
    screen.wait_for("[interrupted]")
    assert endless.left.wait(10)
    screen.type("/model tiny", "Enter", "/new", "Enter", "Hello!", "Enter")
    screen.wait_for("Hello! How can I help you?")
    screen.type("C-c")
    screen.wait_for("Ctrl-D or /exit leaves")
    screen.type("/exit", "Enter")
    screen.wait_for("ended 0")
