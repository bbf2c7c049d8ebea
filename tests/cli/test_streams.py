"""Standard streams that are closed or full: one line, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LLMGATE = f"{sys.executable} -m llmgate"
FULL = Path("/dev/full")
COMMANDS = ["list presets", "--help", "version", "wrappers", "storage --help"]


def run(line):
    return subprocess.run(line, shell=True, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_takes_no_more_is_one_line_and_exit_1(command):
    done = run(f"{LLMGATE} {command} > {FULL}")
    assert done.returncode == 1
    assert done.stderr == "llmgate: can't write the output: No space left on device.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX closes them")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_lead_nowhere(command, closed):
    done = run(f"{LLMGATE} {command} {closed}")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
