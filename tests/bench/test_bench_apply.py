"""What is best goes into the configuration, and nothing else in it changes."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.bench import apply, toml_text
from llmgate.errors import ConfigError
from tests.bench.results import asked

FILE = Path("llmgate.toml")
CONFIG = """\
# How I reach my models.
[server]
port = 9000   # not the usual one

[models.tiny]          # the small one
backend = "embedded"
path = "tiny.gguf"
wrapper = "alpaca"     # seemed best
context = 4096

# The big one.
[models.big]
backend = "llamacpp"
url = "http://127.0.0.1:8080"
"""


def planned(text, *results):
    return apply.plan([each for run in results for each in run], text, FILE)


def changed(before, after):
    """The lines that are only in one of two texts."""
    old, new = before.splitlines(), after.splitlines()
    return [x for x in old if x not in new], [x for x in new if x not in old]


def test_the_best_wrapper_goes_into_its_model_and_nothing_else_changes():
    plan = planned(CONFIG, asked(0.95, wrapper="good"), asked(0.3, wrapper="alpaca"))
    assert changed(CONFIG, plan.text) == (
        ['wrapper = "alpaca"     # seemed best'],
        ['wrapper = "good"     # seemed best'],
    )
    assert '-wrapper = "alpaca"' in plan.diff
    assert '+wrapper = "good"' in plan.diff
    assert "told apart from all others" in plan.told[0]


def test_a_wrapper_that_cannot_be_told_apart_from_the_best_stays():
    plan = planned(CONFIG, asked(0.85, wrapper="good"), asked(0.8, wrapper="alpaca"))
    assert (plan.text, plan.diff) == (CONFIG, "")
    assert "stays as it is" in plan.told[0]
    assert "cannot be told apart from the best" in plan.told[0]


def test_applying_twice_changes_nothing_more():
    runs = [
        list(asked(0.95, wrapper="good", options='{"thoughts":"inside","x":[1,2]}')),
        list(asked(0.2, wrapper="alpaca")),
    ]
    plan = planned(CONFIG, *runs)
    assert tomllib.loads(plan.text)["models"]["tiny"]["options"] == {
        "thoughts": "inside",
        "x": [1, 2],
    }
    again = planned(plan.text, *runs)
    assert again.diff == ""


def test_a_choice_among_cells_that_were_asked_different_cases_says_so():
    runs = [list(asked(0.95, wrapper="good")), list(asked(0.2, wrapper="alpaca"))[:50]]
    assert "Not all cells were asked the same cases" in planned(CONFIG, *runs).told[0]


def test_each_model_gets_its_own():
    plan = planned(
        CONFIG,
        asked(0.95, wrapper="good"),
        asked(0.2, wrapper="alpaca"),
        asked(0.95, model="big", backend="llamacpp", wrapper="vicuna"),
        asked(0.2, model="big", backend="llamacpp", wrapper="good"),
    )
    models = tomllib.loads(plan.text)["models"]
    assert (models["tiny"]["wrapper"], models["big"]["wrapper"]) == ("good", "vicuna")


def test_a_weaker_constraint_is_written_only_where_it_is_clearly_better():
    same = {"wrapper": "good"}
    alike = planned(
        CONFIG,
        asked(0.93, constraint="off", **same),
        asked(0.9, constraint="grammar", **same),
        asked(0.1, wrapper="alpaca"),
    )
    assert "constraint" not in tomllib.loads(alike.text)["models"]["tiny"]
    better = planned(
        CONFIG,
        asked(0.95, constraint="off", **same),
        asked(0.3, constraint="grammar", **same),
    )
    assert tomllib.loads(better.text)["models"]["tiny"]["constraint"] == "none"


def test_a_constraint_that_was_off_is_put_to_grammar():
    text = CONFIG.replace("context = 4096", 'constraint = "none"  # faster?')
    plan = planned(
        text,
        asked(0.95, wrapper="alpaca", constraint="grammar"),
        asked(0.3, wrapper="alpaca", constraint="off"),
    )
    assert 'constraint = "grammar"  # faster?' in plan.text


def test_the_servers_own_calling_is_mentioned_and_not_written():
    plan = planned(
        CONFIG,
        asked(0.99, wrapper="native", constraint="native"),
        asked(0.7, wrapper="good"),
        asked(0.1, wrapper="alpaca"),
    )
    assert tomllib.loads(plan.text)["models"]["tiny"]["wrapper"] == "good"
    assert "own tool calling was right more often" in plan.told[0]


@pytest.mark.parametrize(
    ("results", "said"),
    [
        (asked(0.9, model="other"), "other: llmgate.toml does not configure it."),
        (asked(0.9, backend="vllm"), "nothing was run with the embedded backend (only vllm)"),
        (asked(0.0), "nothing that was run was right even once"),
        (asked(0.9, constraint="native"), "nothing was run with a wrapper"),
    ],
)
def test_a_model_that_nothing_is_known_of_stays(results, said):
    plan = planned(CONFIG, results)
    assert plan.diff == ""
    assert said in plan.told[0]


@pytest.mark.parametrize(
    "lines",
    [
        "options = { thoughts = 'inside', old = 1 }  # why",
        'options.thoughts = "inside"  # why\noptions.old = 1',
        '[models.tiny.options]\n# about thoughts\nthoughts = "inside"  # why\nold = 1',
    ],
)
def test_options_are_changed_in_whatever_form_they_stand(lines):
    text = f'[models.tiny]\nbackend = "embedded"\nwrapper = "alpaca"\n{lines}\n# the end\n'
    new = '{"hints":true,"thoughts":"outside"}'
    plan = planned(text, asked(0.95, wrapper="alpaca", options=new))
    assert tomllib.loads(plan.text)["models"]["tiny"]["options"] == {
        "hints": True,
        "thoughts": "outside",
    }
    for kept in ("# why", "# the end"):
        assert kept in plan.text
    assert ("# about thoughts" in text) == ("# about thoughts" in plan.text)


@pytest.mark.parametrize("line", ["options = { a = 1, b = 2 }", "options.a = 1\noptions.b = 2"])
def test_options_that_are_not_wanted_any_more_go(line):
    text = f'[models.tiny]\nbackend = "embedded"\nwrapper = "alpaca"\n{line}\n'
    plan = planned(text, asked(0.95, wrapper="alpaca"))
    assert plan.text == '[models.tiny]\nbackend = "embedded"\nwrapper = "alpaca"\n'


@pytest.mark.parametrize(
    "text",
    [
        '[models]\ntiny.backend = "embedded"\n',
        '[models]\ntiny.backend = "embedded"\n\n[models.big]\nbackend = "embedded"\n',
        'models.tiny.backend = "embedded"',
        "[models.tiny.sampling]\ntemperature = 0.5",
        '[models."tiny"]\nbackend = "embedded"',
        "[ models . tiny ]\n\n[models.tiny.sampling]\n",
        '[models.tiny]\r\nbackend = "embedded"\r\n\r\n[models.big]\r\nbackend = "embedded"\r\n',
    ],
)
def test_models_are_found_however_their_table_is_written(text):
    plan = planned(text, asked(0.95, wrapper="good"))
    wanted = tomllib.loads(text)
    wanted["models"]["tiny"]["wrapper"] = "good"
    assert tomllib.loads(plan.text) == wanted
    assert plan.text.replace("\r\n", "").count("\n") == (
        0 if "\r\n" in text else plan.text.count("\n")
    )


def test_what_cannot_be_changed_alone_is_refused_with_what_to_write():
    text = '[models]\ntiny = { backend = "embedded" }\n'
    with pytest.raises(ConfigError, match=r'models\.tiny\.wrapper should be "good"') as raised:
        planned(text, asked(0.95, wrapper="good"))
    assert raised.value.hint == "Change it by hand."


def test_names_that_need_quotes_get_them():
    text = '[models."llama 3.1"]\nbackend = "embedded"\n'
    plan = planned(text, asked(0.95, model="llama 3.1", wrapper='odd "name"\\'))
    assert tomllib.loads(plan.text)["models"]["llama 3.1"]["wrapper"] == 'odd "name"\\'


def test_text_that_looks_like_toml_in_strings_is_left_alone():
    text = '''\
[models.tiny]
backend = "embedded"
extra = { note = """
wrapper = "not this"
[models.tiny]
""", list = [ # a comment ] with "quotes
  1, "]", 'x#y',
] }
wrapper = 'alpaca' # this
'''
    plan = planned(text, asked(0.95, wrapper="good"), asked(0.1, wrapper="alpaca"))
    assert plan.text == text.replace("'alpaca' # this", '"good" # this')


keys = st.sampled_from(["wrapper", "a", "b-c", "ä", "d.e"])
values = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(keys, values, max_size=4), keys, values)
def test_any_value_can_be_put_anywhere(before, key, value):
    lines = "".join(f"{toml_text._key(k)} = {toml_text.literal(v)}\n" for k, v in before.items())
    text = f"[x]\n{lines}# end of x\n[y]\nz = 1\n"
    new = toml_text.put(text, ("x",), key, value)
    assert tomllib.loads(new) == {"x": {**before, key: value}, "y": {"z": 1}}
    assert "# end of x\n[y]\nz = 1\n" in new
    without = toml_text.put(new, ("x",), key, None)
    expected = {k: v for k, v in before.items() if k != key}
    assert tomllib.loads(without) == {"x": expected, "y": {"z": 1}}


@given(st.text(max_size=40))
def test_a_text_that_is_no_toml_is_never_changed(text):
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(tomllib.TOMLDecodeError):
            toml_text.put(text, ("x",), "y", 1)


@pytest.mark.parametrize("value", [float("inf"), None, {1, 2}])
def test_what_toml_has_no_word_for_is_refused(value):
    with pytest.raises(ConfigError, match="can't be written"):
        toml_text.literal(value)


def test_a_file_is_written_whole_with_its_permissions_and_line_ends(tmp_path):
    file = tmp_path / "llmgate.toml"
    file.write_bytes(b"a = 1\r\n")
    file.chmod(0o640)
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    assert apply.read(link) == "a = 1\r\n"
    apply.write(link, "a = 2\r\n")
    assert file.read_bytes() == b"a = 2\r\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link.toml", "llmgate.toml"]


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "llmgate.toml"
    file.write_text("a = 1\n")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        apply.write(file, "a = 2\n")
    assert file.read_text() == "a = 1\n"
    assert [each.name for each in tmp_path.iterdir()] == ["llmgate.toml"]
    with pytest.raises(ConfigError, match="can't read"):
        apply.read(tmp_path / "none")
