"""The stream law: however an answer is cut into pieces, folding the stream gives the whole answer.

For every style, with and without a grammar, sound and damaged answers. `--cuttings 10000000`
tries more of them than a test run should wait for.
"""

from __future__ import annotations

import json
import random
import re

import pytest

from llmgate.errors import OutputError
from llmgate.styles import REASONING, STYLES
from llmgate.types import Caps, Completion, Message, Request, Tool, ToolCall
from llmgate.wrappers import Wrapper
from llmgate.wrappers.writing import write_calls

TOOLS = (
    Tool(
        "get_weather",
        "The weather.",
        {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "where": {"type": "object", "properties": {"lat": {"type": "number"}}},
                "tags": {"type": "array", "items": {"type": "string"}},
                "exact": {"type": "boolean"},
            },
            "required": ["city"],
        },
    ),
    Tool("get_news", "The news.", {"type": "object", "properties": {"topic": {"type": "string"}}}),
)
SCHEMAS = {tool.name: tool.parameters for tool in TOOLS}
CALLS = (
    ToolCall("call00001", "get_weather", '{"city": "Köln 😀 \\"am Rhein\\"", "days": 3}'),
    ToolCall("call00002", "get_news", '{"topic": "line one\\nline two\\n"}'),
    ToolCall(
        "call00003",
        "get_weather",
        '{"city": "a < b, {c} & <d>", "where": {"lat": -1.5e3}, "tags": ["x", ""], "exact": true}',
    ),
    ToolCall("call00004", "get_news", "{}"),
)
WORDS = ("", "Let me look.\n\n", "Prices are <5 and `<tag>` [1] {2}: ok? é😀\n")
DAMAGE = ("", "{", "}", '"', "<", ">", "\n", "\\", " ", "</", "null", "😀")


def wrapper_of(style, **options):
    return Wrapper.load("chatml", {"style": style, "opening_brace": "never", **options})


def answers(style, random_):
    """Answers in that style without end: thoughts, words, calls; every other one damaged."""
    own = STYLES[style]
    while True:
        open_, close = random_.choice(own.reasoning or REASONING)
        text = random_.choice(("", f"{open_}\nThe user wants <this>.\n{close}\n\n"))
        calls = random_.sample(CALLS, random_.choice((0, 1, 1, 2)))
        words = random_.choice(WORDS)
        if words and own.frames:
            frame = own.frames[0]
            words = f"{frame[0]}{words}{frame[1]}"
        text += words
        if calls:
            text += write_calls(own, calls, SCHEMAS)
        if random_.random() < 0.5:
            at = random_.randrange(len(text) + 1)
            text = text[:at] + random_.choice(DAMAGE) + text[at + random_.choice((0, 1, 3)) :]
        yield text


def outcome(wrapper, request, prompt, pieces, reason):
    reader = wrapper.reader(request, prompt)
    deltas = []
    try:
        for piece in pieces:
            deltas += reader.feed(piece)
        deltas += reader.finish(reason)
    except OutputError as error:
        return f"refused: {error}"
    answer = Completion.fold(deltas)
    calls = [(call.name, call.arguments) for call in answer.message.tool_calls]
    message = answer.message
    return message.content, message.reasoning, calls, answer.finish, answer.notes


def cut(text, random_):
    kind = random_.random()
    if kind < 0.1:
        return list(text)
    count = random_.randrange(1, 6 if kind < 0.6 else 30)
    edges = sorted(random_.randrange(len(text) + 1) for _ in range(count))
    return [text[a:b] for a, b in zip([0, *edges], [*edges, len(text)], strict=True)]


@pytest.mark.parametrize("style", STYLES)
def test_folding_a_stream_gives_the_whole_answer(style, request):
    random_ = random.Random(style)
    cuttings = request.config.getoption("--cuttings") // len(STYLES)
    wrapper = wrapper_of(style)
    settings = []
    for parallel in (False, True):
        asked = Request(
            model="m", messages=(Message("user", "Hi"),), tools=TOOLS, parallel=parallel
        )
        settings += [(asked, wrapper.render(asked, caps)) for caps in (Caps(), Caps(grammar=True))]
    texts = answers(style, random_)
    done = 0
    while done < cuttings:
        text = next(texts)
        asked, prompt = random_.choice(settings)
        reason = random_.choice(("stop", "stop", "length"))
        whole = outcome(wrapper, asked, prompt, [text], reason)
        for _ in range(25):
            pieces = cut(text, random_)
            assert outcome(wrapper, asked, prompt, pieces, reason) == whole, (text, pieces)
            done += 1


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("style", STYLES)
def test_no_mark_of_a_sound_answer_leaks_into_the_content(style, held):
    own = STYLES[style]
    asked = Request(model="m", messages=(Message("user", "Hi"),), tools=TOOLS, parallel=True)
    wrapper = wrapper_of(style)
    prompt = wrapper.render(asked, Caps(grammar=not held))
    marks = set()
    for text in (own.open, own.close, own.begin, own.end, *own.skip):
        marks.update(re.findall(r"<[^<>\s]+>|\[[A-Z_]+\]|\w{4,}", text))
    for open_, close in own.reasoning or REASONING:
        words = "Let me look."
        if own.frames:
            words = f"{own.frames[0][0]}{words}{own.frames[0][1]}"
        written = write_calls(own, CALLS, SCHEMAS)
        text = f"{open_}I should look.{close}\n{words}\n{written}"
        content, reasoning, calls, finish, notes = outcome(wrapper, asked, prompt, [text], "stop")
        assert (content, reasoning, finish) == ("Let me look.", "I should look.", "tool_calls")
        assert [(n, json.loads(a)) for n, a in calls] == [
            (call.name, json.loads(call.arguments)) for call in CALLS
        ]
        assert notes == ()
        assert not [mark for mark in marks if mark in content]
