"""Models' templates: to the letter what plain Jinja makes of them, and no harm from hostile ones.

`LLMGATE_CHAT_TEMPLATES` may name a folder of real models' templates: they are tried too.
"""

from __future__ import annotations

import copy
import datetime
import json
import os
from pathlib import Path

import jinja2
import pytest
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmgate.errors import ConfigError, RequestError
from llmgate.wrappers.environment import MAX_TEMPLATE, ModelTemplate, own_environment

FOLDER = os.environ.get("LLMGATE_CHAT_TEMPLATES")
OWN = sorted((Path(__file__).parent / "chat_templates").glob("*.jinja"))
REAL = sorted(Path(FOLDER).glob("*.jinja")) if FOLDER else []
NOW = datetime.datetime(2025, 3, 9, 14, 5)
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Wo? „Straße“ <b>"},
        "days": {"type": "integer", "description": "How many."},
    },
    "required": ["city"],
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "description": "Asks.", "parameters": PARAMETERS},
    }
    for name in ("get_weather", "get_traffic")
]


def conversations():
    arguments = {"city": 'Köln "West" & Ost', "days": 3}
    for given in (arguments, json.dumps(arguments, ensure_ascii=False)):
        for content in ("", None, "Let me see."):
            for count in (1, 2):
                calls = [
                    {
                        "id": f"call0000{n}",
                        "type": "function",
                        "function": {"name": TOOLS[n]["function"]["name"], "arguments": given},
                    }
                    for n in range(count)
                ]
                results = [
                    {"role": "tool", "content": "sunny", "tool_call_id": f"call0000{n}"}
                    for n in range(count)
                ]
                turn = {"role": "assistant", "content": content, "tool_calls": calls}
                yield [
                    {"role": "system", "content": "Be brief.\n"},
                    {"role": "user", "content": "Wetter in 日本? "},
                    turn,
                    *results,
                    {"role": "assistant", "content": "Sunny.", "reasoning_content": "Easy."},
                    {"role": "user", "content": "Thanks"},
                ]
    yield [{"role": "user", "content": "Hi"}]
    yield [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


def variables():
    for messages in conversations():
        for tools in (TOOLS, None):
            for more in ({}, {"enable_thinking": False}):
                yield {
                    "messages": messages,
                    "tools": tools,
                    "documents": None,
                    "add_generation_prompt": True,
                    "bos_token": "<BOS>",
                    "eos_token": "<EOS>",
                    **more,
                }


class Generation(Extension):
    """The block as transformers have it: its body is rendered on its own."""

    tags = frozenset({"generation"})

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_body")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def plain_jinja():
    """Jinja with the settings that transformers give it."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
    )

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    def raise_exception(message):
        raise jinja2.TemplateError(message)

    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = NOW.strftime
    return environment


@pytest.mark.parametrize("path", OWN + REAL, ids=lambda path: path.stem)
def test_every_rendering_is_plain_jinjas(path):
    text = path.read_text(encoding="utf-8")
    template, plain = ModelTemplate(text, now=lambda: NOW), plain_jinja().from_string(text)
    rendered = 0
    for given in variables():
        try:
            expected = plain.render(copy.deepcopy(given))
        except Exception:  # noqa: BLE001 - plain Jinja lets anything through
            continue
        before = copy.deepcopy(given)
        assert template.render(given) == expected
        assert given == before
        rendered += 1
    assert rendered or path.stem.startswith(("CohereForAI-c4ai-command-r-plus", "fireworks"))


@pytest.mark.skipif(FOLDER is None, reason="LLMGATE_CHAT_TEMPLATES names no folder of templates")
def test_the_folder_has_templates():
    assert REAL


def test_lists_made_in_a_template_may_be_changed():
    text = "{% set l = [1] %}{% set _ = l.append(2) %}{% set x = l.pop(0) %}{{ x }}{{ l }}"
    assert ModelTemplate(text).render({}) == "1[2]"


def test_what_is_given_is_never_changed():
    given = {"messages": [{"role": "user", "content": "Hi"}]}
    text = (
        "{% set _ = messages.append(1) %}{% set _ = messages[0].update({'a': 1}) %}{{ messages }}"
    )
    assert ModelTemplate(text).render(given) == "[{'role': 'user', 'content': 'Hi', 'a': 1}, 1]"
    assert given == {"messages": [{"role": "user", "content": "Hi"}]}


def test_a_refusal_is_the_requests_fault():
    with pytest.raises(RequestError, match="only one system message") as caught:
        ModelTemplate("{{ raise_exception('only one system message') }}").render({})
    assert caught.value.status == 400


def test_a_generator_can_be_written_as_json():
    text = "{{ tools | map(attribute='function.name') | tojson }}"
    assert ModelTemplate(text).render({"tools": TOOLS}) == '["get_weather", "get_traffic"]'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{% if %}", "an error in line 1"),
        ("\n{{ x | nothing }}", "line 2: No filter named 'nothing'"),
        ("{{ " + "(" * 2000 + ")" * 2000 + " }}", "can't be used|an error"),
        (" " * (MAX_TEMPLATE + 1), "more than 200000"),
    ],
)
def test_a_text_that_is_no_template_is_said_to_be_none(text, message):
    with pytest.raises(ConfigError, match=message):
        ModelTemplate(text).render({})


DOUBLED = "{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}"
NEST = "{% set ns = namespace(s=[1]) %}" + DOUBLED
TWO = "{% set ns = namespace(s=[1], t=[1]) %}" + DOUBLED + DOUBLED.replace("ns.s", "ns.t")
GROW = "{% set ns = namespace(s='ab') %}{% for i in range(60) %}"
HOSTILE = {
    "a long range": "{% for i in range(10**9) %}{% endfor %}",
    "nested loops": "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}"
    "x{% endfor %}{% endfor %}{% endfor %}",
    "an endless loop": "{% set l = [1] %}{% for x in l %}{% set _ = l.append(1) %}{% endfor %}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "doubling recursion": "{% macro m(n) %}{{ m(n - 1) ~ m(n - 1) if n }}{% endmacro %}{{ m(60) }}",
    "a recursive loop": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "times": "{{ 'a' * 10**10 }}",
    "times the other way": "{{ 10**10 * 'a' }}",
    "a long list": "{{ ([0] * 10**9) | length }}",
    "powers": "{{ 10**(10**10) }}",
    "squares": "{% set ns = namespace(x=9) %}{% for i in range(99) %}"
    "{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "doubling by tilde": GROW + "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "doubling by plus": GROW + "{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "doubling by a block": GROW + "{% set x %}{{ ns.s }}{{ ns.s }}{% endset %}"
    "{% set ns.s = x %}{% endfor %}",
    "doubling by a macro": "{% macro m(s) %}{{ s }}{{ s }}{% endmacro %}" + GROW
    + "{% set ns.s = m(ns.s) %}{% endfor %}",
    "doubling by join": GROW + "{% set ns.s = [ns.s, ns.s] | join %}{% endfor %}",
    "doubling by format": GROW + "{% set ns.s = '%s%s' % (ns.s, ns.s) %}{% endfor %}",
    "doubling by extend": "{% set l = [1] %}{% for i in range(60) %}"
    "{% set _ = l.extend(l) %}{% endfor %}",
    "a list in itself": "{% set l = [] %}{% set _ = l.append(l) %}{{ l }}",
    "one list many times": NEST + "{{ ns.s }}",
    "one list many times as JSON": NEST + "{{ ns.s | tojson }}",
    "one list many times as text": NEST + "{{ ns.s | string | length }}",
    "one list many times in a format": NEST + "{{ '{}'.format(ns.s) }}{{ '%s' % [ns.s] }}",
    "deep comparison": TWO + "{{ ns.s == ns.t }}",
    "deep membership": TWO + "{{ ns.s in [ns.t] }}",
    "deep test": TWO + "{{ [ns.s] | select('eq', ns.t) | list }}",
    "deep key": "{% set ns = namespace(s=(1,)) %}{% for i in range(60) %}"
    "{% set ns.s = (ns.s, ns.s) %}{% endfor %}{{ {ns.s: 1} }}",
    "center": "{{ 'a' | center(10**9) }}",
    "center at compile time": "{{ 'a' | center(1000000000) }}",
    "ljust": "{{ 'a'.ljust(10**9) }}",
    "expandtabs": "{{ ('\t' * 10000).expandtabs(1000000) }}",
    "a wide format": "{{ '%999999999d' % 1 }}",
    "a wide format by a star": "{{ '%*d' % (999999999, 1) }}",
    "a wide str.format": "{{ '{:999999999}'.format(1) }}",
    "a wide str.format inside": "{{ '{:{w}}'.format(1, w=999999999) }}",
    "a wide str.format by attr": "{{ ('{:999999999}' | attr('format'))(1) }}",
    "replace": "{{ ('a' * 4000000).replace('a', 'b' * 4000000) }}",
    "replace filter": "{{ ('a' * 4000000) | replace('', 'b' * 4000000) }}",
    "join": "{{ ('b' * 4000000).join(['a'] * 100000) }}",
    "join of references": "{{ (['b' * 4000000] * 100000) | map('string') | join }}",
    "indent": "{{ ('\n' * 100000) | indent('a' * 100000) }}",
    "wordwrap": "{{ ('ab ' * 1000000) | wordwrap(1, wrapstring='b' * 100000) }}",
    "wide JSON": "{{ [[1]] | tojson(indent=1000000000) }}",
    "round": "{{ 1.5 | round(1000000000) }}",
    "batch": "{{ [1] | batch(1000000000, 'a') | list }}",
    "translate": "{{ ('a' * 1000000).translate({97: 'b' * 1000000}) }}",
    "sum of lists": "{{ ([[1]] * 300000) | sum(start=[]) }}",
    "slices": "{% set s = 'a' * 4000000 %}{% set l = [] %}"
    "{% for i in range(9999) %}{% set _ = l.append(s[i:]) %}{% endfor %}",
    "searches": "{% set s = 'a' * 4000000 %}"
    "{% for i in range(99999) %}{{ 'aab' in s }}{% endfor %}",
    "lipsum": "{{ lipsum(1000000) }}",
    "other files": "{% include 'secret' %}",
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_template_is_stopped(text):
    with pytest.raises(ConfigError, match="chat template"):
        ModelTemplate(text).render({"messages": [{"role": "user", "content": "Hi"}]})


ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ '' | attr('__class__') }}",
    "{{ messages | map(attribute='__class__') | list }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "{{ '{m.__class__}'.format_map({'m': messages}) }}",
    "{{ (['{0.__class__}'] | map('attr', 'format') | first)(1) }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ raise_exception.__globals__ }}{{ strftime_now.__closure__ }}",
    "{{ dict.mro() }}",
    "{{ namespace.__init__ }}",
    "{{ [].append.__self__.__class__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ messages.clear() }}",
    "{{ messages.sort() }}",
    "{{ range.__class__('X', (), {}) }}",
]


@pytest.mark.parametrize("text", ESCAPES)
def test_a_template_can_not_leave_the_sandbox(text):
    given = {"messages": [{"role": "user", "content": "Hi"}]}
    try:
        shown = ModelTemplate(text).render(given)
    except ConfigError:
        return
    assert not any(word in shown for word in ("class", "object at", "globals", "<built-in"))


def test_long_conversations_are_no_hostile_ones():
    message = {"role": "user", "content": "word " * 2000}
    answer = {"role": "assistant", "content": "word " * 2000}
    text = (
        "{% set ns = namespace(all='') %}{% for m in messages %}"
        "{% set ns.all = ns.all ~ m.role ~ ': ' ~ (m.content | trim) ~ '\n' %}"
        "{% endfor %}{{ ns.all }}"
    )
    shown = ModelTemplate(text).render({"messages": [message, answer] * 100})
    assert len(shown) > 1_900_000


def test_our_own_templates_see_their_mistakes():
    with pytest.raises(jinja2.UndefinedError):
        own_environment().from_string("{{ nothing }}").render()
    assert own_environment().from_string("{{ ['ß'] | tojson }}").render() == '["ß"]'
