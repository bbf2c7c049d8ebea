"""`llmgate chat` in a pipe, and which agent it wakes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys

import msgspec
import pytest
from engines import needs_engine

from llmgate import storage
from llmgate.agent.kept import read_state
from llmgate.agent.runner import Runner
from llmgate.agent.state import Pending

CHAT = [sys.executable, "-m", "llmgate", "chat"]
GOES_ON = {"request_heartbeat": True}


def call(function, arguments, thoughts=""):
    return json.dumps({"function": function, "params": {"inner_thoughts": thoughts, **arguments}})


def said(text, thoughts=""):
    return call("send_message", {"message": text}, thoughts)


@pytest.fixture
def chat(tmp_path):
    """Runs chats with a scripted model, all over one store."""
    (tmp_path / "llmgate.toml").write_text(
        '[models.actor]\nbackend = "scripted"\npath = "play.json"\ncontext = 16384\n'
        'wrapper = "chatml"\noptions = {inner_thoughts = "inside"}\n'
        '[models.small]\nbackend = "scripted"\npath = "play.json"\ncontext = 2048\n'
        '[storage]\nurl = "sqlite:store.db"\nvectors = "sqlite:vectors.db"\n'
    )

    def run(lines, *answers, arguments=("--no-verify",)):
        (tmp_path / "play.json").write_text(json.dumps(answers))
        text = lines if isinstance(lines, bytes) else lines.encode()
        folders = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
        done = subprocess.run(
            [*CHAT, *arguments], input=text, capture_output=True, cwd=tmp_path, check=False,
            timeout=120, env=os.environ | folders,
        )  # fmt: skip
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in done.stderr
        return done

    return run


def test_only_what_it_says_goes_to_standard_output(chat):
    done = chat(
        "I am Bo.\nBye\n",
        call("core_memory_append", {"name": "human", "content": "Bo", **GOES_ON}, "A name."),
        said("Hello,\nBo.", "Greet."),
        said("Bye."),
    )
    assert (done.returncode, done.stdout) == (0, "Hello,\nBo.\nBye.\n")
    assert "thinks: A name.\ncalls: core_memory_append(" in done.stderr
    assert "   ok: human: " in done.stderr
    assert re.search(r"^\[[\d,]+ tokens in, \d+ out, .* 2 steps\]$", done.stderr, re.MULTILINE)
    assert "\x1b" not in done.stdout + done.stderr


def test_several_lines_are_one_message_between_slashes(chat):
    done = chat("//\nfirst\n\n  second\n//\n/dump 3\n/exit\nnot read\n", said("Yes."))
    assert '"message": "first\\n\\n  second"' in done.stdout
    assert "not read" not in done.stdout


def test_a_line_without_an_end_is_read_and_what_is_no_text_is_replaced(chat):
    done = chat(b"caf\xe9 \xff\r\nlast", said("One."), said("Two."))
    assert done.stdout == "One.\nTwo.\n"
    done = chat("/dump\n")
    assert '"message": "caf\ufffd \ufffd"' in done.stdout
    assert '"message": "last"' in done.stdout


def test_what_it_did_not_say_after_all_does_not_go_to_standard_output(chat):
    broken = '{"function": "send_message", "params": {"inner_thoughts": "x", "message": "Half a'
    done = chat("Hi\n", broken, said("Whole."))
    assert (done.returncode, done.stdout) == (0, "Whole.\n")


def test_a_first_answer_that_is_asked_for_again_is_not_said(chat):
    done = chat("Hi\n", said("One.", "I call (it)."), said("Two.", "Clean."), arguments=())
    assert done.stdout == "Two.\n"
    assert "the first answer was asked for once more" in done.stderr


def test_whoever_gets_no_answer_is_told_by_the_exit_code(chat):
    done = chat("Hi\n", *['{"function": "'] * 3)
    assert (done.returncode, done.stdout) == (1, "")
    assert "3 answers in a row could not be used" in done.stderr


def test_an_empty_name_is_no_name(chat):
    done = chat("Hi\n", said("Hello."), arguments=("--agent", ""))
    assert (done.returncode, done.stdout) == (1, "")
    assert "the name '' of the agent is empty" in done.stderr


def test_steps_as_json(chat):
    done = chat(
        "I am Bo.\n/memory\nMore?\n",
        call("core_memory_append", {"name": "human", "content": "Bo", **GOES_ON}, "A name."),
        said("Hello \u009b31m\u001b[31m."),
        arguments=("--json", "--no-verify"),
    )
    assert done.returncode == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stdout)
    first, second, failed = (json.loads(line) for line in done.stdout.splitlines())
    assert first["call"]["name"] == "core_memory_append"
    assert (first["ok"], first["thoughts"], first["next"]) == (True, "A name.", "heartbeat")
    assert second["said"] == "Hello \u009b31m\u001b[31m."
    assert second["next"] is None
    assert second["usage"]["completion"] > 0
    assert failed["error"]["code"] == "backend_unreachable"
    assert "persona (" in done.stderr


def test_a_failing_turn_is_one_line_and_the_exit_status(chat):
    done = chat("Hello?\n/save\n")
    assert done.returncode == 1
    assert len([line for line in done.stderr.splitlines() if "/retry asks again." in line]) == 1
    assert "Everything is saved" in done.stdout


def test_where_nobody_can_be_asked_a_function_that_needs_it_is_not_run(chat, tmp_path):
    (tmp_path / "notes.txt").write_text("one\n")
    config = tmp_path / "llmgate.toml"
    config.write_text(config.read_text() + '[agent]\nfiles = "."\n')
    done = chat(
        "Write.\n",
        call("append_to_text_file", {"filename": "notes.txt", "content": "two", **GOES_ON}),
        said("I may not."),
        arguments=("--preset", "memgpt_extras", "--no-verify"),
    )
    assert "failed: " in done.stderr
    assert done.stdout == "I may not.\n"
    assert (tmp_path / "notes.txt").read_text() == "one\n"


def test_the_last_agent_is_gone_on_with_and_others_by_their_names(chat):
    assert "New agent agent:" in chat("Hi\n", said("One.")).stderr
    assert "New agent ann:" in chat("Hi\n", said("Two."), arguments=("--agent", "ann")).stderr
    again = chat("Hi\n", said("Three."))
    assert "New agent" not in again.stderr
    assert "Two." in chat("/dump\n").stdout
    assert "One." in chat("/dump\n", arguments=("--agent", "agent")).stdout


def test_the_agent_of_the_configuration_goes_before_the_last_one(chat, tmp_path):
    chat("Hi\n", said("One."))
    config = tmp_path / "llmgate.toml"
    config.write_text(config.read_text() + '[agent]\nname = "bea"\n')
    assert "New agent bea:" in chat("Hi\n", said("Two.")).stderr


def test_an_agent_of_a_kind_is_made_once(chat):
    chat("Hi\n", said("One."))
    sam = ("--persona", "sam")
    assert "New agent agent_2:" in chat("Hi\n", said("Two."), arguments=sam).stderr
    again = chat("/dump\n", arguments=sam)
    assert "New agent" not in again.stderr
    assert "Two." in again.stdout


def test_options_change_a_stored_agent_with_a_warning(chat):
    chat("Hi\n", said("One."), arguments=("--agent", "ann"))
    done = chat("/memory persona\n/model\n", arguments=("--agent", "ann", "--persona", "sam",
                "--model", "small"))  # fmt: skip
    assert "Warning: ann was made with the persona 'starter', --persona put 'sam'" in done.stderr
    assert "Warning: ann thought with actor, --model makes it small." in done.stderr
    assert "* small" in done.stdout
    assert "sam" in done.stdout.lower()
    done = chat("", arguments=("--agent", "ann", "--preset", "memgpt_docs"))
    assert done.returncode == 1
    assert "made with the preset 'memgpt_chat'" in done.stderr


def test_a_model_that_is_not_configured_any_more_is_replaced_with_a_warning(chat, tmp_path):
    chat("Hi\n", said("One."), arguments=("--model", "small"))
    config = tmp_path / "llmgate.toml"
    config.write_text(config.read_text().replace("[models.small]", "[models.tiny]"))
    done = chat("/model\n")
    assert "agent thought with small, which is not configured now; actor takes" in done.stderr
    assert "* actor" in done.stdout


def test_a_small_window_gets_the_short_preset_and_that_is_said(chat):
    done = chat("", arguments=("--model", "small"))
    assert "the new agent gets the short one, memgpt_chat_compressed" in done.stderr
    assert "New agent agent: preset memgpt_chat_compressed" in done.stderr


def test_a_name_that_a_pattern_stands_for_is_a_name_of_its_model(chat, tmp_path):
    config = tmp_path / "llmgate.toml"
    config.write_text(
        config.read_text().replace("[models.small]", '[models.small]\naliases = ["gpt-4*"]')
    )
    done = chat("/model\n", arguments=("--model", "gpt-4o"))
    assert done.returncode == 0
    assert done.stdout == "  actor\n* small (as gpt-4o)\n"
    assert chat("/model small\n").stdout == "  actor\n* small\n"
    done = chat("Hi\n", said("Hello."), arguments=("--model", "gpt-4o", "--no-agent"))
    assert done.returncode == 0
    assert "send_message" in done.stdout


def test_that_the_agent_goes_on_because_its_window_is_nearly_full_is_said(chat, tmp_path):
    config = tmp_path / "llmgate.toml"
    config.write_text(config.read_text() + "[agent]\npressure = 0.01\n")
    done = chat("Hi\n", said("Hello."), said("I have kept it."))
    assert done.stdout == "Hello.\nI have kept it.\n"
    assert done.stderr.count("event: the window is nearly full: the agent is told") == 1


def test_what_another_program_is_in_the_middle_of_is_not_gone_on_with(chat, tmp_path):
    async def interrupt(runner):
        async with await storage.open(f"sqlite:{tmp_path / 'store.db'}") as records:
            state = await read_state(records, "agent")
            pending = Pending("think", "user_message", runner=runner)
            state = msgspec.structs.replace(state, pending=pending)
            await records.put("agents/agent", msgspec.to_builtins(state))

    chat("Hi\n", said("Hello."))
    asyncio.run(interrupt(Runner.here()))
    done = chat("", said("Again."))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Going on" not in done.stderr
    assert "Nothing was kept" not in done.stderr
    assert done.stderr.count("is being run by another program") == 1
    asyncio.run(interrupt(None))
    done = chat("", said("Again."))
    assert (done.returncode, done.stdout) == (0, "Again.\n")
    assert "Going on where the last session was interrupted." in done.stderr


def test_messages_that_have_become_more_need_no_cause(chat, tmp_path):
    config = tmp_path / "llmgate.toml"
    config.write_text(
        '[models.native]\nbackend = "scripted"\npath = "native.json"\ncontext = 16384\n'
        + config.read_text()
        + '[agent]\nlayout = "memgpt"\n'
    )
    answers = [
        {
            "tool_calls": [
                {"name": "archival_memory_search", "arguments": {"query": "x", **GOES_ON}}
            ]
        },
        {"tool_calls": [{"name": "send_message", "arguments": {"message": "Hello."}}]},
    ]
    (tmp_path / "native.json").write_text(json.dumps({"chat": True, "answers": answers}))
    done = chat("Hi\n/raw\n/cache\n")
    assert '--- prompt\n[{"role":"system"' in done.stdout
    assert "begins with the whole of the one before: nothing is read again." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--system", "x"), "--system is for --no-agent"),
        (("--no-agent", "--persona", "sam"), "--persona means nothing with --no-agent"),
        (("--no-agent", "--json"), "--json means nothing with --no-agent"),
        (("--model", "actr"), "unknown model 'actr' .* Did you mean 'actor'"),
        (("--persona", "sma"), "unknown persona 'sma'. Did you mean 'sam'"),
        (("--human", "x"), "unknown human 'x'"),
        (("--preset", "memgpt_chatt"), "unknown preset"),
    ],
)
def test_options_that_cannot_be_used_are_one_line_and_exit_2(chat, arguments, problem):
    done = chat("Hi\n", arguments=arguments)
    assert (done.returncode, done.stdout) == (2, "")
    lines = [line for line in done.stderr.splitlines() if line.startswith("llmgate: ")]
    assert len(lines) == 1
    assert re.search(problem, lines[0])


@needs_engine
def test_the_model_that_comes_with_llmgate(tmp_path):
    folders = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    done = subprocess.run(
        CHAT, input="My name is Bo.\n/memory\n", capture_output=True, text=True, cwd=tmp_path,
        check=False, timeout=240, env=os.environ | folders,
    )  # fmt: skip
    assert done.returncode == 0
    assert "test pilot, not an assistant" in done.stderr
    assert "--no-agent" in done.stderr
    assert "New agent agent: preset pilot, persona pilot, human pilot." in done.stderr
    assert "persona (" in done.stdout
    assert "Traceback" not in done.stderr
