"""The matrix: which cells there are, and which there can't be."""

from __future__ import annotations

import json

import pytest

from llmgate.bench.cells import Choice, canonical, matrix, wrapper_of
from llmgate.bench.probe import held
from llmgate.config import ModelSettings, Replica, Settings
from llmgate.errors import ConfigError, UnknownName
from llmgate.types import Caps, ChatTemplate, Sampling

SHIPPED = ["airoboros", "chatml", "dolphin", "zephyr"]


def settings(**models):
    return Settings(models=models or {"m": ModelSettings(path="m.gguf")})


def cells(found):
    groups, _ = found
    return [cell for group in groups for cell in group.cells]


def test_every_wrapper_but_the_one_for_summaries_is_in_the_matrix():
    found = cells(matrix(settings(), Choice()))
    assert {cell.wrapper for cell in found} == {*SHIPPED, "model"}
    assert {cell.constraint for cell in found} == {"off", "grammar"}
    assert len(found) == len(set(found)) == 10


def test_the_shipped_model_is_known_to_have_no_template():
    found = cells(matrix(settings(tiny=ModelSettings()), Choice()))
    assert {cell.wrapper for cell in found} == set(SHIPPED)


def test_options_are_multiplied_with_each_other():
    choice = Choice(
        wrappers=("chatml",),
        options={"style": ("hermes", "glm"), "inner_thoughts": ("off", "inside")},
        constraints=("off",),
    )
    options = [json.loads(cell.options) for cell in cells(matrix(settings(), choice))]
    assert len(options) == 4
    assert {"style": "glm", "inner_thoughts": "inside"} in options


def test_an_option_of_one_wrapper_makes_no_more_cells_of_another():
    choice = Choice(wrappers=("chatml", "zephyr"), options={"hints": (True, False)})
    found = cells(matrix(settings(), choice))
    assert len([cell for cell in found if cell.wrapper == "chatml"]) == 4
    assert [cell.options for cell in found if cell.wrapper == "zephyr"] == ["{}", "{}"]


def test_options_of_the_configuration_count_for_the_wrappers_that_have_them():
    model = ModelSettings(
        path="m.gguf", wrapper="chatml", options={"style": "hermes", "hints": True}
    )
    choice = Choice(wrappers=("chatml", "zephyr"), constraints=("off",))
    found = {cell.wrapper: cell.options for cell in cells(matrix(settings(m=model), choice))}
    assert found["chatml"] == canonical({"hints": True, "style": "hermes"})
    assert found["zephyr"] == canonical({"style": "hermes"})


def test_options_are_written_the_same_in_any_order():
    assert canonical({"b": 1, "a": {"d": 2, "c": 3}}) == canonical({"a": {"c": 3, "d": 2}, "b": 1})


def test_native_is_asked_over_the_messages_of_the_same_server():
    model = ModelSettings(backend="llamacpp", url="http://127.0.0.1:1")
    groups, left_out = matrix(settings(m=model), Choice(native=True))
    assert not left_out
    assert [group.settings.backend for group in groups] == ["llamacpp", "openai-chat"]
    native = groups[1].cells[0]
    assert (native.backend, native.wrapper, native.constraint) == ("llamacpp", "native", "native")
    assert groups[1].settings.url == model.url


@pytest.mark.parametrize(
    ("backend", "chat"),
    [("ollama", "ollama-chat"), ("lmstudio", "lmstudio-chat"), ("vllm", "openai-chat")],
)
def test_each_server_has_its_own_backend_for_messages(backend, chat):
    model = ModelSettings(backend=backend, url="http://127.0.0.1:1")
    groups, _ = matrix(settings(m=model), Choice(native=True))
    assert groups[-1].settings.backend == chat


def test_what_has_no_native_calls_is_said():
    groups, left_out = matrix(settings(), Choice(native=True))
    assert [group.native for group in groups] == [False]
    assert left_out == ("m, native: embedded has no tool calling of its own",)


def test_a_server_that_only_reads_messages_has_no_cells_of_wrappers():
    model = ModelSettings(backend="openai", url="http://127.0.0.1:1", model="x")
    with pytest.raises(ConfigError, match="no cell in this matrix"):
        matrix(settings(m=model), Choice())
    groups, _ = matrix(settings(m=model), Choice(native=True))
    assert [cell.wrapper for group in groups for cell in group.cells] == ["native"]


def test_replicas_are_one_server():
    model = ModelSettings(backend="llamacpp", replicas=(Replica("http://a"), Replica("http://b")))
    groups, _ = matrix(settings(m=model), Choice(wrappers=("chatml",)))
    assert (groups[0].settings.url, groups[0].settings.replicas) == ("http://a", ())


@pytest.mark.parametrize(
    ("choice", "error", "said"),
    [
        (Choice(models=("n",)), UnknownName, "model"),
        (Choice(wrappers=("chatlm",)), UnknownName, "chatml"),
        (Choice(options={"styl": ("x",)}), ConfigError, "style"),
        (Choice(options={"style": ("hermess",)}), ConfigError, "hermes"),
    ],
)
def test_what_names_nothing_is_refused_before_anything_runs(choice, error, said):
    with pytest.raises(error, match=said):
        matrix(settings(), choice)


def test_models_of_vectors_and_families_are_not_asked():
    models = {"v": ModelSettings(embedding=True), "a/*": ModelSettings(), "m": ModelSettings()}
    assert {cell.model for cell in cells(matrix(settings(**models), Choice()))} == {"m"}


def test_what_is_known_of_the_shipped_model_counts_in_every_cell():
    groups, _ = matrix(settings(tiny=ModelSettings()), Choice(wrappers=("dolphin",)))
    assert groups[0].settings.sampling == Sampling(temperature=0.0)
    wrapper = wrapper_of(groups[0].settings, groups[0].cells[0], None).of(Caps())
    assert wrapper.options.indent == 0


def test_a_cell_is_held_to_its_constraint_and_nothing_else():
    caps = Caps(grammar=True, triggers=True, schema=True, template=ChatTemplate("x"), context=7)
    assert held(caps, "off") == Caps(template=caps.template, context=7)
    grammar = held(caps, "grammar")
    assert (grammar.grammar, grammar.triggers, grammar.schema) == (True, True, False)
    schema = held(caps, "schema")
    assert (schema.grammar, schema.triggers, schema.schema) == (False, False, True)
