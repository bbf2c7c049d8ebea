"""The main job: the official SDK against `llmgate serve` with a real model in the real engine."""

from __future__ import annotations

import json

import jsonschema_rs
import openai
import pytest
from engines import needs_engine, needs_server, running_server
from programs import Serve

from benchmarks.models import random_model

pytestmark = needs_engine
WRAPPERS = ("airoboros", "chatml", "dolphin", "zephyr")


def function(name, description, **properties):
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": list(properties),
            },
        },
    }


def text(description):
    return {"type": "string", "description": description}


TOOLS = [
    function(
        "get_weather",
        "Get the weather for a city",
        city=text("City name"),
        days={"type": "integer", "description": "Number of days"},
    ),
    function(
        "send_email",
        "Send an email to a person",
        to=text("Email address"),
        subject=text("The title"),
        body=text("The text"),
    ),
    function(
        "book_table", "Book a table", guest=text("Name of the person"), time=text("Time of day")
    ),
]
CHECKS = {
    tool["function"]["name"]: jsonschema_rs.validator_for(tool["function"]["parameters"])
    for tool in TOOLS
}
WEATHER = "Get the weather in Paris for 5 days."
# What a random model is asked to fill: every kind of value, nested and optional ones too.
HARD = function(
    "plan",
    "Plan.",
    title={"type": "string"},
    level={"enum": ["low", "high", 3, None]},
    count={"type": "integer"},
    share={"type": "number"},
    done={"type": "boolean"},
    when={"anyOf": [{"type": "string"}, {"type": "null"}]},
    steps={
        "type": "array",
        "maxItems": 3,
        "items": {
            "type": "object",
            "properties": {"n": {"type": "integer"}, "tag": {"const": "x"}},
            "required": ["n"],
            "additionalProperties": False,
        },
    },
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One model a wrapper, each in its own worker: the shipped one, and one of random weights."""
    folder = tmp_path_factory.mktemp("serve")
    weights = folder / "random.gguf"
    random_model(weights, seed=1)
    tables = []
    for wrapper in WRAPPERS:
        tables.append(f'[models.{wrapper}]\nwrapper = "{wrapper}"\nthreads = 1\n')
        tables.append(
            f'[models.random-{wrapper}]\npath = "{weights}"\nwrapper = "{wrapper}"\nthreads = 1\n'
        )
    (folder / "llmgate.toml").write_text("".join(tables))
    with Serve(cwd=folder) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=120) as made:
        yield made


def ask(client, *, stream, **fields):
    """The message and finish of an answer, however it comes."""
    if not stream:
        choice = client.chat.completions.create(**fields).choices[0]
        calls = [(c.function.name, c.function.arguments) for c in choice.message.tool_calls or []]
        return choice.message.content, calls, choice.finish_reason
    content, calls, finish = None, {}, None
    for chunk in client.chat.completions.create(stream=True, **fields):
        [choice] = chunk.choices
        if choice.delta.content is not None:
            content = (content or "") + choice.delta.content
        for piece in choice.delta.tool_calls or []:
            if piece.id:
                calls[piece.index] = [piece.function.name, ""]
            calls[piece.index][1] += piece.function.arguments or ""
        finish = choice.finish_reason or finish
    return content, [tuple(call) for _, call in sorted(calls.items())], finish


def said(question):
    return [{"role": "user", "content": question}]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_plain_answer(client, wrapper, stream):
    answer = ask(client, stream=stream, model=wrapper, messages=said("Hello!"))
    assert answer == ("Hello! How can I help you?", [], "stop")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_right_one_of_three_tools_under_auto(client, wrapper, stream):
    content, [(name, arguments)], finish = ask(
        client, stream=stream, model=wrapper, messages=said(WEATHER), tools=TOOLS
    )
    assert (content, name, finish) == (None, "get_weather", "tool_calls")
    assert json.loads(arguments) == {"city": "Paris", "days": 5}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("name", [None, "send_email"])
def test_a_forced_call(client, wrapper, stream, name):
    choice = {"type": "function", "function": {"name": name}} if name else "required"
    _, [(called, arguments)], finish = ask(
        client,
        stream=stream,
        model=wrapper,
        messages=said("Hello!"),
        tools=TOOLS,
        tool_choice=choice,
    )
    assert finish == "tool_calls"
    assert called == (name or called)
    assert CHECKS[called].is_valid(json.loads(arguments))


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_stream_adds_up_to_the_whole_answer(client, wrapper):
    for question in (WEATHER, "What is the capital of France?", "Thanks"):
        fields = {"model": wrapper, "messages": said(question), "tools": TOOLS}
        assert ask(client, stream=True, **fields) == ask(client, stream=False, **fields)


def forced_calls(client, model, seeds):
    """How many of the forced calls of a model are valid; each seed is one, half of them named."""
    tools = [*TOOLS, HARD]
    checks = CHECKS | {"plan": jsonschema_rs.validator_for(HARD["function"]["parameters"])}
    valid = 0
    for seed in seeds:
        name = list(checks)[seed % len(checks)] if seed % 2 else None
        choice = {"type": "function", "function": {"name": name}} if name else "required"
        _, calls, finish = ask(
            client,
            stream=seed % 3 == 0,
            model=model,
            messages=said("Do something."),
            tools=tools,
            tool_choice=choice,
            seed=seed,
            # Noise has no end: nearly all of these come to a token limit, some to the context's.
            max_tokens=None if seed % 25 == 0 else 100 + seed,
        )
        [(called, arguments)] = calls
        valid += (
            finish in ("tool_calls", "length")
            and called == (name or called)
            and checks[called].is_valid(json.loads(arguments))
        )
    return valid


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_random_weights_make_valid_forced_calls_50_times_of_50(client, wrapper):
    """50 for each of the four wrappers: 200 in all."""
    assert forced_calls(client, f"random-{wrapper}", range(50)) == 50


@needs_server
def test_random_weights_make_valid_forced_calls_on_a_real_llama_server(tmp_path):
    weights = random_model(tmp_path / "random.gguf", seed=1)
    with running_server(model=weights) as (url, _):
        (tmp_path / "llmgate.toml").write_text(
            f'[models.remote]\nbackend = "llamacpp"\nurl = "{url}"\n'
        )
        with (
            Serve(cwd=tmp_path) as other,
            openai.OpenAI(base_url=other.url, api_key="none", max_retries=0) as remote,
        ):
            assert forced_calls(remote, "remote", range(1, 25)) == 24


def test_the_result_of_a_call_is_answered(client):
    messages = [
        *said(WEATHER),
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {
                        "name": "get_weather",
                        "arguments": '{"city": "Paris", "days": 5}',
                    },
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": '{"status": "OK", "message": "sun"}'},
    ]
    content, calls, finish = ask(client, stream=False, model="chatml", messages=messages)
    assert (calls, finish) == ([], "stop")
    assert content


def test_an_answer_by_a_schema(client):
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    content, _, finish = ask(
        client,
        stream=True,
        model="chatml",
        messages=said("My name is Maria, I am 31 and I live in Paris."),
        response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": schema}},
    )
    assert finish == "stop"
    assert json.loads(content) == {"name": "Maria", "age": 31}


@needs_server
def test_a_real_llama_server_gives_the_same_answers(client, tmp_path):
    tables = []
    with running_server() as (url, _):
        for wrapper in WRAPPERS:
            options = "indent = 0" + (", section_separators = false" * (wrapper == "airoboros"))
            tables.append(
                f'[models.{wrapper}]\nbackend = "llamacpp"\nurl = "{url}"\nwrapper = "{wrapper}"\n'
                f"options = {{{options}}}\nsampling = {{temperature = 0.0}}\n"
            )
        (tmp_path / "llmgate.toml").write_text("".join(tables))
        with (
            Serve(cwd=tmp_path) as other,
            openai.OpenAI(base_url=other.url, api_key="none", max_retries=0) as remote,
        ):
            for wrapper in WRAPPERS:
                for stream in (False, True):
                    for question in ("Hello!", WEATHER):
                        fields = {"model": wrapper, "messages": said(question), "stream": stream}
                        assert ask(remote, **fields) == ask(client, **fields)
                        for choice in ("auto", "required"):
                            tooled = {**fields, "tools": TOOLS, "tool_choice": choice}
                            assert ask(remote, **tooled) == ask(client, **tooled)


def test_json_mode(client):
    content, _, finish = ask(
        client,
        stream=False,
        model="chatml",
        messages=[
            {
                "role": "system",
                "content": 'Reply in JSON. Schema: {"name": "string", "age": "integer"}',
            },
            *said("Maria, aged 31, can be reached at m@home.com."),
        ],
        response_format={"type": "json_object"},
    )
    assert finish == "stop"
    assert isinstance(json.loads(content), dict)


def test_usage_counts_the_models_own_tokens_and_what_was_cached(client):
    fields = {"model": "chatml", "messages": said("Tell me a joke")}
    first = client.chat.completions.create(**fields).usage
    again = client.chat.completions.create(**fields).usage
    assert first.prompt_tokens == again.prompt_tokens > 5
    assert again.prompt_tokens_details.cached_tokens == again.prompt_tokens - 1
    *_, last = client.chat.completions.create(
        stream=True, stream_options={"include_usage": True}, **fields
    )
    assert last.usage.completion_tokens == first.completion_tokens


def test_a_prompt_over_the_context_is_refused(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="chatml", messages=said("word " * 5000))
    assert caught.value.code == "context_length_exceeded"
    assert "2048" in str(caught.value)


def test_an_unknown_model_is_refused(client):
    with pytest.raises(openai.NotFoundError, match="Known: airoboros"):
        client.chat.completions.create(model="gpt-4", messages=said("hi"))


def test_embeddings_in_both_encodings(tmp_path):
    config = tmp_path / "llmgate.toml"
    config.write_text('[models.vectors]\nbackend = "embedded"\nembedding = true\nthreads = 1\n')
    with Serve("--config", str(config)) as server:
        client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
        packed = client.embeddings.create(model="vectors", input=["Paris", "a quiet garden"])
        plain = client.embeddings.create(
            model="vectors", input=["Paris", "a quiet garden"], encoding_format="float"
        )
        for one, other in zip(packed.data, plain.data, strict=True):
            assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert packed.usage.prompt_tokens > 2
        with pytest.raises(openai.BadRequestError, match="can't continue a text"):
            client.chat.completions.create(
                model="vectors", messages=[{"role": "user", "content": "hi"}]
            )
        with pytest.raises(openai.BadRequestError, match="takes 2048 at most"):
            client.embeddings.create(model="vectors", input="word " * 10_000)
