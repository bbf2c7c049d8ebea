"""Names and patterns of models: which one is found, and what is refused at the start."""

from __future__ import annotations

import pytest
from scripted_models import FakeClock, gateway_of, model_of, scripted

from llmgate.config import ModelSettings, Replica, Settings
from llmgate.errors import ConfigError, UnknownModel, UnknownName
from llmgate.gateway import Gateway
from llmgate.gateway.routing import Router, chain, filled


def router_of(*names):
    router = Router()
    for name in names:
        router.add(name, name.upper())
    return router


@pytest.mark.parametrize(
    ("asked", "found", "parts"),
    [
        ("gpt-4o", "GPT-4O", ()),
        ("gpt-4o-mini", "GPT-4O-*", ("mini",)),
        ("gpt-4", "GPT-*", ("4",)),
        ("openai/o3", "OPENAI/*", ("o3",)),
        ("openai/a/b", "OPENAI/*", ("a/b",)),
        ("anything\nelse", "*", ("anything\nelse",)),
        ("x-instruct-y", "*-INSTRUCT-*", ("x", "y")),
        ("gpt-4.o", "GPT-*", ("4.o",)),
    ],
)
def test_an_exact_name_goes_before_patterns_and_the_most_specific_of_these_first(
    asked, found, parts
):
    router = router_of("*", "gpt-*", "openai/*", "gpt-4o-*", "*-instruct-*", "gpt-4o")
    assert router.find(asked) == (found, parts)


def test_of_two_patterns_alike_the_one_with_fewer_stars_and_then_the_first_is_taken():
    assert router_of("a*b*", "ab*")
    assert router_of("*a*", "b*", "*a").find("ba")[0] == "B*"


def test_an_unknown_name_comes_with_the_closest():
    with pytest.raises(UnknownModel, match=r"Did you mean 'gpt-4o'\? Known: gpt-4o, local/\*"):
        router_of("gpt-4o", "local/*").find("gtp-4o")
    with pytest.raises(UnknownModel) as caught:
        router_of("open", "secret").find("sekret", lambda name: name == "open")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "a*", ""])
def test_a_name_is_given_once_and_is_never_empty(name):
    with pytest.raises(ConfigError):
        router_of("a", "a*", name)


def test_stars_are_filled_in_their_order():
    assert filled("x/*-*", ("a", "b*")) == "x/a-b*"


def test_a_chain_has_the_own_fallbacks_first_and_each_model_once():
    behind = {"a": ["b", "c"], "b": ["d", "c"], "c": ["d"], "d": []}
    assert chain("a", behind.__getitem__) == ("b", "c", "d")
    assert chain("d", behind.__getitem__) == ()


@pytest.mark.parametrize(
    ("behind", "circle"),
    [
        ({"a": ["a"]}, "a → a"),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, "b → c → b"),
    ],
)
def test_a_circle_of_fallbacks_is_refused(behind, circle):
    with pytest.raises(ConfigError, match=circle):
        chain("a", behind.__getitem__)


def settings_of(**models):
    url = "http://127.0.0.1:1"
    return Settings(
        models={
            name: ModelSettings(backend="llamacpp", url=url, wrapper="chatml", **fields)
            for name, fields in models.items()
        }
    )


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"a": {"aliases": ("b",)}, "b": {}}, "models.a.aliases: the name 'b' stands for two"),
        ({"a": {"aliases": ("x",)}, "b": {"aliases": ("x",)}}, "models.b.aliases: the name 'x'"),
        ({"a": {"aliases": ("x", "x")}}, "'x' stands for two"),
        ({"a": {"fallbacks": ("bb",)}, "b": {}}, "unknown model 'bb' in models.a.fallbacks"),
        ({"a": {"fallbacks": ("b",)}, "b": {"fallbacks": ("a",)}}, "a → b → a"),
        ({"a": {"aliases": ("x",), "fallbacks": ("x",)}}, "models.a.fallbacks: .*a → a"),
        ({"a": {"model": "*"}}, "models.a: `model` has a"),
        ({"a/*": {"model": "*", "aliases": ("b",)}}, "in the name 'b'"),
    ],
)
def test_names_that_cannot_work_are_refused_at_the_start(models, message):
    with pytest.raises(ConfigError, match=message):
        Gateway.open(settings_of(**models))


def test_an_unknown_fallback_comes_with_the_closest():
    with pytest.raises(UnknownName, match="Did you mean 'large'"):
        Gateway.open(settings_of(small={"fallbacks": ("larg",)}, large={}))


async def test_names_and_aliases_are_listed_and_patterns_are_not():
    clock = FakeClock()
    small = model_of("small", scripted(), clock=clock, aliases=("gpt-*", "tiny"))
    gateway = gateway_of(small, model_of("any/*", scripted(), clock=clock), clock=clock)
    assert gateway.names == ["small", "tiny"]
    assert list(gateway.routes) == ["small"]
    for known in ("small", "tiny", "gpt-7", "any/thing"):
        gateway.check(known)
    with pytest.raises(UnknownModel):
        gateway.check("other")


async def test_a_family_opens_a_model_for_what_its_star_stands_for(monkeypatch):
    from llmgate.gateway import models, opening

    opened = []

    def open_scripted(name, settings):
        opened.append((name, settings.model, settings.url, scripted(*["ok"] * 9)))
        return opened[-1][-1]

    monkeypatch.setattr(opening, "open_backend", open_scripted)
    monkeypatch.setattr(models, "_FAMILY", 2)
    from scripted_models import ask

    name = "openai/*"
    gateway = Gateway.open(settings_of(**{name: {"model": "*"}}))
    for asked in ("openai/a", "openai/b", "openai/a", "openai/c", "openai/a"):
        assert (await gateway.complete(ask(asked))).message.content == "ok"
    assert [(name, model) for name, model, *_ in opened] == [
        ("openai/a", "a"),
        ("openai/b", "b"),
        ("openai/c", "c"),
    ]
    # The one that was not asked for the longest made room.
    assert [backend.closed for *_, backend in opened] == [0, 1, 0]
    await gateway.aclose()
    assert [backend.closed for *_, backend in opened] == [1, 1, 1]


def test_replicas_take_what_they_do_not_say_from_the_model(monkeypatch):
    from llmgate.gateway import opening

    opened = []

    def open_scripted(name, settings):
        opened.append(settings)
        return scripted()

    monkeypatch.setattr(opening, "open_backend", open_scripted)
    replicas = (
        Replica("http://two", weight=3.0),
        Replica("http://user:secret@three", api_key="other", model="big"),
    )
    gateway = Gateway.open(settings_of(m={"replicas": replicas, "api_key": "key", "model": "own"}))
    assert [(s.url, s.api_key, s.model, s.replicas) for s in opened] == [
        ("http://127.0.0.1:1", "key", "own", ()),
        ("http://two", "key", "own", ()),
        ("http://user:secret@three", "other", "big", ()),
    ]
    found = gateway._models["m"].replicas.all
    assert [(r.name, r.weight) for r in found] == [
        ("http://127.0.0.1:1", 1.0),
        ("http://two", 3.0),
        ("http://three", 1.0),
    ]


async def test_an_embedded_engine_is_asked_once_and_answers_one_at_a_time(monkeypatch):
    from llmgate.gateway import opening

    monkeypatch.setattr(opening, "open_backend", lambda name, settings: scripted())
    gateway = Gateway.open(Settings(models={"m": ModelSettings()}))
    model = gateway._models["m"]
    assert model.policy.retries == 0
    places = model.replicas.all[0].places
    assert await places.enter("a")
    assert places.taken
    assert not places.full
