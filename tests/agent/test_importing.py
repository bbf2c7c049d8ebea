"""Agents of an old ~/.memgpt: folders made to its documented format, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from agent_doubles import backend_of, home_of, says, steps_of
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmgate import config as configuration
from llmgate.agent import Agent, Home, UserMessage
from llmgate.agent.importing import copy_texts, find, history, store
from llmgate.agent.importing.messages import converted
from llmgate.agent.importing.times import time_of
from llmgate.cli import main
from llmgate.errors import ConfigError, LlmgateError, RequestError, UnknownName

SYSTEM = "You are an old agent."
FUNCTIONS = ["send_message", "core_memory_append", "conversation_search"]


def packaged(kind, minute, **fields):
    time = f"2023-12-01 09:{minute:02}:00 AM"
    return json.dumps({"type": kind, **fields, "time": time})


def user(text, minute):
    return {"role": "user", "content": packaged("user_message", minute, message=text)}


def said(text, thoughts="Say it."):
    return called("send_message", thoughts, message=text)


def called(name, thoughts=None, /, **arguments):
    call = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": thoughts, "function_call": call}


def result(name, minute, message="None", status="OK"):
    time = f"2023-12-01 09:{minute:02}:30 AM"
    content = json.dumps({"status": status, "message": message, "time": time})
    return {"role": "function", "name": name, "content": content}


BOOT = [
    said("More human than human.", "Booting."),
    result("send_message", 0),
    {"role": "user", "content": packaged("login", 0, last_login="Never (first login)")},
]


def exchange(minute):
    return [
        user(f"question {minute}", minute),
        said(f"answer {minute}"),
        result("send_message", minute),
    ]


def state_of(messages, **more):
    return {
        "model": "gpt-4",
        "system": SYSTEM,
        "functions": [{"name": name, "description": "", "parameters": {}} for name in FUNCTIONS],
        "messages": [{"role": "system", "content": f"{SYSTEM}\n### Memory ..."}, *messages],
        "messages_total": len(messages),
        "memory": {"persona": "I am Ann.", "human": "Name: Bo."},
        **more,
    }


def time_name(minute):
    return f"2023-12-01_09_{minute:02}_59_AM"


@pytest.fixture
def memgpt(tmp_path):
    """An old home with nothing but its folders."""
    home = tmp_path / "memgpt"
    for folder in ("agents", "archival", "personas", "humans", "presets", "functions"):
        (home / folder).mkdir(parents=True)
    return home


def old_agent(memgpt, *states, name="ann", config=None):
    """The folder of an agent; `states` are pairs of a minute and a state."""
    folder = memgpt / "agents" / name
    (folder / "agent_state").mkdir(parents=True)
    (folder / "persistence_manager" / "index").mkdir(parents=True)
    config = config or {
        "name": name,
        "persona": "sam_pov",
        "human": "cs_phd",
        "preset": "memgpt_chat",
        "create_time": "2023-11-30 08:00:00 PM",
        "data_sources": [],
    }
    (folder / "config.json").write_text(json.dumps(config))
    for minute, state in states:
        (folder / "agent_state" / f"{time_name(minute)}.json").write_text(json.dumps(state))
    return folder


class Bomb:
    """What no import may ever unpickle."""

    def __reduce__(self):
        return (os.mkdir, ("unpickled",))


def put_pickles(folder):
    pickled = pickle.dumps(Bomb())
    log = folder / "persistence_manager" / f"{time_name(5)}.persistence.pickle"
    log.write_bytes(pickled)
    (folder / "persistence_manager" / "index" / "nodes.pkl").write_bytes(pickled)


async def imported(memgpt, *answers, **more):
    home = await home_of(backend_of(*answers))
    done = await store(home, find(memgpt).chosen("ann"), **more)
    return home, done, await Agent.open(home, done.name)


async def test_messages_memory_and_functions_come_over(memgpt):
    old_agent(memgpt, (5, state_of([*BOOT, *exchange(1), *exchange(2)])))
    _, done, agent = await imported(memgpt)
    assert (done.messages, done.window, done.total) == (9, 9, 9)
    assert agent.state.system == SYSTEM
    assert agent.state.functions == tuple(FUNCTIONS)
    assert (agent.state.persona, agent.state.preset) == ("sam_pov", "memgpt_chat")
    assert [block.value for block in await agent.core.blocks()] == ["I am Ann.", "Name: Bo."]
    window, logged, summary = await agent.conversation.load()
    assert summary is None
    assert SYSTEM in window.head
    assert "Name: Bo." in window.head
    assert [each.kind for each in logged] == [
        "boot",
        "boot",
        "event:login",
        *("event:user_message", "assistant", "result") * 2,
    ]
    call = logged[4].message.tool_calls[0]
    assert json.loads(call.arguments) == {"message": "answer 1"}
    assert logged[4].message.content == "Say it."
    assert logged[5].message.tool_call_id == call.id
    ids = [call.id for each in logged for call in each.message.tool_calls]
    assert len(set(ids)) == len(ids) == 3


async def test_the_turns_are_as_they_were_and_so_are_their_times(memgpt):
    old_agent(memgpt, (5, state_of([*BOOT, *exchange(7)])))
    _, _, agent = await imported(memgpt)
    _, logged, _ = await agent.conversation.load()
    assert logged[3].message.content == exchange(7)[0]["content"]
    there = datetime(2023, 12, 1, 9, 7).astimezone()
    assert [each.at for each in logged[3:5]] == [there, there]
    assert logged[5].at == datetime(2023, 12, 1, 9, 7, 30).astimezone()
    assert agent.state.created_at == datetime(2023, 11, 30, 20).astimezone()
    assert agent.state.last_seen == there


async def test_recall_finds_what_was_said_on_its_day_and_not_the_boot_messages(memgpt):
    old_agent(memgpt, (5, state_of([*BOOT, *exchange(1)])))
    _, _, agent = await imported(memgpt)
    assert (await agent.recall.search("answer")).total == 1
    assert (await agent.recall.search("human than human")).total == 0
    day = date(2023, 12, 1)
    assert (await agent.recall.search_dates(day, day)).total == 2


async def test_the_history_of_a_block_says_that_it_was_imported(memgpt):
    old_agent(memgpt, (5, state_of(BOOT)))
    _, _, agent = await imported(memgpt)
    [edit] = await agent.core.log("human")
    assert (edit.kind, edit.by, edit.after) == ("create", "import", "Name: Bo.")


async def test_an_imported_agent_goes_on(memgpt):
    old_agent(memgpt, (5, state_of([*BOOT, *exchange(1)])))
    _, _, agent = await imported(memgpt, says("I know you, Bo."))
    assert not agent.pending
    [step] = await steps_of(agent, UserMessage("Who am I?"))
    assert (step.ok, step.said) == (True, "I know you, Bo.")


async def test_a_preset_gives_the_agent_a_prompt_and_functions_of_llmgate(memgpt):
    old_agent(memgpt, (5, state_of(BOOT)))
    _, _, agent = await imported(memgpt, preset="memgpt_docs")
    assert agent.state.preset == "memgpt_docs"
    assert "passages" in agent.state.system
    assert "archival_memory_search" in agent.state.functions


async def test_older_states_give_back_what_has_left_the_window(memgpt):
    alert = {"role": "user", "content": packaged("system_alert", 9, message="6 are hidden. Bo.")}
    first = [*BOOT, *exchange(1), *exchange(2)]
    second = [alert, *exchange(2), *exchange(3)]
    old_agent(memgpt, (4, state_of(first)), (8, state_of(second, messages_total=12)))
    _, done, agent = await imported(memgpt)
    assert (done.messages, done.window) == (13, 7)
    _, logged, _ = await agent.conversation.load()
    assert [each.kind for each in logged][:2] == ["event:system_alert", "event:user_message"]
    assert (await agent.recall.search("question 1")).total == 1
    assert (await agent.recall.search("question 2")).total == 1


def test_states_with_nothing_in_common_leave_a_gap():
    alert = {"role": "user", "content": packaged("system_alert", 9, message="hidden")}
    merged = history.merged([[*exchange(1)], [alert, *exchange(5)]])
    assert merged.messages == (*exchange(1), alert, *exchange(5))
    assert (merged.window, merged.gaps, merged.taken_back) == (3, 1, 0)


def test_a_summary_that_both_states_have_is_there_once():
    alert = {"role": "user", "content": packaged("system_alert", 9, message="hidden")}
    merged = history.merged([[alert, *exchange(1)], [alert, *exchange(1), *exchange(2)]])
    assert merged.messages == (alert, *exchange(1), *exchange(2))
    assert (merged.window, merged.gaps) == (0, 0)


def test_what_was_taken_back_later_is_left_out_and_counted():
    merged = history.merged([[*BOOT, *exchange(1), *exchange(2)], [*BOOT, *exchange(1)]])
    assert merged.messages == (*BOOT, *exchange(1))
    assert (merged.window, merged.taken_back) == (0, 3)


def test_a_message_that_was_said_anew_stands_in_the_place_of_the_first():
    first = [*BOOT, user("Hi", 1), said("Go away."), result("send_message", 1), *exchange(2)]
    second = [*BOOT, user("Hi", 1), said("Hello."), result("send_message", 1), *exchange(2)]
    merged = history.merged([first, second])
    assert merged.messages == tuple(second)
    assert merged.taken_back == 1


async def test_pickles_are_named_and_never_read(memgpt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put_pickles(old_agent(memgpt, (5, state_of(BOOT, messages_total=812))))
    _, done, _ = await imported(memgpt)
    log, archive = done.unread
    assert ".persistence.pickle" in log
    assert "809 of its 812 messages" in log
    assert "nodes.pkl" in archive
    assert "archival memory" in archive
    assert not (tmp_path / "unpickled").exists()


async def test_archival_memory_that_is_json_comes_over(memgpt):
    folder = old_agent(memgpt, (5, state_of(BOOT)))
    node = {"id_": "2", "text": "Bo has a dog called Rex."}
    data = {
        "1": {"__data__": {"text": "Ann likes the sea."}, "__type__": "1"},
        "2": {"__data__": json.dumps(node), "__type__": "1"},
    }
    index = folder / "persistence_manager" / "index" / "docstore.json"
    index.write_text(json.dumps({"docstore/data": data}))
    _, done, agent = await imported(memgpt)
    assert done.passages == 2
    found = await agent.archival.search("dog")
    assert [each.text for each in found.found] == ["Bo has a dog called Rex."]


async def test_importing_again_changes_nothing(memgpt):
    folder = old_agent(memgpt, (5, state_of([*BOOT, *exchange(1)])))
    home, _, agent = await imported(memgpt)
    await agent.core.append("human", "Likes tea.")
    again = await store(home, folder)
    assert again.again
    assert (await agent.core.get("human")).value == "Name: Bo.\nLikes tea."
    assert await agent.conversation.end() == 6


async def test_another_agent_of_that_name_is_not_written_over(memgpt):
    folder = old_agent(memgpt, (5, state_of(BOOT)))
    home = await home_of(backend_of(says("Hi")))
    await Agent.create(home, "ann")
    with pytest.raises(RequestError, match=r"'ann' is there already.*--as NAME"):
        await store(home, folder)
    done = await store(home, folder, name="old ann")
    assert (done.name, await home.agents()) == ("old ann", ("ann", "old ann"))


async def test_a_later_state_of_an_imported_agent_goes_under_another_name(memgpt):
    folder = old_agent(memgpt, (5, state_of(BOOT)))
    home, _, _ = await imported(memgpt)
    later = folder / "agent_state" / f"{time_name(9)}.json"
    later.write_text(json.dumps(state_of([*BOOT, *exchange(8)])))
    with pytest.raises(RequestError, match="was imported from an earlier state"):
        await store(home, folder)


async def test_a_deleted_agent_can_be_imported_again(memgpt):
    folder = old_agent(memgpt, (5, state_of(BOOT)))
    home, first, _ = await imported(memgpt)
    await home.delete("ann")
    second = await store(home, folder)
    assert not second.again
    assert second.messages == first.messages == 3


async def test_the_newest_state_counts_whatever_the_files_say_of_their_times(memgpt):
    folder = old_agent(
        memgpt,
        (5, state_of(BOOT, memory={"persona": "old", "human": "old"})),
        (7, state_of(BOOT, memory={"persona": "new", "human": "new"})),
    )
    os.utime(folder / "agent_state" / f"{time_name(7)}.json", (1, 1))
    _, _, agent = await imported(memgpt)
    assert (await agent.core.get("human")).value == "new"


async def test_a_torn_state_is_passed_over_and_named(memgpt):
    folder = old_agent(memgpt, (5, state_of([*BOOT, *exchange(1)])))
    torn = folder / "agent_state" / f"{time_name(9)}.json"
    torn.write_text(json.dumps(state_of(BOOT))[:200])
    _, done, _ = await imported(memgpt)
    assert done.messages == 6
    assert any(torn.name in note and "not valid JSON" in note for note in done.notes)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "is no object"),
        ("{}", "no list of messages"),
        ('{"messages": []}', "has no memory"),
        ('{"messages": 5, "memory": {}}', "no list of messages"),
        ("[" * 5000, "not valid JSON"),
        ("\ud800".encode("utf-16", "surrogatepass"), "not valid JSON"),
    ],
)
async def test_what_cannot_be_read_is_one_line_with_the_file(memgpt, state, said):
    folder = old_agent(memgpt)
    raw = state if isinstance(state, bytes) else state.encode()
    (folder / "agent_state" / "x.json").write_bytes(raw)
    home = await home_of(backend_of(says("Hi")))
    with pytest.raises(ConfigError, match=said) as error:
        await store(home, folder)
    assert "x.json" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert await home.agents() == ()


async def test_no_saved_state_at_all_is_an_error(memgpt):
    folder = old_agent(memgpt)
    home = await home_of(backend_of(says("Hi")))
    with pytest.raises(ConfigError, match="no saved state that can be read"):
        await store(home, folder)


@pytest.mark.parametrize("config", ["", "[]", "{"])
async def test_without_a_configuration_the_agent_is_called_like_its_folder(memgpt, config):
    folder = old_agent(memgpt, (5, state_of(BOOT)))
    (folder / "config.json").write_text(config)
    _, done, agent = await imported(memgpt)
    assert done.name == "ann"
    assert any("config.json" in note for note in done.notes)
    assert agent.state.created_at is not None


def test_calls_without_results_and_results_without_calls_are_mended():
    turns = converted(
        [
            result("send_message", 1),
            user("Hi", 2),
            said("Hello."),
            user("Still there?", 3),
            called("core_memory_append", name="human", content="x"),
        ],
        0,
        datetime(2023, 1, 1, tzinfo=UTC),
    )
    assert [kind for kind, _, _ in turns.messages] == [
        "event:system_alert",
        "event:user_message",
        "assistant",
        "result",
        "event:user_message",
        "assistant",
        "result",
    ]
    for place in (3, 6):
        content = json.loads(turns.messages[place][2].content)
        assert content["status"] == "Failed"
        assert "not saved" in content["message"]
    assert len(turns.problems) == 3


def test_a_window_that_begins_with_a_result_begins_with_its_call():
    messages = [*exchange(1), *exchange(2)]
    turns = converted(messages, 5, datetime(2023, 1, 1, tzinfo=UTC))
    assert (len(turns.messages), turns.window, turns.problems) == (6, 4, ())
    turns = converted(messages, 6, datetime(2023, 1, 1, tzinfo=UTC))
    assert (len(turns.messages), turns.window) == (6, 6)


def test_faulty_arguments_are_mended_and_said():
    call = {"name": "send_message", "arguments": '{"message": "Hi",}'}
    turns = converted(
        [{"role": "assistant", "content": None, "function_call": call}, result("send_message", 1)],
        0,
        datetime(2023, 1, 1, tzinfo=UTC),
    )
    [made] = turns.messages[0][2].tool_calls
    assert json.loads(made.arguments) == {"message": "Hi"}
    assert any("mended" in problem for problem in turns.problems)


def test_calls_of_the_later_form_keep_to_their_results():
    def call(number):
        inner = {"name": "send_message", "arguments": json.dumps({"message": str(number)})}
        return {"id": f"id{number}", "type": "function", "function": inner}

    turns = converted(
        [
            {"role": "assistant", "content": None, "tool_calls": [call(1), call(2)]},
            {"role": "tool", "tool_call_id": "id2", "name": "send_message", "content": "two"},
            {"role": "tool", "tool_call_id": "id1", "name": "send_message", "content": "one"},
        ],
        0,
        datetime(2023, 1, 1, tzinfo=UTC),
    )
    first, second = turns.messages[0][2].tool_calls
    answers = {each.tool_call_id: each.content for _, _, each in turns.messages[1:]}
    assert answers == {first.id: "one", second.id: "two"}


@pytest.mark.parametrize("junk", [5, None, "text", [], {}, {"role": "alien"}, {"role": 5}])
def test_what_is_no_message_is_left_out_and_said(junk):
    turns = converted([user("Hi", 1), junk, user("Ho", 2)], 0, datetime(2023, 1, 1, tzinfo=UTC))
    assert len(turns.messages) == 2
    assert turns.problems == ("message 2 has no role that is known: left out",)


def test_plain_words_of_a_person_are_packaged():
    [(kind, _, message)] = converted(
        [{"role": "user", "content": "Hi there", "name": "bo"}], 0, datetime(2023, 1, 1, tzinfo=UTC)
    ).messages
    assert kind == "event:user_message"
    assert json.loads(message.content)["message"] == "Hi there"
    assert message.name == "bo"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-12-01 09:00:02 AM", datetime(2023, 12, 1, 9, 0, 2).astimezone()),
        ("2023-12-01 12:00:02 AM ", datetime(2023, 12, 1, 0, 0, 2).astimezone()),
        ("2023-12-01_12_00_02_PM", datetime(2023, 12, 1, 12, 0, 2).astimezone()),
        ("2023-12-01 09:00:02 PM PST-0800", datetime(2023, 12, 2, 5, 0, 2, tzinfo=UTC)),
        ("2023-12-01_09_00_02_PM_CET+0100", datetime(2023, 12, 1, 20, 0, 2, tzinfo=UTC)),
        ("2023-12-01 21:00:02", datetime(2023, 12, 1, 21, 0, 2).astimezone()),
        ("2023-13-01 21:00:02", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_times_are_read_as_they_were_written(text, expected):
    assert time_of(text) == expected


async def test_what_the_agent_had_and_is_not_there_is_said(memgpt):
    config = {"name": "ann", "data_sources": ["handbook"]}
    functions = [{"name": "send_message"}, {"name": "fly"}]
    memory = {"persona": "x" * 2500, "human": None, "mood": 5, "a/b": "text", "goals": "Tea."}
    state = state_of(BOOT, functions=functions, memory=memory)
    old_agent(memgpt, (5, state), config=config)
    _, done, agent = await imported(memgpt)
    notes = "\n".join(done.notes)
    for what in ("'fly'", "'handbook'", "'gpt-4'", "2500 characters", "'mood'", "'a/b'"):
        assert what in notes
    blocks = {block.label: block for block in await agent.core.blocks()}
    assert {label: len(block.value) for label, block in blocks.items()} == {
        "persona": 2500,
        "human": 0,
        "goals": 4,
    }
    assert blocks["persona"].limit == 2500


def test_texts_are_copied_if_they_are_new(memgpt, tmp_path):
    ours = tmp_path / "config"
    (ours / "humans").mkdir(parents=True)
    (ours / "humans" / "me.txt").write_text("mine")
    (memgpt / "personas" / "iris.txt").write_text("I am Iris.")
    (memgpt / "personas" / "long.txt").write_text("x" * 3000)
    (memgpt / "humans" / "me.txt").write_text("theirs")
    (memgpt / "presets" / "good.yaml").write_text(
        "system_prompt: mine\nfunctions: [send_message]\n"
    )
    (memgpt / "presets" / "bad.yaml").write_text("system_prompt: mine\nfunctions: [fly]\n")
    (memgpt / "system_prompts").mkdir()
    (memgpt / "system_prompts" / "mine.txt").write_text("Be brief.")
    (memgpt / "functions" / "mine.py").write_text("raise SystemExit")
    found = {f"{each.kind}/{each.name}": each for each in copy_texts(memgpt, ours, FUNCTIONS)}
    assert {name: each.done for name, each in found.items()} == {
        "personas/iris": "copied",
        "personas/long": "left",
        "humans/me": "left",
        "system_prompts/mine": "copied",
        "presets/good": "copied",
        "presets/bad": "left",
        "functions/mine": "left",
    }
    assert "3000" in found["personas/long"].why
    assert "'fly'" in found["presets/bad"].why
    assert (ours / "personas" / "iris.txt").read_text() == "I am Iris."
    assert (ours / "humans" / "me.txt").read_text() == "mine"
    assert sorted(path.name for path in (ours / "presets").iterdir()) == ["good.yaml"]
    assert not (ours / "functions").exists()
    again = {each.name: each.done for each in copy_texts(memgpt, ours, FUNCTIONS)}
    assert (again["iris"], again["good"]) == ("same", "same")


def test_an_agents_own_folder_can_be_given(memgpt):
    folder = old_agent(memgpt, (5, state_of(BOOT)))
    assert find(folder).agents == {"ann": folder}
    assert find(folder).home == memgpt


def test_agents_that_a_later_memgpt_had_moved_are_found(memgpt):
    folder = old_agent(memgpt, (5, state_of(BOOT)))
    moved = memgpt / "migration_backups" / "agents"
    moved.mkdir(parents=True)
    folder.rename(moved / "ann")
    (memgpt / "sqlite.db").touch()
    found = find(memgpt)
    assert found.agents == {"ann": moved / "ann"}
    assert found.databases() == (memgpt / "sqlite.db",)


def test_a_folder_of_something_else_is_refused(tmp_path, memgpt):
    with pytest.raises(ConfigError, match="there is no folder"):
        find(tmp_path / "gone")
    with pytest.raises(ConfigError, match="has no agents of MemGPT"):
        find(tmp_path)
    assert find(memgpt).agents == {}
    old_agent(memgpt, (5, state_of(BOOT)))
    with pytest.raises(UnknownName, match="Did you mean 'ann'"):
        find(memgpt).chosen("anne")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "function_call", "name", "arguments", "tool_calls", "id", "x"]
            ),
            inner | st.sampled_from(["user", "assistant", "function", "tool", "system"]),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(
    states=st.lists(
        st.fixed_dictionaries(
            {"messages": st.lists(JUNK, max_size=6) | JUNK, "memory": JUNK},
            optional={"system": JUNK, "functions": JUNK, "model": JUNK, "messages_total": JUNK},
        ),
        min_size=1,
        max_size=3,
    ),
    config=JUNK,
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_is_in_the_files_an_import_works_or_says_why(tmp_path, states, config):
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        saved = Path(folder) / "agent_state"
        saved.mkdir()
        (Path(folder) / "config.json").write_text(json.dumps(config))
        for number, state in enumerate(states):
            (saved / f"{time_name(number)}.json").write_text(json.dumps(state))
        home = await home_of(backend_of(says("Hi")))
        try:
            done = await store(home, Path(folder), name="ann")
        except LlmgateError as error:
            said = str(error)
            done = None
        if done is None:
            assert len(said.splitlines()) == 1
            return
        agent = await Agent.open(home, "ann")
        _, logged, _ = await agent.conversation.load()
        assert len(logged) == done.window <= done.messages
        wanted = [call.id for each in logged for call in each.message.tool_calls]
        given_ = [each.message.tool_call_id for each in logged if each.message.role == "tool"]
        assert set(given_) == set(wanted)


# -- the command


@pytest.fixture
def ours(tmp_path, monkeypatch):
    """The user's own folders, empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def llmgate(*arguments):
    return CliRunner().invoke(main, ("import", *map(str, arguments)), catch_exceptions=False)


def agents():
    async def names():
        async with await Home.open(configuration.load()) as home:
            return await home.agents()

    return asyncio.run(names())


def test_the_command_reports_all_of_it(memgpt, ours):
    put_pickles(old_agent(memgpt, (5, state_of([*BOOT, *exchange(1)], messages_total=812))))
    (memgpt / "personas" / "iris.txt").write_text("I am Iris.")
    (memgpt / "archival" / "handbook").mkdir()
    (memgpt / "archival" / "handbook" / "nodes.pkl").write_bytes(pickle.dumps(Bomb()))
    done = llmgate(memgpt)
    assert done.exit_code == 0
    assert agents() == ("ann",)
    for said in (
        "ann: 6 messages of 812, 6 of them in its window",
        "personas/iris was copied",
        "'gpt-4' is not configured",
        "Can't be read",
        "806 of its 812 messages",
        "source 'handbook'",
    ):
        assert said in done.stdout
    again = llmgate(memgpt)
    assert again.exit_code == 0
    assert "ann was imported before: nothing has changed" in again.stdout
    assert not os.path.exists("unpickled")


def test_a_source_that_is_json_comes_over_and_is_attached(memgpt, ours):
    config = {"name": "ann", "data_sources": ["handbook"]}
    old_agent(memgpt, (5, state_of(BOOT)), config=config)
    (memgpt / "archival" / "handbook").mkdir()
    data = {"docstore/data": {"1": {"__data__": {"text": "Press the red button."}}}}
    (memgpt / "archival" / "handbook" / "docstore.json").write_text(json.dumps(data))
    done = llmgate(memgpt, "--json")
    found = json.loads(done.stdout)
    assert found["sources"] == {"handbook": 1}
    assert not [note for note in found["agents"][0]["notes"] if "handbook" in note]

    async def searched():
        async with await Home.open(configuration.load()) as home:
            agent = await Agent.open(home, "ann")
            return agent.state.sources, await agent.archival.search("button")

    sources, page = asyncio.run(searched())
    assert sources == ("handbook",)
    assert [each.text for each in page.found] == ["Press the red button."]


def test_of_several_agents_one_is_chosen_or_all(memgpt, ours):
    old_agent(memgpt, (5, state_of(BOOT)))
    old_agent(memgpt, (5, state_of(BOOT)), name="bo")
    done = llmgate(memgpt)
    assert done.exit_code == 2
    assert "2 agents: ann, bo" in done.stderr
    assert llmgate(memgpt, "--agent", "bo").exit_code == 0
    assert agents() == ("bo",)
    done = llmgate(memgpt, "--all")
    assert done.exit_code == 0
    assert agents() == ("ann", "bo")
    assert llmgate(memgpt, "--all", "--as", "x").exit_code == 2
    assert llmgate(memgpt, "--all", "--agent", "bo").exit_code == 2
    assert "Did you mean 'ann'" in llmgate(memgpt, "--agent", "anne").stderr


def test_one_broken_agent_does_not_stop_the_others(memgpt, ours):
    old_agent(memgpt, (5, state_of(BOOT)))
    broken = old_agent(memgpt, name="bo")
    (broken / "agent_state" / "x.json").write_text("{")
    done = llmgate(memgpt, "--all")
    assert done.exit_code == 1
    assert "bo was not imported" in done.stdout
    assert agents() == ("ann",)


def test_another_name_is_taken(memgpt, ours):
    old_agent(memgpt, (5, state_of(BOOT)))
    put_pickles(memgpt / "agents" / "ann")
    renamed = llmgate(memgpt, "--agent", "ann", "--as", "anna")
    assert renamed.exit_code == 0
    # Files are named as they are there, not as the agent is called here.
    assert "  ann/persistence_manager/" in renamed.output
    assert agents() == ("anna",)


def test_a_folder_that_cannot_be_read_is_one_line(ours, tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "llmgate", "import", str(tmp_path / "gone")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith("llmgate: there is no folder")
