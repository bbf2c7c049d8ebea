"""Where the settings come from, and errors that say which key of which file is wrong."""

from __future__ import annotations

import pytest

from llmgate import config
from llmgate.errors import ConfigError
from llmgate.types import Sampling

MODEL = '[models.local]\nbackend = "embedded"\npath = "m.gguf"\nwrapper = "dolphin"\n'


def test_with_no_file_the_shipped_model_is_configured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = config.load(env={"XDG_CONFIG_HOME": str(tmp_path)})
    assert list(settings.models) == ["llmgate-tiny"]
    assert config.is_shipped(settings.models["llmgate-tiny"])


def test_the_shipped_models_facts_stand_where_its_settings_say_nothing():
    model = config.with_facts(config.ModelSettings(wrapper="airoboros"))
    assert model.sampling.temperature == 0.0
    assert model.options == {
        "indent": 0,
        "inner_thoughts": "off",
        "section_separators": False,
    }
    chosen = config.ModelSettings(
        wrapper="chatml", options={"indent": 4}, sampling=Sampling(temperature=0.5)
    )
    known = config.with_facts(chosen)
    assert known.options["indent"] == 4
    assert known.options["inner_thoughts"] == "off"
    assert known.sampling.temperature == 0.5
    # It has no template of its own, so that what it was trained on takes that place.
    assert config.with_facts(config.ModelSettings()).wrapper == "chatml"
    other = config.ModelSettings(path="other.gguf")
    assert config.with_facts(other) is other


def test_agents_of_the_shipped_model_are_made_of_what_it_knows():
    mine = config.AgentSettings(human="developer")
    suited = config.with_agent_facts(mine, config.ModelSettings())
    assert (suited.preset, suited.persona, suited.human) == ("pilot", "pilot", "developer")
    assert config.with_agent_facts(mine, config.ModelSettings(path="other.gguf")) is mine


def test_a_file_is_read_and_its_paths_count_from_it(tmp_path):
    file = tmp_path / "llmgate.toml"
    file.write_text(MODEL + "[models.local.sampling]\ntemperature = 0.2\n[server]\nport = 1234\n")
    settings = config.load(file, env={})
    local = settings.models["local"]
    assert local.path == str(tmp_path / "m.gguf")
    assert (local.wrapper, local.sampling.temperature, settings.server.port) == (
        "dolphin",
        0.2,
        1234,
    )


def test_the_order_of_places(tmp_path, monkeypatch):
    places = {}
    for name in ("explicit", "environment", "working", "user"):
        folder = tmp_path / name / ("llmgate" if name == "user" else "")
        folder.mkdir(parents=True)
        places[name] = folder / "llmgate.toml"
        places[name].write_text(f"[models.{name}]\n")
    monkeypatch.chdir(tmp_path / "working")
    env = {"LLMGATE_CONFIG": str(places["environment"]), "XDG_CONFIG_HOME": str(tmp_path / "user")}
    assert list(config.load(places["explicit"], env).models) == ["explicit"]
    assert list(config.load(None, env).models) == ["environment"]
    del env["LLMGATE_CONFIG"]
    assert list(config.load(None, env).models) == ["working"]
    places["working"].unlink()
    assert list(config.load(None, env).models) == ["user"]


def test_the_key_of_the_environment_goes_over_the_file(tmp_path):
    file = tmp_path / "llmgate.toml"
    file.write_text('[server]\napi_key = "file"\n')
    assert config.load(file, {}).server.api_key == "file"
    assert config.load(file, {"LLMGATE_API_KEY": "env"}).server.api_key == "env"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[models.a]\nwraper = 'x'", "unknown key 'models.a.wraper'.*Did you mean 'wrapper'"),
        ("[sever]", "unknown key 'sever'.*Did you mean 'server'"),
        ("[server]\nport = 'x'", "server.port: Expected int"),
        ("[server]\nport = 70000", "server.port"),
        ("[models.a]\nqueue = -1", "models.a.queue"),
        (
            "[models.a]\nsampling = {temprature = 1}",
            "'models.a.sampling.temprature'.*'temperature'",
        ),
        ("[models.a]\nsampling = {temperature = 'hot'}", "models.a.sampling.temperature"),
        ("[models.a]\ntimeouts = 5", "models.a.timeouts must be a table"),
        ("models = 5", "models must be a table"),
        ("[models]\na = 5", "models.a must be a table"),
        ("= 5", "not valid TOML"),
        ("[models.a]\nbackend = 'x'\nreplicas = 5", "models.a.replicas must be tables"),
        ("[models.a]\nbackend = 'x'\nreplicas = [5]", r"models.a.replicas\[0\] must be a table"),
        (
            "[[models.a.replicas]]\nurl = 'x'\n[[models.a.replicas]]\nurl = 'y'\nwieght = 2",
            r"'models.a.replicas\[1\].wieght'.*Did you mean 'weight'",
        ),
        (
            "[models.a]\nbackend = 'x'\nreplicas = [{weight = 1}]",
            r"models.a.replicas\[0\]: .*url",
        ),
        ("[models.a]\nbackend='x'\nreplicas = [{url='u', weight = 0}]", r"replicas\[0\].weight"),
        (
            "[models.a]\nreplicas = [{url = 'x'}]",
            "replicas are servers, .* embedded backend has none",
        ),
        ("[models.a]\ncooldown = 0", "models.a.cooldown"),
        ("[models.a]\nhealth = -1.5", "models.a.health"),
        ("[models.a]\ncache = nan", "models.a.cache: nan can't be used"),
        ("[models.a]\ntimeouts = {total = inf}", "models.a.timeouts.total: inf can't be used"),
        ("[models.a]\ntimeouts = {total = 0}", "models.a.timeouts.total"),
        ("[models.a]\nconcurrency = 0", "models.a.concurrency"),
        ("[models.a]\nbalance = 'random'", "models.a.balance"),
        ("[models.a]\naliases = 'x'", "models.a.aliases"),
        ("[server]\nkeys = 5", "server.keys must be a table"),
        ("[server.keys]\nann = 'secret'", "server.keys.ann must be a table"),
        (
            "[server.keys.ann]\nkye = 'x'",
            "unknown key 'server.keys.ann.kye'.*Did you mean 'key'",
        ),
        ("[server.keys.ann]\nrequests = 5", "server.keys.ann: .*required field key"),
        ("[server.keys.ann]\nkey = ' '", "server.keys.ann.key is empty"),
        ("[server.keys.ann]\nkey = 'k'\nrequests = 0", "server.keys.ann.requests: "),
        (
            "[server.keys.ann]\nkey = 'k'\n[server.keys.bob]\nkey = 'k'",
            "server.keys.bob.key is the same key as server.keys.ann.key",
        ),
        (
            "[server]\napi_key = 'k'\n[server.keys.bob]\nkey = 'k'",
            "server.keys.bob.key is the same key as server.api_key",
        ),
    ],
)
def test_a_bad_file_is_refused_with_key_file_and_match(tmp_path, text, message):
    file = tmp_path / "llmgate.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        config.load(file, env={})
    assert str(file) in str(caught.value)


def test_a_missing_or_unreadable_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.toml does not exist"):
        config.load(tmp_path / "gone.toml", env={})
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="can't read"):
        config.load(binary, env={})


def test_replicas_and_keys_are_read_and_the_log_counts_from_the_file(tmp_path):
    file = tmp_path / "llmgate.toml"
    file.write_text(
        "[server]\nusage_log = 'log/usage.jsonl'\n"
        "[server.keys.ann]\nkey = 'k'\nrequests = 5\nmodels = ['small-*']\n"
        "[models.a]\nbackend = 'llamacpp'\nurl = 'http://one'\naliases = ['b', 'c*']\n"
        "[[models.a.replicas]]\nurl = 'http://two'\nweight = 2.5\n"
    )
    settings = config.load(file, {})
    assert settings.server.usage_log == str(tmp_path / "log" / "usage.jsonl")
    assert settings.server.keys["ann"] == config.KeySettings("k", requests=5, models=("small-*",))
    assert settings.models["a"].replicas == (config.Replica("http://two", weight=2.5),)
    assert settings.models["a"].aliases == ("b", "c*")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[agent]\nlayout = "cache"', "agent.layout can't be 'cache'. Did you mean 'cached'?"),
        (
            '[agent.approvals]\nhttp_request = "yes"',
            "agent.approvals.http_request can't be 'yes'. Known: allow, ask, deny.",
        ),
        ('[models.x]\noverflow = "cut"', "models.x.overflow can't be 'cut'. Known: drop_oldest,"),
    ],
)
def test_a_word_that_no_key_takes_is_refused_with_those_it_does(tmp_path, text, problem):
    with pytest.raises(ConfigError) as caught:
        config.parse(text, tmp_path / "llmgate.toml")
    assert problem in str(caught.value)
