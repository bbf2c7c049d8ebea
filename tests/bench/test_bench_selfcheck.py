"""The benchmark measures what it should: models whose scores are known get these scores."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest

from llmgate import grammar
from llmgate.bench.asking import Asker, Plan
from llmgate.bench.bfcl import read
from llmgate.bench.cases import Case, Expect, ExpectedCall
from llmgate.bench.judge import judge
from llmgate.bench.loading import load, load_all, shipped
from llmgate.bench.oracle import Oracle, behind, chance, fitting, right_answer
from llmgate.bench.ranks import pairs
from llmgate.bench.result import Call, CellKey
from llmgate.bench.scores import score
from llmgate.styles import STYLES
from llmgate.types import Caps, ChatTemplate, Message, Prompt, Sampling, Tool
from llmgate.validation import Checker
from llmgate.wrappers import ModelWrapper, Wrapper, names
from llmgate.wrappers.template import Template

CASES = load_all(())
SAMPLE = Path(__file__).parent / "bfcl"
CHAT_TEMPLATES = sorted((Path(__file__).parents[1] / "wrappers" / "chat_templates").glob("*.jinja"))
SOUND = """{#- +++
stop = ["<|im_end|>"]
+++ -#}
{% for message in messages %}
<|im_start|>{{ message.role }}
{{ message.text }}<|im_end|>
{% endfor %}
<|im_start|>assistant
{{ prefill }}"""


async def asked(cases, wrapper, *, constraint="off", model=None, named="w", samples=1):
    """The results of a cell whose model is `model`, an oracle if it is not given."""
    model = model or Oracle(cases, wrapper)
    backend = model.backend()
    cell = CellKey("m", "scripted", named, "{}", constraint)
    plan = Plan(max_tokens=2000)
    asker = Asker(cell, backend, wrapper or Wrapper.load("chatml"), Sampling(), plan, judge)
    results = [
        (await asker.ask(case, sample)).result for case in cases for sample in range(samples)
    ]
    return results, backend.prompts


def wrong(results):
    return [(r.suite, r.case, r.problems, r.output) for r in results if r.outcome != "right"]


def test_the_suites_are_as_large_as_they_should_be():
    count = {name: len(load(name)) for name in shipped()}
    least = {"calls": 60, "irrelevance": 40, "parallel": 25, "memory": 20, "json": 25, "chat": 30}
    assert count.keys() == least.keys()
    assert all(count[name] >= n for name, n in least.items())
    assert len({tool.name for case in load("calls") for tool in case.tools}) >= 25


def test_the_suites_ask_everything_only_once():
    questions = [
        message.content
        for case in CASES
        for messages in (case.messages, *(turn.messages for turn in case.turns))
        for message in messages[-1:]
    ]
    assert len(questions) == len(set(questions))


def test_right_answers_of_the_suites_satisfy_the_schemas_of_their_tools():
    for case in CASES:
        checkers = {tool.name: Checker.of(tool.parameters) for tool in case.tools}
        for expect in (case.expect, *(turn.expect for turn in case.turns)):
            said = right_answer(expect, case.tools)
            for call in said.calls:
                assert checkers[call.name].problems(msgspec.json.decode(call.arguments)) == []
            part = msgspec.structs.replace(case, expect=expect)
            calls = [Call(call.name, call.arguments) for call in said.calls]
            assert judge(part, calls, said.text).outcome == "right"


@pytest.mark.parametrize("constraint", ["off", "schema", "grammar"])
@pytest.mark.parametrize("name", names())
async def test_an_oracle_is_always_right_in_every_wrapper(name, constraint):
    cases = CASES[names().index(name) % 4 :: 4]
    results, _ = await asked(cases, Wrapper.load(name), constraint=constraint)
    assert wrong(results) == []
    assert sum(result.repairs + result.retries for result in results) == 0


@pytest.mark.parametrize("name", STYLES)
async def test_an_oracle_is_always_right_in_every_style(name):
    cases = CASES[list(STYLES).index(name) % 12 :: 12]
    wrapper = Wrapper.load("chatml", {"style": name})
    results, _ = await asked(cases, wrapper)
    assert wrong(results) == []
    oracle = Oracle(cases, wrapper)
    results, prompts = await asked(cases, wrapper, constraint="grammar", model=oracle)
    assert wrong(results) == []
    for prompt in prompts[::3]:
        assert grammar.matches(prompt.grammar, oracle.answer(prompt))


@pytest.mark.parametrize("place", ["inside", "beside"])
async def test_an_oracle_that_thinks_is_always_right(place):
    for name in ("airoboros", "chatml"):
        wrapper = Wrapper.load(name, {"inner_thoughts": place})
        results, _ = await asked(CASES[::8], wrapper, constraint="grammar")
        assert wrong(results) == []
        assert any("This is what was asked for." in result.output for result in results)


@pytest.mark.parametrize("path", CHAT_TEMPLATES, ids=lambda path: path.stem)
async def test_an_oracle_is_always_right_in_models_own_templates(path):
    template = ChatTemplate(path.read_text(encoding="utf-8"), "<s>", "</s>")
    wrapper = ModelWrapper().of(Caps(template=template))
    results, _ = await asked(CASES[::8], wrapper)
    assert wrong(results) == []


async def test_an_oracle_is_always_right_where_it_is_asked_with_messages():
    results, _ = await asked(CASES, None, constraint="native", model=Oracle(CASES))
    assert wrong(results) == []


async def test_an_oracle_is_always_right_in_the_leaderboards_format():
    for path in sorted(SAMPLE.glob("*.jsonl")):
        cases = [case for case in read(path) if case.language == "python"]
        # A variable in the place of a list is right by the rules, and by no schema.
        cases = [case for case in cases if case.id != "simple_python_6"]
        results, _ = await asked(cases, Wrapper.load("chatml"))
        assert wrong(results) == []


@pytest.mark.parametrize("skill", [0.0, 0.7])
async def test_a_model_that_guesses_falls_into_its_band(skill):
    wrapper = Wrapper.load("chatml", {"style": "hermes"})
    model = Oracle(CASES, wrapper, skill=skill, seed=7)
    results, _ = await asked(CASES, wrapper, model=model, samples=2)
    chances = {(case.suite, case.id): chance(case, skill) for case in CASES}
    groups = defaultdict(list)
    for result in results:
        for group in (result.suite, "all"):
            groups[group].append((result.outcome == "right", chances[result.suite, result.case]))
    for group, found in groups.items():
        right = sum(one for one, _ in found)
        expected = sum(p for _, p in found)
        deviation = math.sqrt(sum(p * (1 - p) for _, p in found))
        assert abs(right - expected) <= 3.3 * deviation, (group, right, expected)
    [cell] = score(results).cells
    assert cell.right.low < sum(chances.values()) / len(CASES) < cell.right.high
    kinds = {result.outcome for result in results}
    assert {"right", "wrong_function", "missing_call", "unwanted_call"} <= kinds


BROKEN = {
    "loses the last message": SOUND.replace("in messages", "in messages[:-1]"),
    "loses the functions": SOUND.replace("in messages", 'in messages if message.role != "system"'),
    "cuts messages": SOUND.replace(
        "message.text }}", 'message.text[:80] if message.role == "user" else message.text }}'
    ),
    "stops too early": SOUND.replace('["<|im_end|>"]', r"""["<|im_end|>", '": [']"""),
    "writes in capitals": SOUND.replace("message.text", "message.text | upper"),
}


@pytest.mark.parametrize("flaw", BROKEN)
async def test_a_broken_wrapper_is_found_within_two_hundred_samples(flaw):
    suites = ("calls", "parallel", "irrelevance")
    cases = [case for case in CASES if case.suite in suites]
    cases = random.Random(3).sample(cases, 100)
    results = []
    for name, source in (("sound", SOUND), ("as sound", SOUND), ("broken", BROKEN[flaw])):
        wrapper = Wrapper(Template(name, source))
        model = Oracle(cases, wrapper, skill=0.9, seed=1)
        results += (await asked(cases, wrapper, model=model, named=name))[0]
    scores = score(results)
    cells = {cell.key.wrapper: cell for cell in scores.cells}
    order = [cells["sound"], cells["as sound"], cells["broken"]]
    same, first, second = pairs(scores, order)
    assert not same.apart
    assert first.apart
    assert second.apart
    assert cells["broken"].right.high < cells["sound"].right.value


async def test_the_order_is_stable_where_intervals_do_not_overlap():
    results = []
    wrapper = Wrapper.load("chatml")
    for skill in (0.3, 0.6, 0.8, 1.0):
        model = Oracle(CASES, wrapper, skill=skill, seed=5)
        results += (await asked(CASES, wrapper, model=model, named=f"{skill}"))[0]
    cells = sorted(score(results).cells, key=lambda cell: cell.right.value)
    apart = [
        (low.key, high.key)
        for n, low in enumerate(cells)
        for high in cells[n + 1 :]
        if low.right.high < high.right.low
    ]
    assert len(apart) >= 4
    by_case = defaultdict(dict)
    for result in results:
        by_case[result.key][result.cell] = result.outcome == "right"
    rows, dice = list(by_case.values()), random.Random(11)
    kept = dict.fromkeys(apart, 0)
    for _ in range(200):
        sample = dice.choices(rows, k=len(rows))
        right = {cell.key: sum(row[cell.key] for row in sample) for cell in cells}
        for low, high in apart:
            kept[low, high] += right[low] < right[high]
    assert min(kept.values()) >= 190


def test_the_rest_behind_a_prefill_is_what_is_left_to_write():
    assert behind("", "abc") == "abc"
    assert behind('{\n  "function":', '{"function": "f"}') == ' "f"}'
    assert behind('{"function":', '{\n "function": "f"}') == ' "f"}'
    assert behind("{", "words") == "words"
    assert behind("{{", "{") == "{"


def test_made_up_values_fit_plain_schemas():
    schema = {
        "type": "object",
        "properties": {
            "a": {"enum": ["x", "y"]},
            "b": {"type": "array", "items": {"type": "number"}, "minItems": 2},
            "c": {"$ref": "#/$defs/c"},
            "d": {"anyOf": [{"type": "integer", "minimum": 3}, {"type": "null"}]},
            "e": {"const": 5},
            "f": {"type": ["boolean", "string"]},
            "g": {"type": "string"},
        },
        "required": ["a", "b", "c", "d", "e", "f"],
        "$defs": {"c": {"type": "object", "properties": {"k": {}}, "required": ["k"]}},
    }
    value = fitting(schema)
    assert Checker.of(schema).problems(value) == []
    assert value.keys() == set("abcdef")
    endless = {"$ref": "#/$defs/x", "$defs": {"x": {"type": "array", "minItems": 1, "items": {}}}}
    endless["$defs"]["x"]["items"] = {"$ref": "#/$defs/x"}
    assert isinstance(fitting(endless), list)


def test_an_oracle_knows_nothing_that_the_prompt_does_not_say():
    tool = Tool("look", "", {"type": "object", "properties": {"where": {"type": "string"}}})
    case = Case(
        "c",
        (Message("user", "Is anybody there?"),),
        Expect("calls", (ExpectedCall("look", {"where": ["there"]}),)),
        tools=(tool,),
    )
    oracle = Oracle([case], Wrapper.load("chatml"))

    def said(text):
        return oracle.answer(Prompt(text))

    assert "look" in said("look(where) … Is anybody there?")
    assert "look" not in said("look(there) … Is anybody out?")
    assert "where" not in said("glance() … Is anybody there?")
    assert chance(case) == 0.5
    assert chance(case, 0.5) == 0.75
