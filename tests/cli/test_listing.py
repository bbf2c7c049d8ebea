"""list, add, delete, attach, open and version, as a person runs them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from llmgate import __version__
from llmgate import config as configuration
from llmgate.agent import Agent, Home
from llmgate.cli import main, tables
from llmgate.storage.passages import Passage


@pytest.fixture
def user(tmp_path, monkeypatch):
    """The user's own folders, empty; the config folder is returned."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config" / "llmgate"


def llmgate(*arguments, stdin=""):
    return CliRunner().invoke(main, arguments, input=stdin, catch_exceptions=False)


def made(*names, source=None):
    """Agents, and a source with three passages."""

    async def make():
        async with await Home.open(configuration.load()) as home:
            for name in names:
                await (await Agent.create(home, name)).aclose()
            if source is not None:
                async with await home.open_collection(f"source/{source}") as passages:
                    await passages.insert_many(Passage(text) for text in ("one", "two", "three"))

    asyncio.run(make())


def listed(kind):
    done = llmgate("list", kind, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)[kind]


def test_with_nothing_stored_lists_are_empty_and_make_no_store(user, tmp_path):
    for kind in ("agents", "sources"):
        done = llmgate("list", kind)
        assert (done.exit_code, done.stdout) == (0, "")
        assert "no" in done.stderr
        assert listed(kind) == []
    assert not (tmp_path / "data").exists()


def test_agents_are_listed_with_what_they_are_made_of(user):
    made("ann", "bo", source="handbook")
    assert llmgate("attach", "--agent", "bo", "--source", "handbook").exit_code == 0
    ann, bo = listed("agents")
    assert ann["name"] == "ann"
    assert (ann["preset"], ann["persona"], ann["human"]) == ("pilot", "pilot", "pilot")
    assert ann["messages"] == 3
    assert (ann["sources"], bo["sources"]) == ([], ["handbook"])
    plain = llmgate("list", "agents").stdout.splitlines()
    assert plain[0].split()[:3] == ["name", "preset", "model"]
    assert [line.split()[0] for line in plain[1:]] == ["ann", "bo"]


def test_sources_are_listed_with_their_passages_and_agents(user):
    made("ann", source="handbook")
    assert listed("sources") == [{"name": "handbook", "passages": 3, "agents": []}]
    llmgate("attach", "--agent", "ann", "--source", "handbook")
    assert listed("sources") == [{"name": "handbook", "passages": 3, "agents": ["ann"]}]


def test_attaching_twice_and_detaching_say_so(user):
    made("ann", source="handbook")
    arguments = ("attach", "--agent", "ann", "--source", "handbook")
    assert "now searches handbook" in llmgate(*arguments).stdout
    assert "already searched handbook" in llmgate(*arguments).stdout
    assert "no longer searches handbook" in llmgate(*arguments, "--detach").stdout
    assert listed("agents")[0]["sources"] == []
    done = llmgate(*arguments, "--detach")
    assert done.exit_code == 2
    assert "unknown source 'handbook' of the agent 'ann'" in done.stderr


def test_attaching_what_is_not_there_lists_what_is(user):
    assert "unknown agent 'ann'" in llmgate("attach", "--agent", "ann", "--source", "x").stderr
    made("ann", source="handbook")
    done = llmgate("attach", "--agent", "anne", "--source", "handbook")
    assert done.exit_code == 2
    assert "Did you mean 'ann'" in done.stderr
    done = llmgate("attach", "--agent", "ann", "--source", "handbok")
    assert done.exit_code == 2
    assert "handbok" in done.stderr
    assert "handbook" in done.stderr.replace("handbok", "")


@pytest.mark.parametrize(("kind", "shipped"), [("personas", "sam"), ("humans", "basic")])
def test_shipped_texts_are_listed(user, kind, shipped):
    found = {entry["name"]: entry for entry in listed(kind)}
    assert found[shipped]["source"] == "llmgate"
    assert found[shipped]["characters"] == len(found[shipped]["text"]) > 0
    assert shipped in llmgate("list", kind).stdout


def test_a_text_that_is_too_long_is_listed_with_its_problem(user):
    (user / "personas").mkdir(parents=True)
    (user / "personas" / "long.txt").write_text("x" * 3000)
    [entry] = [entry for entry in listed("personas") if entry["name"] == "long"]
    assert "3000 characters" in entry["problem"]
    assert "3000 characters" in llmgate("list", "personas").stdout


def test_presets_are_listed_and_a_broken_one_does_not_hide_the_others(user):
    (user / "presets").mkdir(parents=True)
    (user / "presets" / "mine.yaml").write_text("system_prompt: memgpt_chat\nfunctions: [fly]\n")
    found = {entry["name"]: entry for entry in listed("presets")}
    assert found["memgpt_chat"]["problem"] is None
    assert "send_message" in found["memgpt_chat"]["functions"]
    assert found["mine"]["source"] == str(user / "presets" / "mine.yaml")
    assert "unknown function 'fly'" in found["mine"]["problem"]
    assert "unknown function 'fly'" in llmgate("list", "presets").stdout


def test_functions_are_listed_with_approval_and_presets(user, tmp_path):
    (tmp_path / "llmgate.toml").write_text(
        '[agent.approvals]\n"*" = "allow"\nhttp_request = "deny"\n'
        '"http_request(method=GET)" = "allow"\n'
    )
    (user / "functions").mkdir(parents=True)
    (user / "functions" / "mine.py").write_text(
        'def fly(height: int) -> str:\n    """Fly.\n\n    Args:\n        height: How high.\n'
        '    """\n    return "up"\n'
    )
    (user / "functions" / "bad.py").write_text("def nothing(x):\n    return x\n")
    done = llmgate("list", "functions", "--json")
    found = {entry["name"]: entry for entry in json.loads(done.stdout)["functions"]}
    assert found["send_message"]["source"] == "llmgate"
    assert found["send_message"]["approval"] == "allow"
    assert "memgpt_chat" in found["send_message"]["presets"]
    assert found["http_request"]["approval"] == "deny"
    assert found["http_request"]["unless"] == ["http_request(method=GET): allow"]
    assert found["http_request"]["presets"] == ["memgpt_extras"]
    assert found["fly"]["approval"] == "allow"
    assert found["fly"]["source"].endswith("mine.py")
    assert "bad.py" in done.stderr


def test_a_persona_is_added_listed_and_deleted(user):
    done = llmgate("add", "persona", "--name", "iris", "--text", "I am Iris.")
    assert done.exit_code == 0
    assert str(user / "personas" / "iris.txt") in done.stdout
    [entry] = [entry for entry in listed("personas") if entry["name"] == "iris"]
    assert entry["text"] == "I am Iris."
    done = llmgate("delete", "persona", "iris", "--yes")
    assert done.exit_code == 0
    assert str(user / "personas" / "iris.txt") in done.stderr
    assert "iris" not in {entry["name"] for entry in listed("personas")}


def test_a_text_comes_from_a_file_or_from_standard_input(user, tmp_path):
    (tmp_path / "me.txt").write_text("\ufeffIch heiße Ute.\n", encoding="utf-8")
    assert llmgate("add", "human", "--name", "ute", "-f", "me.txt").exit_code == 0
    assert llmgate("add", "human", "--name", "bo", stdin="I am Bo.\n").exit_code == 0
    found = {entry["name"]: entry["text"] for entry in listed("humans")}
    assert (found["ute"], found["bo"]) == ("Ich heiße Ute.", "I am Bo.")


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "said"),
    [
        (("--text", "x" * 2001), "", 2, "2001 characters, and 2000 are allowed"),
        (("--text", "a", "-f", "b"), "", 2, "can't both be given"),
        (("-f", "gone.txt"), "", 2, "can't read gone.txt"),
        ((), "", 2, "has no text"),
        (("--text", "a", "--name", "../x"), "", 1, "has a '/' in it"),
    ],
)
def test_what_cannot_be_added_is_said_and_leaves_nothing(user, arguments, stdin, code, said):
    done = llmgate("add", "persona", "--name", "iris", *arguments, stdin=stdin)
    assert done.exit_code == code
    assert said in done.stderr
    assert not (user / "personas").exists()


def test_a_file_that_is_no_text_is_refused(user, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    done = llmgate("add", "persona", "--name", "iris", "-f", "bad.txt")
    assert (done.exit_code, "not UTF-8" in done.stderr) == (2, True)


def test_nothing_is_written_over_without_force(user):
    llmgate("add", "human", "--name", "me", "--text", "one")
    done = llmgate("add", "human", "--name", "me", "--text", "two")
    assert done.exit_code == 2
    assert "--force" in done.stderr
    assert llmgate("add", "human", "--name", "me", "--text", "two", "--force").exit_code == 0
    [entry] = [entry for entry in listed("humans") if entry["name"] == "me"]
    assert entry["text"] == "two"


def test_a_text_over_a_shipped_one_says_so(user):
    done = llmgate("add", "persona", "--name", "sam", "--text", "Another.")
    assert "in place of the persona of that name in llmgate" in done.stderr


def test_what_comes_with_llmgate_is_not_deleted(user):
    done = llmgate("delete", "persona", "sam", "--yes")
    assert done.exit_code == 2
    assert "comes with llmgate" in done.stderr


def test_an_agent_goes_with_all_it_has_and_no_other(user):
    made("ann", "bo")
    done = llmgate("delete", "agent", "ann", "--yes")
    assert done.exit_code == 0
    assert "3 messages" in done.stderr
    assert [agent["name"] for agent in listed("agents")] == ["bo"]
    done = llmgate("delete", "agent", "ann", "--yes")
    assert done.exit_code == 2
    assert "unknown agent 'ann'" in done.stderr


def test_without_yes_and_without_a_terminal_nothing_is_deleted(user):
    made("ann")
    done = llmgate("delete", "agent", "ann", stdin="y\n")
    assert done.exit_code == 2
    assert "--yes" in done.stderr
    assert [agent["name"] for agent in listed("agents")] == ["ann"]


def test_a_source_goes_and_agents_search_it_no_longer(user):
    made("ann", source="handbook")
    llmgate("attach", "--agent", "ann", "--source", "handbook")
    done = llmgate("delete", "source", "handbook", "--yes")
    assert done.exit_code == 0
    assert "3 passages" in done.stderr
    assert "ann will search it no longer" in done.stderr
    assert listed("sources") == []
    assert listed("agents")[0]["sources"] == []
    assert "unknown source" in llmgate("delete", "source", "handbook", "--yes").stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pexpect needs a pseudo-terminal")
def test_on_a_terminal_lists_are_tables_and_deleting_asks(user):
    import pexpect

    llmgate("add", "persona", "--name", "iris", "--text", "I [bold]am[/bold] Iris.")

    def run(*arguments):
        return pexpect.spawn(
            sys.executable,
            ["-m", "llmgate", *arguments],
            encoding="utf-8",
            timeout=60,
            dimensions=(40, 120),
        )

    shown = run("list", "personas").read()
    assert "─" in shown
    assert "I [bold]am[/bold] Iris." in shown
    asked = run("delete", "persona", "iris")
    asked.expect("Delete it for good")
    asked.sendline("n")
    asked.expect(pexpect.EOF)
    assert (user / "personas" / "iris.txt").exists()
    asked = run("delete", "persona", "iris")
    asked.expect("Delete it for good")
    asked.sendline("y")
    asked.expect("deleted the persona")
    asked.expect(pexpect.EOF)
    assert not (user / "personas" / "iris.txt").exists()


def test_version_names_llmgate_python_and_the_packages(user):
    plain = llmgate("version").stdout
    assert f"llmgate           {__version__}" in plain
    found = json.loads(llmgate("version", "--json").stdout)
    assert found["llmgate"] == __version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["msgspec"]
    assert "llama-cpp-python" in found
    assert "sqlite" in found


def test_open_prints_the_folder_and_makes_it_only_to_open_it(user, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "llmgate"
    done = llmgate("open", "--print")
    assert done.stdout.strip() == str(folder)
    assert not folder.exists()
    opened = []
    monkeypatch.setattr("click.launch", lambda target: opened.append(target) or 0)
    assert llmgate("open").exit_code == 0
    assert opened == [str(folder)]
    assert folder.is_dir()
    assert llmgate("open", "config", "--print").stdout.strip() == str(user)


def test_open_says_where_to_go_if_nothing_can_open_it(user, monkeypatch):
    monkeypatch.setattr("click.launch", lambda target: 1)
    done = llmgate("open")
    assert done.exit_code == 0
    assert "go there yourself" in done.stderr


def test_what_a_terminal_would_act_on_is_shown_and_not_sent():
    assert tables.shown("a\x1b[2Jb\nc") == r"a\x1b[2Jb\nc"
    assert tables.shown(None) == "-"
    assert tables.shown(()) == "-"
    assert tables.shown(("a", "b")) == "a, b"


def test_a_real_program_lists_and_refuses_in_one_line(user, tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "llmgate", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "LLMGATE_DISCOVER": "off"},
            check=False,
        )

    done = run("list", "presets")
    assert (done.returncode, done.stderr) == (0, "")
    assert "memgpt_chat_compressed" in done.stdout
    done = run("delete", "agent", "nobody", "--yes")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["llmgate: unknown agent 'nobody'. None is known."]
