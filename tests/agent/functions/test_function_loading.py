"""The user's own functions: found, and left out with a reason where they can't be used."""

from __future__ import annotations

import textwrap

import pytest

from llmgate.agent.functions import call, load, shipped

GOOD = '''
from __future__ import annotations
import dataclasses
from llmgate.agent.functions import function

@dataclasses.dataclass
class Dice:
    sides: int = 6

def _helper(x):
    return x

@function(approval="allow")
def roll(dice: Dice, times: int = 1):
    """Roll dice.

    Args:
        dice: Which.
        times: How often.
    """
    return [_helper(dice.sides)] * times
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "functions").mkdir()

    def write(**files):
        for name, text in files.items():
            path = tmp_path / "functions" / f"{name}.py"
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        return tmp_path

    return write


def own(functions):
    return sorted(set(functions) - set(shipped()))


def test_without_a_folder_there_are_the_shipped_ones(tmp_path):
    for place in (None, tmp_path, tmp_path / "nowhere"):
        functions, warnings = load(place)
        assert list(functions) == list(shipped())
        assert warnings == ()


async def test_a_users_function_is_there_and_runs(folder, context):
    functions, warnings = load(folder(dice=GOOD))
    assert warnings == ()
    assert own(functions) == ["roll"]
    roll = functions["roll"]
    assert roll.default == "allow"
    assert roll.source.endswith("dice.py")
    result = await call(roll, {"dice": {"sides": 4}, "times": 2}, context, approvals=None)
    assert result.message == "[4, 4]"


def test_functions_of_users_are_asked_about_unless_they_say_otherwise(folder):
    functions, _ = load(folder(a='def a():\n    """Do it."""'))
    assert functions["a"].default == "ask"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def broken(:", ["line 1", "SyntaxError"]),
        ("import nowhere_at_all", ["line 1", "ModuleNotFoundError", "nowhere_at_all"]),
        ("\n\n1 / 0", ["line 3", "ZeroDivisionError"]),
        ("raise SystemExit(3)", ["line 1", "SystemExit"]),
        ("raise BaseException('x')", ["BaseException: x"]),
        ("def f():\n    return f()\nf()", ["RecursionError"]),
        ('def f(x):\n    """Do it."""', ["'f'", "'x'", "no type hint"]),
        ('def f(x: int):\n    """Do it."""', ["'f'", "'x'", "no description"]),
        ("def f():\n    pass", ["'f'", "no description"]),
        (
            'from llmgate.agent.functions import function\n@function(approval="maybe")\n'
            'def f():\n    """Do it."""',
            ["line 2", "maybe", "approval"],
        ),
        (
            'from llmgate.agent.functions import function\n@function(aproval="ask")\n'
            'def f():\n    """Do it."""',
            ["line 2", "aproval"],
        ),
        ('def f(*x: int):\n    """Do it."""', ["'f'", "*x"]),
        (
            "import typing, msgspec\n"
            'def f(x: typing.Annotated[str, msgspec.Meta(pattern="^(a")]):\n'
            '    """Do it.\n\n    Args:\n        x: It.\n    """',
            ["f", "pattern"],
        ),
    ],
)
def test_what_can_not_be_used_is_left_out_with_its_file_and_reason(folder, text, words):
    path = folder(bad=text, good=GOOD)
    functions, warnings = load(path)
    assert own(functions) == ["roll"]
    assert len(warnings) == 1
    for word in [*words, str(path / "functions" / "bad.py"), "left out"]:
        assert word in warnings[0]


def test_bytes_that_are_no_text_are_left_out(folder, tmp_path):
    folder(good=GOOD)
    (tmp_path / "functions" / "bytes.py").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "functions" / "folder.py").mkdir()
    functions, warnings = load(tmp_path)
    assert own(functions) == ["roll"]
    assert len(warnings) == 2


def test_names_are_not_taken_twice(folder):
    same = 'def {}():\n    """Do it."""'
    path = folder(a=same.format("twice"), b=same.format("twice"), c=same.format("send_message"))
    functions, warnings = load(path)
    assert functions["twice"].source.endswith("a.py")
    assert functions["send_message"].source == ""
    assert len(warnings) == 2
    assert "'twice'" in warnings[0]
    assert "b.py" in warnings[0]
    assert "a.py" in warnings[0]
    assert "'send_message'" in warnings[1]
    assert "a function of llmgate" in warnings[1]


def test_helpers_imports_and_hidden_files_are_no_functions(folder):
    text = "from os.path import join\nfrom json import *\nimport re\nclass C: pass\ndef _f(): pass"
    functions, warnings = load(folder(a=text, _b="1 / 0"))
    assert own(functions) == []
    assert warnings == ()


def test_a_function_under_two_names_is_one(folder):
    functions, warnings = load(folder(a='def one():\n    """Do it."""\nother = one'))
    assert own(functions) == ["one"]
    assert warnings == ()


def test_loading_again_sees_what_has_changed(folder):
    assert own(load(folder(a='def one():\n    """Do it."""'))[0]) == ["one"]
    assert own(load(folder(a='def other():\n    """Do it."""'))[0]) == ["other"]
