"""What is kept of earlier turns changes no letter of a prompt."""

from __future__ import annotations

import itertools
import json

import jinja2
import msgspec
import pytest
from conversations import LOOKUP, SEND
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgate import resources
from llmgate.types import Message, Request, ToolCall
from llmgate.wrappers import Template, Wrapper
from llmgate.wrappers.conversation import Views
from llmgate.wrappers.environment import ModelTemplate, own_environment
from llmgate.wrappers.memory import Memory
from llmgate.wrappers.spec import Options, Spec
from llmgate.wrappers.turns import Turn, Turns

SHIPPED = resources.names("templates")
PLAIN = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'] | trim }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
texts = st.text(st.sampled_from("ab {}\n\"'<|>\x00é\\"), max_size=12)
calls = st.builds(
    ToolCall,
    st.sampled_from(["a", "b"]),
    st.sampled_from(["lookup_order", "send_message", "gone"]),
    texts.map(lambda text: json.dumps({"message": text})) | st.just("{broken"),
)
message = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    texts,
    st.lists(calls, max_size=2).map(tuple),
    st.sampled_from([None, "a"]),
    st.sampled_from([None, "Ann"]),
)


def plain(source, variables):
    """What jinja2 itself makes of a template."""
    return own_environment().from_string(source).render(variables)


def rendered(source, turns, **more):
    variables = {"messages": [dict(turn) for turn in turns], "options": {"o": "O"}, **more}
    kept = Turns(own_environment(), source, ("options",))
    expected = plain(source, variables)
    for given_turns in ([Turn(turn) for turn in turns], [dict(turn) for turn in turns]):
        for _ in range(2):
            assert kept.render({**variables, "messages": given_turns}) == expected
    return kept


MODEL = ModelTemplate(PLAIN)
TURNS = [{"role": role, "text": text} for role, text in zip("suatu", "vwxyz", strict=True)]


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{{ m.role }}{{ m.text }}{% endfor %}",
        "A{% for m in messages[1:] %}\n  {{ m.role }}{{ options.o }}\n{% endfor %}\nZ",
        "{% for m in messages %}{% if m.role == 'u' %}{% continue %}{% endif %}{{ m }}{% endfor %}",
        "{% for m in messages %}{% set x = m.text ~ '!' %}{{ x }}{% endfor %}",
        "{% for m in messages | rejectattr('role', 'equalto', 'u') %}{{ m.text }}{% endfor %}",
        "{% for m in messages %}{% for c in m.text %}{{ c | upper }}{% endfor %}{% endfor %}",
        "{% for m in messages | reverse %}{{ m.text }}{% endfor %}",
    ],
)
def test_a_loop_that_looks_at_its_message_only_is_taken_apart(source):
    assert rendered(source, TURNS).apart


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{{ loop.index }}{{ m.text }}{% endfor %}",
        "{% for m in messages %}{{ m }}{% if m.role == 'a' %}{% break %}{% endif %}{% endfor %}",
        "{% set n = namespace(i=0) %}{% for m in messages %}{% set n.i = 1 %}{{ n.i }}{% endfor %}",
        "{% set a = 1 %}{% for m in messages %}{{ a }}{% endfor %}",
        "{% set x = 1 %}{% for m in messages %}{{ x }}{% set x = 2 %}{{ x }}{% endfor %}",
        "{% for m in messages %}{{ messages[0].text }}{{ m.text }}{% endfor %}",
        "{% for m in messages if m.role != 'u' %}{{ m.text }}{% endfor %}",
        "{% for m in messages %}{{ m.text }}{% else %}none{% endfor %}",
        "{% for m in messages %}{{ prefill }}{{ m.text }}{% endfor %}",
        "{% macro f(m) %}{{ m.text }}{% endmacro %}{% for m in messages %}{{ f(m) }}{% endfor %}",
        "{% if true %}{% for m in messages %}{{ m.text }}{% endfor %}{% endif %}",
        "{% for c in 'abc' %}{{ c }}{% endfor %}",
        "{% for k, v in messages[0].items() %}{{ k }}{{ v }}{% endfor %}",
        "{% for m in messages %}{% set options = {'o': m.text} %}{{ options.o }}{% endfor %}",
    ],
)
def test_a_loop_that_looks_anywhere_else_is_left_as_it_is(source):
    assert not rendered(source, TURNS, prefill="P").apart


@pytest.mark.parametrize("template", SHIPPED)
def test_every_shipped_template_keeps_its_turns(template):
    assert Turns(own_environment(), resources.read("templates", template), ("options",)).apart


@pytest.mark.parametrize("template", SHIPPED)
@pytest.mark.parametrize("thoughts", ["off", "inside", "beside"])
def test_a_prompt_is_the_same_whatever_was_rendered_before(template, thoughts):
    source = resources.read("templates", template)
    used = Template(template, source, {"inner_thoughts": thoughts})
    compiled = own_environment().from_string(source)

    def afresh(request, appendix):
        """What jinja2 makes of it, with nothing kept."""
        shown = Views(used.spec, used.style, used.options).of(
            request.messages, appendix, request.tools
        )
        return compiled.render(
            messages=[dict(turn) for turn in shown],
            tools=[msgspec.structs.asdict(tool) for tool in request.tools],
            options={**msgspec.structs.asdict(used.options), **used._own_options},
            prefill="",
            add_generation_prompt=True,
        )

    @settings(max_examples=12, deadline=None)
    @given(st.lists(message, min_size=1, max_size=6), st.lists(message, max_size=3))
    def compare(history, other):
        for messages in (*itertools.accumulate([m] for m in history), [*other, *history]):
            for tools in ((LOOKUP, SEND), ()):
                request = Request("m", tuple(messages), tools=tools)
                appendix = "The functions." if tools else ""
                assert used.write(request, appendix, "") == afresh(request, appendix)

    compare()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(
            st.fixed_dictionaries(
                {"role": st.sampled_from(["system", "user"]), "content": texts},
                optional={"name": texts, "parts": st.lists(texts, max_size=2)},
            )
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_models_prompt_is_the_same_whatever_was_rendered_before(conversations):
    for conversation in conversations:
        variables = {"messages": conversation, "bos_token": "<s>", "eos_token": "</s>"}
        variables["add_generation_prompt"] = True
        expected = "<s>" + "".join(
            f"<|im_start|>{view['role']}\n{view['content'].strip()}</s>\n" for view in conversation
        )
        assert MODEL.render(variables) == f"{expected}<|im_start|>assistant\n"


def test_a_models_template_gets_other_tokens_and_writes_them():
    template = ModelTemplate(PLAIN)
    given_ = {"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": False}
    for eos in ("</s>", "<|end|>", "</s>"):
        tokens = {"bos_token": "<s>", "eos_token": eos}
        assert template.render({**given_, **tokens}) == f"<s><|im_start|>user\nhi{eos}\n"


def test_a_message_is_looked_at_once():
    views = Views(Spec(), Wrapper.load("chatml").style, Options())
    history = [Message("user", str(n)) for n in range(50)]
    first = views.of(history, "", ())
    again = views.of([*history[:-1], Message("user", "48"), Message("user", "x")], "", ())
    assert all(one is other for one, other in zip(first[:49], again, strict=False))
    assert again[49] is first[48]


def test_what_is_kept_is_bounded():
    memory = Memory()
    made = []

    def make(message):
        made.append(message)
        return message.content

    messages = [Message("user", str(n)) for n in range(10_000)]
    assert memory.of(messages, (), make) == [str(n) for n in range(10_000)]
    assert len(made) == 10_000
    memory.of(messages[-1000:], (), make)
    assert len(made) == 10_000
    memory.of(messages[:10], (), make)
    assert len(made) == 10_010


def test_a_long_message_pushes_the_others_out():
    memory = Memory()
    made = []

    def make(message):
        made.append(message)
        return len(message.content)

    for text in ("a", "b" * 8_000_000, "c" * 8_000_000, "a"):
        memory.of([Message("user", text)], (), make)
    assert len(made) == 4


def test_other_tools_are_other_views():
    memory = Memory()
    one, two = (LOOKUP,), (SEND,)
    hello = [Message("user", "hello")]
    assert memory.of(hello, one, lambda _: "one") == ["one"]
    assert memory.of(hello, two, lambda _: "two") == ["two"]
    same = tuple(Request("m", (), tools=one).tools)
    assert memory.of(hello, (*same,), lambda _: "again") == ["one"]


def test_a_mistake_in_a_template_is_seen_as_before():
    with pytest.raises(jinja2.UndefinedError):
        Turns(own_environment(), "{% for m in messages %}{{ m.gone.x }}{% endfor %}", ()).render(
            {"messages": [{"role": "user"}]}
        )
