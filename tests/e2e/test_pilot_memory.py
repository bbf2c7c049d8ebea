"""The model that comes with llmgate as an agent: a name outlives the program that was told it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import pytest
from engines import needs_engine

from llmgate import storage
from llmgate.memory.recall import Recall

pytestmark = needs_engine
CHAT = [sys.executable, "-m", "llmgate", "chat", "--yes"]


@pytest.fixture
def environment(tmp_path):
    return os.environ | {
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "LLMGATE_STORAGE_URL": f"sqlite:{tmp_path / 'agents.db'}",
        "LLMGATE_VECTORS_URL": f"sqlite:{tmp_path / 'vectors.db'}",
    }


def test_a_name_is_in_core_memory_and_in_recall_after_a_kill(tmp_path, environment):
    told = subprocess.Popen(
        CHAT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    with told:
        told.stdin.write("My name is Zarkun\n")
        told.stdin.flush()
        assert told.stdout.readline().strip()  # it has answered, and goes on waiting
        time.sleep(0.2)
        told.kill()
    again = subprocess.run(
        CHAT,
        input="/memory\nWhat is my name?\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
        timeout=120,
    )
    assert again.returncode == 0, again.stderr
    assert "Name: Zarkun" in again.stdout
    # What it makes of that depends on the time of day in its prompt, so small is it.
    assert again.stdout.splitlines()[-1].strip()
    assert "test pilot, not an assistant" in again.stderr
    found = asyncio.run(found_in_recall(environment["LLMGATE_STORAGE_URL"], "Zarkun"))
    assert any(each.role == "user" and "Zarkun" in each.text for each in found)


async def found_in_recall(url, text):
    async with await storage.open(url) as records:
        return (await Recall(records, "agent").search(text)).found
