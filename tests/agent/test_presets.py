"""Presets and texts: the shipped ones are whole, the user's go first, errors say where and what."""

from __future__ import annotations

import pytest

from llmgate import resources
from llmgate.agent import presets, texts
from llmgate.agent.functions.loading import shipped
from llmgate.errors import ConfigError, RequestError, UnknownName

SHIPPED = ["memgpt_chat", "memgpt_chat_compressed", "memgpt_docs", "memgpt_extras", "pilot"]
BASE = (
    "send_message",
    "pause_heartbeats",
    "core_memory_append",
    "core_memory_replace",
    "conversation_search",
    "conversation_search_date",
    "archival_memory_insert",
    "archival_memory_search",
)
EXTRAS = ("message_chatgpt", "read_from_text_file", "append_to_text_file", "http_request")


def written(user, kind, name, text):
    path = user / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_presets_are_these():
    assert presets.names() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_preset_names_functions_that_are_there(name):
    preset = presets.load(name, functions=shipped())
    assert preset.name == name
    assert preset.text
    assert preset.description


# The shipped model was trained on a prompt that explains nothing.
@pytest.mark.parametrize("name", sorted({*SHIPPED} - {"pilot"}))
def test_a_shipped_prompt_explains_the_functions_of_its_preset_and_no_others(name):
    preset = presets.load(name)
    everything = {*BASE, *EXTRAS} - {"pause_heartbeats"}
    named = {function for function in everything if function in preset.text}
    assert named == set(preset.functions) - {"pause_heartbeats"}
    for thing in ("request_heartbeat", "user_message", "system_alert"):
        assert thing in preset.text


def test_the_functions_of_presets_are_the_documented_sets():
    assert presets.load("memgpt_chat").functions == BASE
    assert presets.load("memgpt_docs").functions == BASE
    assert presets.load("memgpt_extras").functions == BASE + EXTRAS


def test_the_compressed_prompt_is_a_kilobyte_at_most():
    assert len(presets.load("memgpt_chat_compressed").text.encode()) <= 1024


def test_nothing_in_a_shipped_text_changes_or_has_to_be_filled_in():
    for kind in ("personas", "humans", "system_prompts"):
        for name in resources.names(kind):
            text = resources.read(kind, name)
            assert "{" not in text
            assert text.isascii()


@pytest.mark.parametrize(("kind", "folder"), [("persona", "personas"), ("human", "humans")])
def test_shipped_personas_and_humans_fit_into_their_blocks(kind, folder):
    found = resources.names(folder)
    assert len(found) >= 2
    for name in found:
        assert 0 < len(presets.read(kind, name)) <= presets.LIMIT


def test_the_users_files_go_before_the_shipped_ones(tmp_path):
    written(tmp_path, "presets", "memgpt_chat.yaml", "system_prompt: mine\nfunctions: [say]\n")
    written(tmp_path, "system_prompts", "mine.txt", "\n  Be brief.  \n")
    written(tmp_path, "personas", "sam.txt", "I am another Sam.\n")
    preset = presets.load("memgpt_chat", tmp_path, ["say", "search"])
    assert (preset.text, preset.functions, preset.system_prompt) == ("Be brief.", ("say",), "mine")
    assert preset.source == tmp_path / "presets" / "memgpt_chat.yaml"
    assert presets.persona("sam", tmp_path) == "I am another Sam."
    assert presets.load("memgpt_docs", tmp_path).system_prompt == "memgpt_docs"


def test_a_users_system_prompt_goes_before_the_shipped_one_of_that_name(tmp_path):
    written(tmp_path, "system_prompts", "memgpt_chat.txt", "Mine.")
    assert presets.load("memgpt_chat", tmp_path).text == "Mine."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("functions: [send_message]", "the key 'system_prompt' is missing"),
        ("system_prompt: memgpt_chat", "the key 'functions' is missing"),
        ("system_prompt: 5\nfunctions: [a]", "system_prompt has to be a text, not 5"),
        ("system_prompt: ' '\nfunctions: [a]", "system_prompt has to be a text"),
        ("system_prompt: [a]\nfunctions: [a]", "system_prompt has to be a text"),
        ("system_prompt: memgpt_chat\nfunctions: a", "functions has to be a list of names"),
        ("system_prompt: memgpt_chat\nfunctions: []", "functions has to be a list of names"),
        ("system_prompt: memgpt_chat\nfunctions: [1]", r"functions\[0\] has to be a name, not 1"),
        ("system_prompt: memgpt_chat\nfunctions: [say, say]", r"functions\[1\]: 'say' is there"),
        ("system_prompt: memgpt_chat\nfunctions: [sey]", r"functions\[0\]: unknown function 'sey'"),
        ("system_prompt: memgpt_chat\nfunctions: [sey]", "Did you mean 'say'"),
        ("system_prompt: chat\nfunctions: [say]", "system_prompt: unknown system prompt 'chat'"),
        ("system_prompts: chat\nfunctions: [say]", "unknown key 'system_prompts'.*system_prompt"),
        (
            "system_prompt: memgpt_chat\nfunctions: [say]\ndescription: 3",
            "description has to be a text",
        ),
        ("- a", "has to be a table"),
        ("", "has to be a table"),
        ("a: [", "is not valid YAML"),
        ("a: !!python/object:os.system x", "is not valid YAML"),
        ("[" * 5000, "is not valid YAML"),
    ],
)
def test_what_is_wrong_with_a_preset_names_the_file_and_the_key(tmp_path, text, said):
    path = written(tmp_path, "presets", "mine.yaml", text)
    with pytest.raises(ConfigError, match=said) as error:
        presets.load("mine", tmp_path, ["say"])
    assert str(path) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_preset_that_is_no_text_names_the_file(tmp_path):
    path = written(tmp_path, "presets", "mine.yaml", "")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"can't read .*mine\.yaml"):
        presets.load("mine", tmp_path)


@pytest.mark.parametrize("name", ["nobody", "", "../sam", ".sam", "a/b", "a\\b", "a\0b"])
def test_unknown_names_say_which_are_known(name, tmp_path):
    with pytest.raises(UnknownName, match=r"unknown persona.*anna_pa"):
        presets.persona(name, tmp_path)
    with pytest.raises(UnknownName, match=r"unknown human.*basic"):
        presets.human(name, tmp_path)
    with pytest.raises(UnknownName, match=r"unknown preset.*memgpt_chat"):
        presets.load(name, tmp_path)


def test_a_close_name_is_suggested():
    with pytest.raises(UnknownName, match="Did you mean 'anna_pa'"):
        presets.persona("anna-pa")


def test_a_text_over_its_limit_is_refused_with_both_numbers(tmp_path):
    path = written(tmp_path, "personas", "long.txt", "é" * 2001)
    with pytest.raises(ConfigError, match="2001 characters, and 2000 are allowed") as error:
        presets.persona("long", tmp_path)
    assert str(path) in str(error.value)
    path.write_text("\n" + "é" * 2000 + "\n", encoding="utf-8")
    assert len(presets.persona("long", tmp_path)) == 2000
    with pytest.raises(ConfigError, match="10 are allowed"):
        presets.persona("long", tmp_path, limit=10)


def test_a_text_is_added_read_and_deleted(tmp_path):
    path, covers = texts.add("persona", "iris", "  I am Iris. ✿\n", tmp_path)
    assert not covers
    assert presets.persona("iris", tmp_path) == "I am Iris. ✿"
    assert [found.name for found in path.parent.iterdir()] == ["iris.txt"]
    texts.delete(texts.own("persona", "iris", tmp_path))
    with pytest.raises(UnknownName):
        presets.persona("iris", tmp_path)


def test_a_text_is_not_written_over_unless_it_is_forced(tmp_path):
    texts.add("human", "me", "one", tmp_path)
    with pytest.raises(ConfigError, match=r"there is a human 'me' already: .*me\.txt.*--force"):
        texts.add("human", "me", "two", tmp_path)
    assert presets.human("me", tmp_path) == "one"
    texts.add("human", "me", "two", tmp_path, force=True)
    assert presets.human("me", tmp_path) == "two"


def test_a_text_of_a_shipped_name_says_that_it_goes_before_it(tmp_path):
    assert texts.add("persona", "sam", "Another.", tmp_path)[1]
    assert presets.persona("sam", tmp_path) == "Another."


@pytest.mark.parametrize("name", ["", "a/b", "..", ".a", "a\\b", "a\nb", " a", "x" * 65, "a\0"])
def test_names_that_could_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises((ConfigError, RequestError)):
        texts.add("persona", name, "text", tmp_path)
    assert not (tmp_path / "personas").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [(" \n", "no text"), ("x" * 2001, "2001 characters"), ("a\0b", "NUL"), ("\ud800", "can't")],
)
def test_texts_that_no_block_can_hold_are_refused(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        texts.add("persona", "iris", text, tmp_path)
    assert not (tmp_path / "personas" / "iris.txt").exists()


def test_a_shipped_text_cannot_be_deleted(tmp_path):
    with pytest.raises(ConfigError, match="'sam' comes with llmgate"):
        texts.own("persona", "sam", tmp_path)
    texts.add("persona", "sam", "Another.", tmp_path)
    assert texts.own("persona", "sam", tmp_path) == tmp_path / "personas" / "sam.txt"
