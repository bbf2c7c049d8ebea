"""render, parse, grammar and repair, run as a person runs them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from engines import needs_engine

REQUEST = {
    "messages": [{"role": "user", "content": "Wie ist das Wetter in Köln?"}],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "The weather.",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                    "required": ["city"],
                },
            },
        }
    ],
}


def llmgate(*arguments, stdin="", cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "llmgate", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        check=False,
    )


@pytest.fixture
def request_file(tmp_path):
    file = tmp_path / "request.json"
    file.write_text(json.dumps(REQUEST, ensure_ascii=False), encoding="utf-8")
    return str(file)


def test_render_prints_the_prompt(request_file):
    done = llmgate("render", "--wrapper", "zephyr", request_file)
    assert done.returncode == 0
    assert "<|user|>\nWie ist das Wetter in Köln?</s>\n<|assistant|>\n" in done.stdout
    assert "city: (string)" in done.stdout


def test_render_as_json_has_prompt_stop_and_grammar(request_file):
    done = llmgate("render", "--json", "--option", "inner_thoughts=inside", request_file)
    shown = json.loads(done.stdout)
    assert list(shown) == ["prompt", "stop", "grammar"]
    assert "inner_thoughts" in shown["prompt"]
    assert "<|im_end|>" in shown["stop"]
    assert "root ::=" in shown["grammar"]


def test_render_reads_standard_input():
    done = llmgate("render", "-", stdin=json.dumps(REQUEST))
    assert done.returncode == 0
    assert "weather" in done.stdout


def test_parse_prints_the_message_and_says_what_was_mended(request_file):
    raw = '{"function": "weather", "params": {"city": "Köln", "days": "3",}}'
    done = llmgate("parse", "--wrapper", "chatml", "--request", request_file, stdin=raw)
    assert done.returncode == 0
    [call] = json.loads(done.stdout)["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Köln", "days": 3}
    assert "coerced" in done.stderr
    assert "repaired" in done.stderr


def test_parse_of_an_unusable_answer_exits_with_1(request_file):
    raw = '{"function": "wether", "params": {}}'
    done = llmgate("parse", "--request", request_file, stdin=raw)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no function 'wether'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_grammar_prints_gbnf_and_what_it_cannot_hold(tmp_path):
    file = tmp_path / "schema.json"
    file.write_text('{"type": "array", "uniqueItems": true, "items": {"type": "integer"}}')
    done = llmgate("grammar", str(file))
    assert done.returncode == 0
    assert "root ::=" in done.stdout
    assert "uniqueItems" in done.stderr


@pytest.mark.parametrize("schema", ["{", '{"type": 5}', '{"$ref": "#/nowhere"}', "[]"])
def test_grammar_of_no_schema_exits_with_1(schema):
    done = llmgate("grammar", "-", stdin=schema)
    assert done.returncode == 1
    assert done.stderr.startswith("llmgate: ")
    assert "Traceback" not in done.stderr


def test_repair_prints_json_and_what_it_did():
    done = llmgate("repair", stdin='Sure! {\'a\': True, b: [1, 2,], "c": "é"')
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"a": True, "b": [1, 2], "c": "é"}
    assert "é" in done.stdout
    assert "repaired: " in done.stderr


def test_repair_leaves_valid_json_alone():
    done = llmgate("repair", stdin='{"a": [1, 2.50]}')
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, {"a": [1, 2.5]}, "")


def test_repair_of_nothing_exits_with_1():
    done = llmgate("repair", stdin="no json here")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("render", "gone.json"), "can't read gone.json"),
        (("render", "--wrapper", "zephir", "-"), "unknown wrapper 'zephir'.*'zephyr'"),
        (("render", "--option", "indent", "-"), "KEY=VALUE"),
        (("render", "--option", "colour=red", "-"), "no option 'colour'"),
        (("render", "--config", "gone.toml", "-"), "gone.toml does not exist"),
        (("serve", "--config", "gone.toml"), "gone.toml does not exist"),
        pytest.param(("serve", "--model", "gone.gguf"), "gone.gguf", marks=needs_engine),
        (("serve", "--host", "0.0.0.0"), "LLMGATE_API_KEY"),
        (("chat", "--wrapper", "nothing"), "unknown wrapper 'nothing'"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_2(tmp_path, arguments, message):
    done = llmgate(*arguments, stdin=json.dumps(REQUEST), cwd=tmp_path)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("llmgate: ")]
    assert len(lines) == 1
    assert __import__("re").search(message, lines[0])
    assert "Traceback" not in done.stderr


def test_help_lists_every_command():
    done = llmgate("--help")
    for name in ("serve", "chat", "render", "parse", "grammar", "repair"):
        assert f"\n  {name} " in done.stdout
        assert llmgate(name, "--help").returncode == 0


def test_an_unknown_command_is_told_the_closest():
    done = llmgate("serv")
    assert done.returncode == 2
    assert "No such command 'serv'. Did you mean 'serve'?" in done.stderr


def test_version():
    assert llmgate("--version").stdout == "llmgate, version 0.1.0\n"
