"""What agents stand on: opened from settings, and closed again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from agent_doubles import agent_of, backend_of, call, home_of, says, settings_of, steps_of

from llmgate import storage
from llmgate.agent import Agent, Home, UserMessage
from llmgate.config import DEFAULT_MODEL, ModelSettings, StorageSettings, default_settings
from llmgate.errors import (
    ConfigError,
    NewerStore,
    RequestError,
    StorageError,
    UnknownAgent,
    UnknownModel,
)
from llmgate.storage.passages import Passage


def settings_with(folder, answers=(), **agent):
    """Settings whose model says what stands in a file, with stores in the folder."""
    script = folder / "answers.json"
    script.write_text(json.dumps({"chat": True, "answers": answers}))
    return msgspec.structs.replace(
        settings_of(**agent),
        models={"m": ModelSettings(backend="scripted", path=str(script), context=8192)},
        storage=StorageSettings(f"sqlite:{folder}/agents.db", f"sqlite:{folder}/vectors.db"),
    )


async def test_what_an_agent_was_told_is_there_after_the_program_has_ended(tmp_path):
    note = {"name": "human", "content": "His name is Bo.", "request_heartbeat": True}
    keep = {"content": "Bo likes figs.", "request_heartbeat": True}
    answers = [
        {"tool_calls": [{"name": "core_memory_append", "arguments": note}]},
        {"tool_calls": [{"name": "archival_memory_insert", "arguments": keep}]},
        {"tool_calls": [{"name": "send_message", "arguments": {"message": "Hello Bo."}}]},
    ]
    async with await Home.open(settings_with(tmp_path, answers)) as home:
        agent = await Agent.create(home, "ann")
        said = [step.said async for step in agent.run(UserMessage("Hello, I am Bo."))]
        assert said == [None, None, "Hello Bo."]
    async with await Home.open(settings_with(tmp_path)) as home:
        assert await home.latest() == "ann"
        agent = await Agent.open(home, "ann")
        assert "His name is Bo." in (await agent.core.get("human")).value
        assert (await agent.recall.search("I am Bo")).found[0].text == "Hello, I am Bo."
        assert (await agent.recall.search("Hello Bo")).found[0].text == "Hello Bo."
        assert (await agent.archival.search("figs")).found[0].text == "Bo likes figs."
        await home.delete("ann")
    async with await Home.open(settings_with(tmp_path)) as home:
        assert await home.latest() is None
        assert await (await home.open_collection("agent/ann")).size() == 0
        with pytest.raises(UnknownAgent):
            await Agent.open(home, "ann")


async def test_a_home_closes_what_it_opened_and_nothing_else(tmp_path):
    records = await storage.open("memory:")
    backend = backend_of()
    async with await home_of(backend, records=records):
        pass
    assert backend.closed == 0
    await records.put("still", "open")
    home = await Home.open(settings_with(tmp_path))
    await home.aclose()
    await home.aclose()
    with pytest.raises(StorageError):
        await home.records.get("x")


@pytest.mark.parametrize(
    ("embedding", "error"),
    [
        ("nobody", UnknownModel),
        ("word2vec:small", UnknownModel),
        ("m", None),
        ("fastembed:small", None),
    ],
)
async def test_what_makes_vectors_is_known_from_the_beginning(tmp_path, embedding, error):
    settings = settings_with(tmp_path, embedding=embedding)
    if error is None:
        async with await Home.open(settings) as home:
            assert home.embed is not None
    else:
        with pytest.raises(error, match=r"agent\.embedding"):
            await Home.open(settings)


@pytest.mark.parametrize(
    ("agent", "options", "place"),
    [
        ({}, {}, "inside"),
        ({"thoughts": False}, {}, "off"),
        ({}, {"inner_thoughts": "off"}, "off"),
        ({}, {"inner_thoughts": "beside"}, "beside"),
    ],
)
async def test_models_think_before_they_call_unless_somebody_says_otherwise(
    tmp_path, agent, options, place
):
    settings = settings_with(tmp_path, **agent)
    model = msgspec.structs.replace(settings.models["m"], wrapper="chatml", options=options)
    settings = msgspec.structs.replace(settings, models={"m": model})
    async with await Home.open(settings) as home:
        assert home.gateway.route("m").wrapper.options.inner_thoughts == place


async def test_the_shipped_model_does_not_think_as_it_was_not_taught_to():
    settings = msgspec.structs.replace(
        default_settings(), storage=StorageSettings("memory:", "memory:")
    )
    async with await Home.open(settings) as home:
        [model] = home.settings.models.values()
        assert "inner_thoughts" not in model.options
        assert home.gateway.route(DEFAULT_MODEL).wrapper.options.inner_thoughts == "off"


async def test_an_agent_of_an_unknown_preset_is_not_made(tmp_path):
    async with await Home.open(settings_with(tmp_path)) as home:
        for wrong in ({"preset": "none"}, {"persona": "none"}, {"human": "none"}):
            with pytest.raises(ConfigError, match="none"):
                await Agent.create(home, "ann", **wrong)
        with pytest.raises(UnknownModel):
            await Agent.create(home, "ann", model="none")
        assert await home.agents() == ()


async def test_a_model_that_only_makes_vectors_is_not_thought_with(tmp_path):
    vectors = ModelSettings(backend="scripted", path=str(tmp_path / "answers.json"), embedding=True)
    settings = settings_with(tmp_path)
    settings = msgspec.structs.replace(settings, models={"v": vectors, **settings.models})
    async with await Home.open(settings) as home:
        agent = await Agent.create(home, "ann")
        assert (agent.model, home.model, home.warnings) == ("m", "m", ())
        with pytest.raises(RequestError, match="makes embeddings"):
            await agent.set_model("v")
        with pytest.raises(RequestError, match="makes embeddings"):
            await Agent.create(home, "bob", model="v")
    for name, problem in (("v", "makes embeddings"), ("w", "does not exist")):
        table = msgspec.structs.replace(settings.agent, model=name)
        async with await Home.open(msgspec.structs.replace(settings, agent=table)) as home:
            [warning] = home.warnings
            assert warning.startswith("agent.model: ")
            assert problem in warning


async def test_sources_can_be_attached_and_searched(tmp_path):
    async with await Home.open(settings_with(tmp_path)) as home:
        agent = await Agent.create(home, "ann")
        source = await home.open_collection("source/handbook")
        await source.insert(Passage("Figs are picked in August."))
        assert await home.sources() == ("handbook",)
        await agent.attach("handbook")
        assert (await agent.archival.search("figs")).found[0].source == "handbook"
        again = await Agent.open(home, "ann")
        assert again.state.sources == ("handbook",)
        await agent.detach("handbook")
        assert (await agent.archival.search("figs")).total == 0


async def test_the_agent_that_was_used_last_is_known():
    times = iter(range(10_000))
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    agent, _ = await agent_of(says("Hi."), clock=lambda: begin + timedelta(minutes=next(times)))
    home = agent.home
    await Agent.create(home, "bob")
    assert await home.latest() == "bob"
    await steps_of(agent, UserMessage("Hello."))
    assert await home.latest() == "ann"


@pytest.mark.parametrize("damage", [{"schema": 99}, {"steps": "many"}])
async def test_an_agent_that_can_not_be_read_does_not_stand_in_the_way_of_others(damage):
    agent, _ = await agent_of()
    home = agent.home
    await Agent.create(home, "bob")
    document = await home.records.get("agents/bob")
    await home.records.put("agents/bob", {**document.value, **damage})
    assert await home.latest() == "ann"
    assert await home.latest() == "ann"
    assert ["'bob'" in warning for warning in home.warnings] == [True]
    if "schema" in damage:
        with pytest.raises(NewerStore):
            await home.delete("bob")
    else:
        await home.delete("bob")
        assert await home.agents() == ("ann",)


async def test_a_folder_for_files_that_is_not_there_is_warned_of(tmp_path):
    agent, _ = await agent_of(files=str(tmp_path / "none"))
    assert "agent.files" in agent.home.warnings[0]


async def test_another_model_can_be_asked():
    agent, backend = await agent_of(
        call("message_chatgpt", message="How old is the sun?", request_heartbeat=True),
        "Old.",
        says("It is old."),
        approvals={"message_chatgpt": "allow"},
    )
    functions = (*agent.state.functions, "message_chatgpt")
    state = msgspec.structs.replace(agent.state, functions=functions)
    await agent._kept.commit(state)
    agent._body.assemble()
    first, second = await steps_of(agent, UserMessage("How old is the sun?"))
    assert "Old." in first.result
    assert second.said == "It is old."
    assert [message.content for message in backend.requests[1].messages if message.role == "user"]
