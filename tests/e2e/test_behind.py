"""llmgate in front of servers that are asked with messages: a real llama-server, and itself."""

from __future__ import annotations

import json

import jsonschema_rs
import openai
import pytest
from engines import needs_engine, needs_server, running_server
from programs import Serve

from benchmarks.models import random_model

PARIS = "The capital of France is Paris."
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = [{"role": "user", "content": "Get the weather in Paris for 5 days."}]
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather for a city",
        "parameters": PARAMETERS,
    },
}
HELD = {"type": "json_schema", "json_schema": {"name": "weather", "schema": PARAMETERS}}
VALID = jsonschema_rs.validator_for(PARAMETERS)
HOW = pytest.mark.parametrize("stream", [False, True])


def ask(url, *, stream, **fields):
    """The message's content, its calls, why it ended, how many tokens it took, and the notes."""
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120) as client:
        fields = {"model": "tiny", "temperature": 0, **fields}
        if not stream:
            made = client.chat.completions.create(**fields)
            [choice] = made.choices
            calls = [
                (c.function.name, c.function.arguments) for c in choice.message.tool_calls or []
            ]
            notes = (made.model_extra or {}).get("llmgate", {}).get("notes", [])
            said = choice.message.content or None
            return said, calls, choice.finish_reason, made.usage, codes(notes)
        said, calls, finish, usage, notes = "", {}, None, None, []
        options = {"include_usage": True}
        for chunk in client.chat.completions.create(stream=True, stream_options=options, **fields):
            usage = chunk.usage or usage
            notes += (chunk.model_extra or {}).get("llmgate", {}).get("notes", [])
            for choice in chunk.choices:
                said += choice.delta.content or ""
                for piece in choice.delta.tool_calls or []:
                    call = calls.setdefault(piece.index, ["", ""])
                    call[0] += piece.function.name or ""
                    call[1] += piece.function.arguments or ""
                finish = choice.finish_reason or finish
        return said or None, [tuple(call) for call in calls.values()], finish, usage, codes(notes)


def codes(notes):
    return [note["code"] for note in notes]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """llmgate in front of a real llama-server's chat route."""
    folder = tmp_path_factory.mktemp("llama")
    with running_server() as (url, _):
        (folder / "llmgate.toml").write_text(
            f'[models.tiny]\nbackend = "openai-chat"\nurl = "{url}/v1"\nretries = 0\n'
        )
        with Serve(cwd=folder) as running:
            yield running.url


@pytest.fixture(scope="module")
def gates(tmp_path_factory):
    """llmgate with the shipped model and one of random weights, and llmgate in front of that."""
    folder = tmp_path_factory.mktemp("gates")
    (folder / "inner").mkdir()
    weights = folder / "random.gguf"
    random_model(weights, seed=1)
    (folder / "inner" / "llmgate.toml").write_text(
        f'[models.tiny]\nthreads = 1\n[models.random]\npath = "{weights}"\nthreads = 1\n'
        'wrapper = "chatml"\n'
    )
    with Serve(cwd=folder / "inner") as inner:
        table = '[models.{0}]\nbackend = "openai-chat"\nurl = "{1}"\nmodel = "{0}"\n'
        text = "".join(table.format(name, inner.url) for name in ("tiny", "random"))
        (folder / "llmgate.toml").write_text(text)
        with Serve(cwd=folder) as outer:
            yield inner.url, outer.url


@needs_server
@HOW
def test_a_llama_server_answers_messages(llama, stream):
    said, calls, finish, usage, notes = ask(llama, stream=stream, messages=QUESTION)
    assert (said, calls, finish, notes) == (PARIS, [], "stop", [])
    assert usage.completion_tokens > 3


@needs_server
@HOW
def test_a_llama_server_is_held_to_a_schema(llama, stream):
    got = ask(llama, stream=stream, messages=WEATHER, response_format=HELD, max_tokens=60)
    assert json.loads(got[0]) == {"city": "Paris", "days": 5}
    assert got[4] == ["constraint"]


@needs_server
def test_what_a_llama_server_writes_in_place_of_a_forced_call_is_refused(llama):
    fields = {"tools": [TOOL], "tool_choice": "required", "max_tokens": 20}
    with pytest.raises(openai.UnprocessableEntityError, match="not a function call"):
        ask(llama, stream=False, messages=WEATHER, **fields)


@needs_server
@HOW
def test_a_llama_servers_limits_are_told(llama, stream):
    assert ask(llama, stream=stream, messages=QUESTION, max_tokens=3)[2] == "length"
    assert ask(llama, stream=stream, messages=QUESTION, stop="France")[0] == "The capital of "
    long = [{"role": "user", "content": "garden " * 3000}]
    with pytest.raises(openai.BadRequestError) as caught:
        ask(llama, stream=stream, messages=long)
    assert caught.value.code == "context_length_exceeded"


@needs_engine
@pytest.mark.parametrize(
    "fields",
    [
        {"messages": QUESTION},
        {"messages": WEATHER, "tools": [TOOL]},
        {"messages": WEATHER, "tools": [TOOL], "tool_choice": "required"},
        {"messages": QUESTION, "max_tokens": 3},
        {"messages": QUESTION, "stop": ["Fr", "x"]},
    ],
    ids=lambda fields: "-".join(list(fields)[1:]) or "plain",
)
@HOW
def test_llmgate_behind_llmgate_answers_the_same(gates, stream, fields):
    inner, outer = (ask(url, stream=stream, **fields) for url in gates)
    assert outer[:3] == inner[:3]
    assert outer[3].completion_tokens == inner[3].completion_tokens
    if "tools" in fields:
        [(name, arguments)] = outer[1]
        assert (name, VALID.is_valid(json.loads(arguments))) == ("get_weather", True)


@needs_engine
@HOW
def test_a_schema_holds_through_two_gates(gates, stream):
    schema = {"type": "object", "properties": {"ok": {"enum": ["yes", "no"]}}, "required": ["ok"]}
    schema["additionalProperties"] = False
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    got = ask(gates[1], stream=stream, model="random", messages=QUESTION, response_format=form)
    assert json.loads(got[0])["ok"] in ("yes", "no")


@needs_engine
@HOW
def test_forced_calls_of_random_weights_are_valid_through_two_gates(gates, stream):
    fields = {"tools": [TOOL], "tool_choice": "required", "temperature": 1.0, "max_tokens": 60}
    for seed in range(5):
        got = ask(gates[1], stream=stream, model="random", messages=WEATHER, seed=seed, **fields)
        [(name, arguments)] = got[1]
        assert (name, VALID.is_valid(json.loads(arguments))) == ("get_weather", True)


@needs_engine
def test_an_error_behind_is_an_error_in_front(gates):
    bad = {"type": "function", "function": {"name": "x", "parameters": {"type": "no"}}}
    with openai.OpenAI(base_url=gates[1], api_key="none", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="is not a valid JSON Schema"):
            client.chat.completions.create(model="tiny", messages=QUESTION, tools=[bad])
        assert {model.id for model in client.models.list()} == {"tiny", "random"}
