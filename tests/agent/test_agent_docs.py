"""What docs/agent.md and docs/configuration.md say of agents is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from agent_doubles import backend_of, home_of, says

from llmgate.agent import Home, presets
from llmgate.agent.functions import load
from llmgate.cli.agent.commands import ALIASES, COMMANDS
from llmgate.cli.chat import command as chat
from llmgate.config import AgentSettings, StorageSettings, parse

DOCS = Path(__file__).parents[2] / "docs"
AGENT = (DOCS / "agent.md").read_text(encoding="utf-8")
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")


def block(kind, containing):
    [found] = [
        text for text in re.findall(rf"```{kind}\n(.*?)```", AGENT, re.DOTALL) if containing in text
    ]
    return found


def table(name):
    """The keys and the defaults of a table of the configuration."""
    section = CONFIGURATION.partition(f"## `[{name}]`")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "struct"), [("agent", AgentSettings), ("storage", StorageSettings)]
)
def test_every_setting_is_in_the_table_with_its_default(name, struct):
    documented = table(name)
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    assert list(documented) == list(fields)
    defaults = struct()
    for key, written in documented.items():
        value = getattr(defaults, key)
        if value in (None, {}, ()):
            assert written in ("–", "`{}`", "`[]`") or " " in written, key
            continue
        assert json.loads(written.strip("`")) == value, key


def test_every_command_of_the_terminal_is_explained():
    cells = re.findall(r"^\| (`/.*?) \| .*\|$", AGENT, re.MULTILINE)
    named = {each for cell in cells for each in re.findall(r"`(//?\w*)", cell)}
    assert named - set(ALIASES) == set(COMMANDS)


def test_every_option_of_chat_is_explained():
    options = {option for each in chat.params for option in each.opts if option.startswith("--")}
    table = AGENT.partition("| option of `llmgate chat` | |")[2].partition("\n\n")[0]
    documented = set(re.findall(r"--[a-z][a-z-]+", table))
    assert documented == options - {"--config", "--no-agent", "--system"}
    assert "--no-agent" in AGENT


def test_every_shipped_preset_is_explained():
    section = AGENT.partition("## Presets")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == presets.names()


def test_the_configurations_shown_can_be_used():
    for text in re.findall(r"```toml\n(.*?)```", AGENT, re.DOTALL):
        settings = parse(text, Path("/somewhere/llmgate.toml"))
        assert settings.agent != AgentSettings()


async def test_the_function_and_the_preset_shown_work(tmp_path):
    for folder in ("functions", "presets", "system_prompts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "functions" / "garden.py").write_text(block("python", "def water"))
    (tmp_path / "presets" / "garden.yaml").write_text(block("yaml", "gardener"))
    (tmp_path / "system_prompts" / "gardener.txt").write_text("You are a gardener.")
    functions, warnings = load(tmp_path)
    assert warnings == ()
    assert functions["water"].default == "allow"
    assert functions["water"].tool.parameters["properties"]["bed"]["enum"] == ["roses", "herbs"]
    assert presets.load("garden", tmp_path, functions).text == "You are a gardener."


async def test_the_program_shown_runs_twice(monkeypatch, capsys):
    home = await home_of(backend_of(*[says("Ciao, Bo.")] * 4))

    async def opened(settings):
        return home

    monkeypatch.setattr(Home, "open", opened)
    monkeypatch.setattr(home, "_owned", [])
    names = {}
    code = block("python", "Agent.create").replace("asyncio.run(main())", "")
    exec(compile(code, "agent.md", "exec"), names)
    await names["main"]()
    await names["main"]()
    printed = capsys.readouterr().out
    assert printed.count("Ciao, Bo.") >= 2
    assert await home.agents() == ("ann",)
