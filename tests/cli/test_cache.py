"""`llmgate cache explain`: two files, or the last two prompts of an agent."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner

from llmgate import storage
from llmgate.agent.explaining import kept
from llmgate.cli import main

SYSTEM = {"role": "system", "content": "You are Iris.\nIt is 2026-11-21 10:00."}
HELLO = {"role": "user", "content": "Hello there."}
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks."}}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMGATE_STORAGE_URL", f"sqlite:{tmp_path / 'store.db'}")

    def invoke(*arguments):
        return CliRunner().invoke(main, ["cache", "explain", *arguments])

    return invoke


def body(tmp_path, name, *messages):
    file = tmp_path / name
    file.write_text(json.dumps({"messages": messages, "tools": [TOOL]}), encoding="utf-8")
    return str(file)


def test_bodies_are_written_out_and_compared(run, tmp_path):
    later = {**SYSTEM, "content": SYSTEM["content"].replace("10:00", "10:01")}
    found = run(body(tmp_path, "a.json", SYSTEM, HELLO), body(tmp_path, "b.json", later, HELLO))
    assert found.exit_code == 0
    assert "in message 1 (system)." in found.output
    assert "It is 2026-11-21 10:0»1." in found.output
    assert "of the template: {{ message.text }}<|im_end|>" in found.output
    assert "Cause: a date or time stands there" in found.output


def test_the_line_of_a_models_own_template_is_named(run, tmp_path):
    template = tmp_path / "own.jinja"
    template.write_text(
        "{% for m in messages %}\n<{{ m.role }}>\n{{ m.content }}\n{% endfor %}", encoding="utf-8"
    )
    other = {**HELLO, "content": "Hello here."}
    found = run(
        "--wrapper",
        str(template),
        body(tmp_path, "a.json", SYSTEM, HELLO),
        body(tmp_path, "b.json", SYSTEM, other),
    )
    assert found.exit_code == 0
    assert "in message 2 (user)." in found.output
    assert "Written by line 3 of the template: {{ m.content }}" in found.output


def test_a_turn_more_costs_its_own_tokens_only(run, tmp_path):
    more = ({"role": "assistant", "content": "Hi."}, {"role": "user", "content": "And you?"})
    found = run(
        body(tmp_path, "a.json", SYSTEM, HELLO), body(tmp_path, "b.json", SYSTEM, HELLO, *more)
    )
    assert "nothing is read again" in found.output


def test_prompts_as_they_were_sent_are_compared_as_they_are(run, tmp_path):
    (tmp_path / "a.txt").write_text("one two three", encoding="utf-8")
    (tmp_path / "b.txt").write_text("one two four", encoding="utf-8")
    found = run("--json", "a.txt", "b.txt")
    assert found.exit_code == 0
    told = json.loads(found.output)
    assert (told["shared"], told["token"], told["grown"]) == (8, "four", False)


def test_tokens_are_counted_by_a_model_that_can(run, tmp_path):
    pytest.importorskip("llama_cpp")
    (tmp_path / "a.txt").write_text("one two three", encoding="utf-8")
    (tmp_path / "b.txt").write_text("one two four", encoding="utf-8")
    found = run("--model", "llmgate-tiny", "a.txt", "b.txt")
    assert found.exit_code == 0
    assert "about" not in found.output


def test_the_last_two_prompts_of_an_agent_are_compared(run, tmp_path):
    async def store(stored):
        async with await storage.open(f"sqlite:{tmp_path / 'store.db'}") as records:
            await records.put("agents/ann", {"name": "ann"})
            if stored is not None:
                await records.put("system/prompts/ann", stored)

    assert "'ann'" in run("--agent", "ann").output
    asyncio.run(store(None))
    found = run("--agent", "ann")
    assert found.exit_code == 1
    assert "no two prompts of the agent 'ann' are stored yet" in found.output
    asyncio.run(store(kept("You are Iris. Hello.", "You are Ann. Hello.")))
    found = run("--agent", "ann")
    assert found.exit_code == 0
    assert "You are »Ann. Hello.«" in found.output
    assert "'bob'" in run("--agent", "bob").output


def test_the_prompts_of_an_agent_that_are_messages_are_compared_message_by_message(run, tmp_path):
    async def store(*prompts):
        async with await storage.open(f"sqlite:{tmp_path / 'store.db'}") as records:
            await records.put("agents/ann", {"name": "ann"})
            await records.put("system/prompts/ann", kept(*map(json.dumps, prompts)))

    asyncio.run(store([SYSTEM, HELLO], [SYSTEM, HELLO, HELLO]))
    assert "nothing is read again" in run("--agent", "ann").output
    later = {**SYSTEM, "content": SYSTEM["content"].replace("10:00", "10:01")}
    asyncio.run(store([SYSTEM, HELLO], [later, HELLO, HELLO]))
    found = run("--agent", "ann")
    assert "in message 1 (system)." in found.output
    assert "It is 2026-11-21 10:0»1." in found.output


@pytest.mark.parametrize("arguments", [(), ("a.txt",), ("--agent", "ann", "a.txt", "b.txt")])
def test_what_is_to_be_compared_has_to_be_said(run, arguments):
    found = run(*arguments)
    assert found.exit_code == 2
    assert "Give two files, or --agent NAME." in found.output


def test_a_file_that_is_not_there_is_named(run):
    found = run("a.txt", "b.txt")
    assert found.exit_code == 2
    assert "can't read a.txt" in found.output
