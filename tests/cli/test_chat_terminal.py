"""`llmgate chat` in a real pseudo-terminal: streaming, Ctrl-C, kill -9, several lines, narrow."""

from __future__ import annotations

import json
import re
import sys

import pytest

pytest.importorskip("pexpect", reason="there are no pseudo-terminals here")
pytest.importorskip("pyte")
if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals here", allow_module_level=True)

from slow_model import HOLD, SlowModel, called, said
from terminals import CHAT, Terminal

GOES_ON = {"request_heartbeat": True}
APPEND = {"filename": "a.txt", "content": "two", **GOES_ON}


@pytest.fixture
def model():
    running = SlowModel()
    yield running
    running.close()


@pytest.fixture
def folder(tmp_path, model):
    """Where everything is kept; its configuration has the slow model."""
    write_settings(tmp_path, model)
    return tmp_path


@pytest.fixture
def chat(folder):
    """Opens terminals, and closes them in the end."""
    opened = []

    def open_one(*arguments, **options):
        env = {
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_DATA_HOME": str(folder / "data"),
            **options.pop("env", {}),
        }
        opened.append(Terminal(*CHAT, *arguments, folder=folder, env=env, **options))
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.close()


def write_settings(folder, model, more=""):
    (folder / "llmgate.toml").write_text(
        model.settings
        + '[storage]\nurl = "sqlite:store.db"\nvectors = "sqlite:vectors.db"\n'
        + more
    )


def events(prompt):
    """The events that stand in a prompt."""
    turns = re.findall(r"<\|im_start\|>user\n(.*?)<\|im_end\|>", prompt, re.DOTALL)
    return [json.loads(turn) for turn in turns]


def test_a_new_agent_says_the_first_words_and_is_resumed(chat, model):
    model.answers = [said("Hello, I am here.", thoughts="Somebody comes."), said("Bo, then.")]
    screen = chat()
    text = screen.wait_for_prompt()
    assert "New agent agent: preset memgpt_chat" in text
    assert "💭 Somebody comes.\n🤖 Hello, I am here.\n" in text
    assert "[1,000 tokens in · 90 % cached · 40 out" in text
    assert "🤖 Bo, then." in screen.enter("I am Bo.")
    screen.press("ctrl-d")
    assert screen.ended() == 0
    again = chat()
    text = again.wait_for_prompt()
    assert "New agent" not in text
    assert "Hello" not in text
    model.answers = [said("Welcome back.")]
    again.enter("It is me.")
    asked = events(model.prompts[-1])
    assert [event["type"] for event in asked] == ["login", "user_message", "login", "user_message"]
    assert asked[-1]["message"] == "It is me."
    again.type("/exit\r")
    assert again.ended() == 0


def test_what_it_says_appears_while_it_is_written(chat, model):
    model.answers = [
        said("On", "ce \\u00e9\\ud83d", HOLD, "\\ude00 upon", HOLD, " a time.", thoughts="A tale.")
    ]
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    screen.type("Tell me.\r")
    screen.wait_for("💭 A tale.\n🤖 Once é")
    assert "upon" not in screen.text
    model.go_on.set()
    screen.wait_for("🤖 Once é😀 upon")
    assert " a time." not in screen.text
    model.go_on.set()
    text = screen.wait_for("🤖 Once é😀 upon a time.\n[")
    assert text.count("Once") == 1


def test_what_is_typed_while_it_answers_is_the_next_message(chat, model):
    model.answers = [said("One ", HOLD, "two."), said("Three.")]
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    screen.type("Count.\r")
    screen.wait_for("🤖 One")
    screen.type("Go on.\r")
    model.go_on.set()
    screen.wait_for("🤖 Three.")
    assert events(model.prompts[-1])[-1]["message"] == "Go on."


def test_ctrl_c_stops_the_answer_which_can_be_gone_on_with(chat, model):
    model.answers = [said("One ", "two ", HOLD, "three"), said("All of it.")]
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    screen.type("Count.\r")
    screen.wait_for("One two")
    screen.press("ctrl-c")
    screen.wait_for("Stopped. An empty line goes on with it")
    assert model.left.wait(10)
    assert "🤖 All of it." in screen.enter("")
    assert model.prompts[-1].count("Count.") == 1
    screen.press("ctrl-c")
    screen.wait_for("Ctrl-D or /exit leaves")
    screen.wait_for_prompt()
    screen.press("ctrl-d")
    assert screen.ended() == 0


def test_ctrl_c_stops_a_summary(chat, model):
    model.answers = [said(f"Answer {number}.") for number in range(4)] + [["Summ", HOLD, "ary."]]
    screen = chat("--first", "--no-verify")
    for number in range(4):
        screen.enter(f"Question {number} {'with many words ' * 9}")
    screen.type("/summarize\r")
    screen.wait_for("summarising")
    assert model.holding.wait(20)
    screen.press("ctrl-c")
    assert model.left.wait(10)
    screen.wait_for("Stopped.")
    assert "Question 0" in screen.enter("/dump")


def test_killed_in_the_middle_of_an_answer_it_goes_on_where_it_was(chat, model):
    model.answers = [
        called("core_memory_append", {"name": "human", "content": "Name: Bo", **GOES_ON}),
        said("Hello ", HOLD, "Bo."),
        said("Hello again, Bo."),
    ]
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    screen.type("My name is Bo.\r")
    screen.wait_for("🤖 Hello")
    screen.kill()
    again = chat()
    text = again.wait_for_prompt()
    assert "Going on where the last session was interrupted." in text
    assert "🤖 Hello again, Bo." in text
    assert "Name: Bo" in again.enter("/memory")
    # The message was not lost and is not there twice, and neither is the edit.
    assert model.prompts[-1].count("My name is Bo.") == 1
    assert re.search(r"2 +.*agent agent +append", again.enter("/memory log human"))
    assert not re.search(r"\n3 +", again.enter("/memory log human"))


def test_a_failing_model_is_one_line_and_can_be_asked_again(chat, model):
    model.answers = [500, said("Now it works.")]
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    text = screen.enter("Hello?")
    assert "/retry asks again." in text
    assert "Traceback" not in text
    assert "🤖 Now it works." in screen.enter("/retry")
    assert len(model.prompts) == 2


def test_several_lines_by_hand_and_by_the_command(chat, model):
    model.answers = [said("One."), said("Two.")]
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    screen.type("first")
    screen.press("alt-enter")
    screen.type("second\r")
    screen.wait_for("🤖 One.")
    assert "Several lines: on" in screen.enter("//")
    screen.type("third\rfourth")
    screen.press("alt-enter")
    screen.wait_for("🤖 Two.")
    asked = events(model.prompts[-1])
    said_to_it = [event["message"] for event in asked if event["type"] == "user_message"]
    assert said_to_it == ["first\nsecond", "third\nfourth"]
    screen.wait_for_prompt()
    screen.type("//")
    screen.press("alt-enter")
    screen.wait_for("Several lines: off.")


def test_commands_and_what_stands_behind_them_are_completed(chat, model):
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    screen.type("/mem")
    screen.wait_for("/memorywarning")
    screen.wait_for("warn it that its window is nearly full")
    screen.type("\b" * 4 + "/summ")
    screen.press("tab")
    screen.wait_for("> /summarize")
    screen.press("ctrl-u")
    screen.type("/memory log hu")
    screen.press("tab")
    screen.wait_for("> /memory log human")
    screen.press("enter")
    screen.wait_for("characters", behind="/memory log human")
    # A message gets no menu.
    screen.type("and /sum")
    screen.wait_for("> and /sum")
    assert "/summarize" not in screen.wait_for("and /sum").rsplit("and /sum", 1)[1]


def test_the_up_key_brings_earlier_lines_back_in_a_later_session(chat, model):
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    screen.enter("/nothing")
    screen.press("ctrl-d")
    screen.ended()
    again = chat("--first", "--no-verify")
    again.wait_for_prompt()
    again.press("up")
    again.wait_for("> /nothing")


def test_a_narrow_terminal_that_changes_its_size(chat, model):
    model.answers = [
        called("conversation_search", {"query": "long " * 40, **GOES_ON}),
        said("word " * 30),
        said("Wide again."),
    ]
    screen = chat("--first", "--no-verify", columns=28, rows=20)
    screen.wait_for_prompt()
    text = screen.enter("Hello!")
    assert "Traceback" not in text
    calls = [line for line in text.splitlines() if "conversation_search" in line]
    assert len(calls) == 1
    assert calls[0].endswith("…")
    assert "".join(text.split()).count("word") == 30
    screen.resize(90, 30)
    assert "🤖 Wide again." in screen.enter("And now?")
    screen.resize(20, 30)
    screen.type("/mem")
    screen.wait_for("> /mem")
    screen.press("ctrl-u")
    screen.press("ctrl-d")
    assert screen.ended() == 0


def test_text_of_the_model_cannot_move_the_cursor_or_turn_into_markup(chat, model):
    model.answers = [
        said(
            "\\u001b[2J\\u001b]0;owned\\u0007[red]x[/red] :smile: \\u202ereversed\\u009b31m",
            thoughts="\x1b[31mthought\x1b[0m\x07",
        ),
        called("core_memory_append", {"name": "\x1b[2Jhuman", "content": "\x9b2Ja", **GOES_ON}),
        said("Over."),
    ]
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    text = screen.enter("Say it.")
    assert "[2J]0;owned[red]x[/red] :smile: reversed31m" in text
    assert "thought[0m" in text
    screen.enter("And that.")
    screen.enter("/dumpraw")
    screen.enter("/raw")
    for injected in (b"\x1b[2J", b"\x1b]0;owned", b"\x1b[31mthought", b"\xc2\x9b", b"\x9b2J"):
        assert injected not in screen.written
    assert "\u202e" not in screen.written.decode("utf-8", "replace")


@pytest.mark.parametrize(
    "env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}]
)
def test_words_stand_in_for_icons_where_they_are_not_wanted(chat, model, env):
    model.answers = [
        called("core_memory_append", {"name": "human", "content": "x", **GOES_ON}, "Keep it."),
        said("Done: \\u00e9."),
    ]
    screen = chat("--first", "--no-verify", env=env)
    screen.wait_for(">")
    screen.type("Keep x.\r")
    text = screen.wait_for("tokens/s")
    assert "thinks: Keep it." in text
    assert "calls: core_memory_append(" in text
    assert "   ok: " in text
    assert "says: Done: " in text
    assert not re.search("[💭🤖🧠🟢]", text)
    if env.get("TERM") == "dumb":
        assert not re.search(rb"\x1b\[[0-9;]*m", screen.written)
    # No colours: numbers 30 to 49 and 90 to 107 of SGR.
    colours = rb"\x1b\[(?:[0-9;]*;)?(?:3[0-9]|4[0-9]|9[0-7]|10[0-7])(?:;[0-9;]*)?m"
    assert not re.search(colours, screen.written) or "PYTHONIOENCODING" in env


def test_a_question_before_a_function_that_may_do_harm(chat, model, folder):
    (folder / "files").mkdir()
    (folder / "files" / "a.txt").write_text("one\n")
    write_settings(folder, model, '[agent]\npreset = "memgpt_extras"\nfiles = "files"\n')
    model.answers = [
        called("append_to_text_file", APPEND),
        said("Not done."),
        called("append_to_text_file", APPEND),
        said("Done."),
        called("append_to_text_file", APPEND),
        said("Done again."),
    ]
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    screen.type("Write.\r")
    screen.wait_for('content = "two"')
    screen.wait_for("[n]ever:")
    screen.type("x\r")
    screen.wait_for("Please answer with o, s, a, d or n.")
    screen.type("d\r")
    screen.wait_for("🤖 Not done.")
    assert (folder / "files" / "a.txt").read_text() == "one\n"
    screen.wait_for_prompt()
    screen.type("Do it.\r")
    screen.wait_for("[n]ever:", behind="Do it.")
    screen.type("always\r")
    screen.wait_for("🤖 Done.")
    screen.wait_for_prompt()
    # Now it is not asked about any more.
    assert "🤖 Done again." in screen.enter("Once more.")
    assert (folder / "files" / "a.txt").read_text() == "one\ntwo\ntwo\n"
    assert re.search(r"allow append_to_text_file", screen.enter("/approve"))


def test_ctrl_c_at_a_question_stops_the_agent_and_nothing_is_done(chat, model, folder):
    (folder / "files").mkdir()
    (folder / "files" / "a.txt").write_text("one\n")
    write_settings(folder, model, '[agent]\npreset = "memgpt_extras"\nfiles = "files"\n')
    model.answers = [called("append_to_text_file", APPEND), said("Well.")]
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    screen.type("Write.\r")
    screen.wait_for("[n]ever:")
    screen.press("ctrl-c")
    screen.wait_for("Stopped.")
    assert (folder / "files" / "a.txt").read_text() == "one\n"
    # What was left is a call: the question comes again.
    screen.type("\r")
    screen.wait_for("[n]ever:", behind="Stopped.")
    screen.type("never\r")
    screen.wait_for("🤖 Well.")
    assert (folder / "files" / "a.txt").read_text() == "one\n"


def test_an_escape_sequence_that_is_typed_does_nothing(chat, model):
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    screen.type("Hel\x1b[31mlo")
    assert "Traceback" not in screen.wait_for("> Hello")


def test_timed_heartbeats_appear_above_the_line_that_is_being_written(chat, model, folder):
    write_settings(folder, model, "[agent]\nheartbeat_minutes = 0.02\n")
    model.answers = [said("Tick."), said("Tack.")]
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    screen.type("half a li")
    screen.wait_for("🤖 Tick.")
    screen.wait_for("> half a li", behind="🤖 Tick.")
    screen.wait_for("🤖 Tack.")
    screen.wait_for("> half a li", behind="🤖 Tack.")
    assert "💓 timed heartbeat" in screen.text


def test_a_line_that_is_sent_while_a_heartbeat_is_written_parts_nothing(chat, model, folder):
    write_settings(folder, model, "[agent]\nheartbeat_minutes = 0.02\n")
    model.answers = [said("Tick ", HOLD, "tack."), said("Answer.")]
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    screen.type("my line")
    assert model.holding.wait(30)
    screen.press("enter")
    model.go_on.set()
    text = screen.wait_for("🤖 Answer.")
    assert re.search(r"🤖 Tick\s+tack\.", text), text


def test_a_heartbeat_that_fails_is_one_line_and_the_next_one_comes(chat, model, folder):
    write_settings(folder, model, "[agent]\nheartbeat_minutes = 0.02\n")
    model.answers = [500, said("Tick.")]
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    screen.type("half a li")
    screen.wait_for("It is broken today.")
    screen.wait_for("> half a li", behind="It is broken today.")
    text = screen.wait_for("🤖 Tick.")
    assert "Traceback" not in text
    assert text.count("It is broken today.") == 1


def test_a_question_at_a_heartbeat_keeps_the_line_that_is_being_written(chat, model, folder):
    (folder / "files").mkdir()
    (folder / "files" / "a.txt").write_text("one\n")
    write_settings(
        folder,
        model,
        '[agent]\nheartbeat_minutes = 0.03\npreset = "memgpt_extras"\nfiles = "files"\n',
    )
    model.answers = [called("append_to_text_file", APPEND)]
    screen = chat("--first", "--no-verify")
    screen.wait_for_prompt()
    screen.type("half a li")
    screen.wait_for("[n]ever:")
    screen.type("once\r")
    screen.wait_for("🟢")
    screen.wait_for("> half a li", behind="🟢")
    assert (folder / "files" / "a.txt").read_text() == "one\ntwo\n"
