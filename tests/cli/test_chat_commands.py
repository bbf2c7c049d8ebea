"""Every slash command of `llmgate chat`, in a real pseudo-terminal, with the scripted model."""

from __future__ import annotations

import json
import re
import sys

import pytest

pytest.importorskip("pexpect", reason="there are no pseudo-terminals here")
pytest.importorskip("pyte")
if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals here", allow_module_level=True)

from terminals import CHAT, Terminal


def call(function, arguments, thoughts=""):
    return json.dumps({"function": function, "params": {"inner_thoughts": thoughts, **arguments}})


def said(text, thoughts=""):
    return call("send_message", {"message": text}, thoughts)


COMMANDS = (
    "/save /exit /memory /dump /dumpraw /pop /retry /rewrite /rethink /summarize /heartbeat "
    "/memorywarning /attach /model /undo /approve /raw /cache /help //"
)
GOES_ON = {"request_heartbeat": True}
NAMED = call("core_memory_append", {"name": "human", "content": "Name: Bo", **GOES_ON}, "Keep it.")


@pytest.fixture
def chat(tmp_path):
    """Opens a terminal with a scripted model, given its answers."""
    opened = []
    (tmp_path / "llmgate.toml").write_text(
        '[models.actor]\nbackend = "scripted"\npath = "play.json"\ncontext = 16384\n'
        'wrapper = "chatml"\noptions = {inner_thoughts = "inside"}\n'
        '[models.other]\nbackend = "scripted"\npath = "other.json"\ncontext = 16384\n'
        'wrapper = "chatml"\noptions = {inner_thoughts = "inside"}\n'
        '[storage]\nurl = "sqlite:store.db"\nvectors = "sqlite:vectors.db"\n'
    )
    (tmp_path / "other.json").write_text(json.dumps([said("I am another one.")]))

    def open_one(*answers, arguments=("--first", "--no-verify"), ready="", **options):
        (tmp_path / "play.json").write_text(json.dumps(answers))
        env = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_DATA_HOME": str(tmp_path / "data")}
        opened.append(Terminal(*CHAT, *arguments, folder=tmp_path, env=env, **options))
        if ready:
            opened[-1].wait_for(ready)
        else:
            opened[-1].wait_for_prompt()
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.close()


def test_help_save_and_exit_under_all_their_names(chat):
    screen = chat()
    text = screen.enter("/help")
    for name in COMMANDS.split():
        assert re.search(rf"^{name} ", text, re.MULTILINE), name
    assert "/memorywarning" in screen.enter("/")
    for name in ("/save", "/savechat"):
        assert "Everything is saved as it happens" in screen.enter(name)
    screen.type("/quit\r")
    assert screen.ended() == 0


def test_an_unknown_command_a_shell_command_and_nothing_are_refused_with_a_hint(chat):
    screen = chat(said("Hello."))
    assert "There is no /memry. Did you mean /memory? /help lists" in screen.enter("/memry")
    assert "There is no /xyz. /help lists" in screen.enter("/xyz")
    assert "! runs nothing here" in screen.enter("!ls")
    assert "🤖 Hello." in screen.enter("Hello!")
    assert "an empty line says nothing" in screen.enter("")


def test_memory_shows_all_tiers_and_one_block(chat):
    screen = chat(NAMED, said("Hello Bo."), call("archival_memory_insert", {
        "content": "Bo likes\ntea.", **GOES_ON}), said("Kept."))  # fmt: skip
    screen.enter("My name is Bo.")
    screen.enter("I like tea.")
    text = screen.enter("/memory")
    assert re.search(r"^persona \(\d+ of 2,000 characters\)$", text, re.MULTILINE)
    assert "\n  Name: Bo\n" in text
    assert re.search(r"recall memory\n  \d+ messages: ", text)
    assert "archival memory\n  1 passage\n  - Bo likes tea." in text
    one = screen.enter("/memory human")
    assert "Name: Bo" in one
    assert "persona" not in one.replace("/memory", "")


def test_memory_is_set_logged_compared_and_undone(chat):
    screen = chat(NAMED, said("Hello Bo."), said("So it is."))
    screen.enter("My name is Bo.")
    assert "human has 9 of 2,000 characters" in screen.enter("/memory set human Name: Bob")
    text = screen.enter("/memory diff human")
    assert "-Name: Bo\n" in text
    assert "+Name: Bob\n" in text
    log = screen.enter("/memory log human")
    assert re.search(r"^2 .* agent agent +append ", log, re.MULTILINE)
    assert re.search(r"^3 .* user +rewrite ", log, re.MULTILINE)
    assert "+Name: Bo\n" in screen.enter("/memory undo human")
    assert "Name: Bo\n" in screen.enter("/memory human")
    # The agent is told before it answers next.
    screen.enter("What is my name?")
    assert "human" in screen.enter("/dump 4").split("event:system_alert")[-1]


def test_memory_is_edited_by_hand(chat):
    screen = chat()
    screen.enter("/memory set human Name: Bo")
    screen.type("/memory edit human\r")
    screen.wait_for("keeps it, Ctrl-C leaves it as it was.\nName: Bo")
    screen.type("\rAge: 7")
    screen.press("alt-enter")
    screen.wait_for("human has 15 of 2,000 characters")
    screen.wait_for_prompt()
    screen.type("/memory edit human\r")
    screen.wait_for("Age: 7", behind="is told before it answers next.")
    screen.wait_for("Age: 7", behind="leaves it as it was.")
    screen.press("ctrl-c")
    screen.wait_for("Left as it was.")
    assert "  Name: Bo\n  Age: 7\n" in screen.enter("/memory human")


IMPOSSIBLE = {
    "/memory eddit human": "/memory does not know 'eddit'",
    "/memory log": "needs a label. There are: persona, human.",
    "/memory log humen": "unknown block 'humen'. Did you mean 'human'?",
    "/memory undo human": "nothing to undo",
    "/pop x": "'x' is no number",
    "/dump -1": "'-1' is no number",
    "/rewrite": "/rewrite needs a text",
    "/rethink": "/rethink needs a text",
    "/rewrite Something.": "",
    "/retry": "",
    "/model actr": "'actr'",
    "/attach nowhere": "nowhere",
    "/attach -nowhere": "nowhere",
    "/approve core_memory_append sometimes": "'sometimes' is no rule",
    "/approve core_memory_append": "/approve core_memory_append needs a rule",
    "/approve core_memory_apend allow": "Did you mean 'core_memory_append'?",
    "/memory set human": "/memory set human needs a text",
}


def test_what_a_command_cannot_do_is_one_line(chat):
    screen = chat(columns=300)
    for line, problem in IMPOSSIBLE.items():
        text = screen.enter(line)
        assert problem in text
        assert "Traceback" not in text
        # The line itself, one that says what is wrong, and the next prompt.
        assert len(text.strip().splitlines()) == 3, text


def test_dump_numbers_messages_from_the_end(chat):
    screen = chat(said("One.", "First."), said("Two.", "Second."))
    screen.enter("Say one.")
    screen.enter("Say two.")
    text = screen.enter("/dump 2")
    assert re.search(r"^\[2\] assistant .*\n  Second\.\n  ⚡ send_message\(message=\"Two\.\"\)",
                     text, re.MULTILINE)  # fmt: skip
    assert re.search(r"^\[1\] result ", text, re.MULTILINE)
    assert "Say one." not in text
    assert "Say one." in screen.enter("/dump")


def test_dumpraw_gives_json(chat):
    screen = chat(said("One."), columns=1000)
    screen.enter("Say one.")
    lines = [line for line in screen.enter("/dumpraw 2").splitlines() if line.startswith("{")]
    assert [json.loads(line)["kind"] for line in lines] == ["assistant", "result"]


def test_pop_takes_messages_back_and_keeps_calls_with_their_results(chat):
    screen = chat(said("One."), said("Two."))
    screen.enter("Say one.")
    screen.enter("Say two.")
    assert re.search(r"Took back \d messages", screen.enter("/pop 3"))
    text = screen.enter("/dump")
    assert "Two." not in text
    assert "One." in text
    for _ in range(6):
        screen.enter("/pop")
    assert "nothing that can be taken back" in screen.enter("/pop")


def test_undo_takes_the_last_message_back(chat):
    screen = chat(said("One."), said("Two."))
    screen.enter("Say one.")
    screen.enter("Say two.")
    assert "Took back all since: Say two." in screen.enter("/undo")
    text = screen.enter("/dump")
    assert "Say two." not in text
    assert "Say one." in text
    screen.enter("/undo")
    assert "no message of yours" in screen.enter("/undo")


def test_retry_answers_the_last_message_again(chat):
    screen = chat(said("One."), said("Better."))
    screen.enter("Say it.")
    assert "🤖 Better." in screen.enter("/retry")
    text = screen.enter("/dump")
    assert text.count("Say it.") == 1
    assert "One." not in text


def test_rewrite_and_rethink_change_what_was_said_and_thought(chat):
    screen = chat(said("Onw.", "Hm."))
    screen.enter("Say it.")
    screen.enter("/rewrite One.")
    screen.enter("/rethink A number.")
    text = screen.enter("/dump 2")
    assert 'send_message(message="One.")' in text
    assert "A number." in text
    assert "Onw." not in text
    assert "Hm." not in text


def test_summarize_says_what_came_of_it(chat):
    screen = chat(*(said(f"Answer {number}.") for number in range(8)), "We counted to eight.")
    for number in range(8):
        screen.enter(f"Question {number} {'with many words ' * 4}")
    text = screen.enter("/summarize")
    assert re.search(r"summarising \d+ messages", text)
    assert re.search(
        r"🟢 Summarised. (\d+) messages have left the window by now:\n.*We counted to eight", text
    )


def test_heartbeat_and_memorywarning_send_their_events(chat):
    screen = chat(said("I beat."), said("I am warned."))
    assert "🤖 I beat." in screen.enter("/heartbeat")
    assert "🤖 I am warned." in screen.enter("/memorywarning")
    text = screen.enter("/dump")
    assert "event:heartbeat" in text
    assert "event:system_alert" in text


def test_model_shows_and_changes_the_model(chat):
    screen = chat()
    assert "* actor\n  other\n" in screen.enter("/model")
    assert "  actor\n* other\n" in screen.enter("/model other")
    assert "🤖 I am another one." in screen.enter("Who are you?")


def test_attach_lists_and_attaches_sources(chat, tmp_path):
    screen = chat()
    assert "There are no sources." in screen.enter("/attach")
    screen.type("/exit\r")
    screen.ended()
    write_source(tmp_path / "vectors.db", "handbook", "Open the valve first.")
    search = call("archival_memory_search", {"query": "valve", **GOES_ON})
    screen = chat(search, said("The valve."), columns=200)
    assert "  handbook\n" in screen.enter("/attach")
    screen.type("/attach ha")
    screen.press("tab")
    screen.wait_for("> /attach handbook")
    screen.press("enter")
    screen.wait_for("looks into handbook from now on")
    assert "Open the valve first." in screen.enter("What first?")
    assert "* handbook\n" in screen.enter("/attach")
    assert "does not look into handbook" in screen.enter("/attach -handbook")


def write_source(file, name, text):
    import asyncio

    from llmgate.storage.passages import Passage
    from llmgate.storage.vectors import open_vector_store

    async def write():
        store = await open_vector_store(f"sqlite:{file}")
        await (await store.open(f"source/{name}")).insert(Passage(text, doc_id=name))
        await store.close()

    asyncio.run(write())


def test_approve_remembers_and_forgets(chat):
    screen = chat(NAMED, said("I may not."), said("Hello."))
    assert "Nothing was answered for longer" in screen.enter("/approve")
    assert "deny core_memory_append, from now on." in screen.enter(
        "/approve core_memory_append deny"
    )
    assert "🔴" in screen.enter("My name is Bo.")
    assert "Name: Bo" not in screen.enter("/memory human")
    assert re.search(r"^deny +core_memory_append", screen.enter("/approve"), re.MULTILINE)
    screen.enter("/approve core_memory_append forget")
    assert "Nothing was answered for longer" in screen.enter("/approve")


def test_raw_shows_prompt_grammar_and_what_came_back(chat):
    screen = chat(said("One."))
    assert "not asked yet" in screen.enter("/raw")
    screen.enter("Say one.")
    text = screen.enter("/raw")
    assert "--- prompt\n" in text
    assert "Say one." in text
    assert "root ::=" in text
    assert text.split("--- raw output\n")[1].startswith('{"function": "send_message"')


def test_cache_shows_shares(chat):
    screen = chat(said("One."), said("Two."))
    assert "not asked yet" in screen.enter("/cache")
    screen.enter("Say one.")
    screen.enter("Say two.")
    text = screen.enter("/cache")
    assert "begins with the whole of the one before: nothing is read again." in text
    assert re.search(r"^step +event +prompt +cached +share$", text, re.MULTILINE)
    assert "does not say what it had cached" in text


def test_where_there_are_several_agents_one_is_chosen_unless_asked_not_to(chat):
    for name in ("ann", "bea"):
        screen = chat(said(f"I am {name}."), arguments=("--agent", name, "--yes", "--no-verify"))
        assert f"New agent {name}:" in screen.text
        screen.type("/exit\r")
        assert screen.ended() == 0
    screen = chat(arguments=(), ready="Which agent (Enter for bea, or a new name)?")
    assert "  ann\n* bea\n" in screen.text
    screen.type("an\t")
    screen.wait_for("new name)? ann")
    screen.type("\r")
    assert "I am ann." in screen.enter("/dump")
    screen.type("/exit\r")
    screen.ended()
    screen = chat(arguments=("--yes",))
    assert "Which agent" not in screen.text
    assert "I am ann." in screen.enter("/dump")
    screen.type("/exit\r")
    screen.ended()
    # An unknown name may be a slip of the keyboard.
    screen = chat(arguments=("--agent", "anm"), ready="Make a new agent 'anm' (y/n)?")
    assert "Did you mean 'ann'?" in screen.text
    screen.type("n\r")
    assert screen.ended() == 1


def test_debug_shows_what_is_shortened_otherwise(chat):
    long = "and on " * 60
    script = (call("conversation_search", {"query": long, **GOES_ON}), said("Nothing."))
    screen = chat(*script, arguments=("--first", "--no-verify", "--debug"))
    text = screen.enter("Find it.")
    assert "".join(text.split()).count("andon") == 60
    assert "…" not in text
