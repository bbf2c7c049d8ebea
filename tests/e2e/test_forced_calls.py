"""Forced calls of a model of random weights in every style, on both real engines.

A few of each here; `python -m benchmarks.forced` makes a thousand of each.
"""

from __future__ import annotations

import json

import pytest
from engines import needs_engine, needs_server, running_server

from benchmarks.forced import tokens_before_name, valid_calls
from benchmarks.models import random_model
from llmgate import Gateway
from llmgate.config import ModelSettings, Settings
from llmgate.styles import STYLES
from llmgate.types import Message, Request, Sampling, Tool, ToolChoice


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("weights") / "random.gguf", seed=1, layers=1)


def model(style, thoughts, **place):
    options = {"style": style, "inner_thoughts": thoughts}
    return ModelSettings(**place, wrapper="chatml", options=options, threads=1)


@needs_engine
@pytest.mark.parametrize("thoughts", ["off", "inside"])
async def test_random_weights_make_valid_calls_in_every_style(weights, thoughts):
    # One route at a time: each has a worker of its own.
    for style in STYLES:
        settings = Settings(models={"m": model(style, thoughts, path=str(weights))})
        async with Gateway.open(settings) as gateway:
            valid, wrong = await valid_calls(
                gateway, "m", range(1, 5), tokens_before_name(style, thoughts)
            )
        assert (valid, wrong) == (4, []), style


@needs_server
async def test_random_weights_make_valid_calls_in_every_style_on_a_llama_server(weights):
    with running_server(model=weights) as (url, _):
        models = {style: model(style, "off", backend="llamacpp", url=url) for style in STYLES}
        async with Gateway.open(Settings(models=models)) as gateway:
            for style in STYLES:
                valid, wrong = await valid_calls(
                    gateway, style, range(1, 4), tokens_before_name(style, "off")
                )
                assert (valid, wrong) == (3, []), style


CITY = {"type": "string", "maxLength": 12}
WEATHER = Tool(
    "get_weather",
    "Tells the weather.",
    {
        "type": "object",
        "properties": {"city": CITY},
        "required": ["city"],
        "additionalProperties": False,
    },
)


@needs_server
async def test_a_server_held_by_schemas_alone_makes_valid_calls():
    # Of the shipped model: random weights write white space without end, which schemas allow.
    with running_server() as (url, _):
        place = {"backend": "llamacpp", "url": url, "constraint": "schema"}
        styles = [name for name, style in STYLES.items() if style.head != "named"]
        models = {style: model(style, "off", **place) for style in styles}
        async with Gateway.open(Settings(models=models)) as gateway:
            for style in styles:
                request = Request(
                    model=style,
                    messages=(Message("user", "What is the weather in Paris?"),),
                    tools=(WEATHER,),
                    tool_choice=ToolChoice("required"),
                    parallel=False,
                    sampling=Sampling(temperature=0.0, max_tokens=200),
                )
                answer = await gateway.complete(request)
                (call,) = answer.message.tool_calls
                assert list(json.loads(call.arguments)) == ["city"], style
                assert "unconstrained" not in [note.code for note in answer.notes]
