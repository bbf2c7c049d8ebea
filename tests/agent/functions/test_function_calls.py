"""Calls: arguments checked and coerced, whatever a function does contained, results in words."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from enum import Enum
from typing import Any, Literal

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmgate.agent.functions import call, function, function_of, no_such_function
from llmgate.errors import FunctionError


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


def take(
    number: int,
    flag: bool = False,
    colour: Colour = Colour.RED,
    points: list[Point] | None = None,
    page: int = 0,
    text: str = "",
):
    """Take things.

    Args:
        number: A number.
        flag: A flag.
        colour: A colour.
        points: Points.
        page: A page.
        text: A text.
    """
    return repr((number, flag, colour, points, page, text))


@function()
def by_place(first: int, second: int = 2, /, *, third: int = 3):
    """Take things by their place.

    Args:
        first: One.
        second: Two.
        third: Three.
    """
    return [first, second, third]


def doing(work: Any, **options: Any) -> Any:
    """A function of no parameters that does some work."""

    @function(**options)
    def it():
        """Do it."""
        return work()

    return function_of(it)


def doing_async(work: Any, **options: Any) -> Any:
    @function(**options)
    async def it():
        """Do it."""
        return await work()

    return function_of(it)


async def made(target, arguments, context, **options):
    options.setdefault("approvals", None)
    return await call(function_of(target), arguments, context, **options)


async def done(work, context, **options):
    return await call(doing(work, **options), {}, context, approvals=None)


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ({"number": 1}, (1, False, Colour.RED, None, 0, "")),
        ('{"number": 1}', (1, False, Colour.RED, None, 0, "")),
        ({"number": "5", "flag": "true"}, (5, True, Colour.RED, None, 0, "")),
        ({"number": 1, "flag": "False"}, (1, False, Colour.RED, None, 0, "")),
        ({"number": 1, "colour": "Blue"}, (1, False, Colour.BLUE, None, 0, "")),
        ({"number": 1, "points": {"x": "1"}}, (1, False, Colour.RED, [Point(1)], 0, "")),
        ({"number": 1, "points": '[{"x": 1}]'}, (1, False, Colour.RED, [Point(1)], 0, "")),
        ({"number": 1, "points": None}, (1, False, Colour.RED, None, 0, "")),
        ({"number": 1, "page": None}, (1, False, Colour.RED, None, 0, "")),
        ({"number": 1, "page": "none"}, (1, False, Colour.RED, None, 0, "")),
        ({"number": 1, "text": "none"}, (1, False, Colour.RED, None, 0, "none")),
        ({"number": 1, "request_heartbeat": "true"}, (1, False, Colour.RED, None, 0, "")),
        ({"number": 1, "inner_thoughts": "Hm."}, (1, False, Colour.RED, None, 0, "")),
    ],
)
async def test_arguments_become_what_the_function_takes(context, arguments, result):
    got = await made(take, arguments, context)
    assert (got.ok, got.message) == (True, repr(result))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "number: is required but missing"),
        ({"number": "five"}, 'number: "five" is not of type "integer"'),
        ({"number": 1.5}, "number"),
        ({"number": 1, "colour": "green"}, '"red" or "blue"'),
        ({"number": 1, "points": [{"y": 1}]}, "points[0].x: is required but missing"),
        ({"nubmer": 1}, 'number: is required but missing; There is no argument "nubmer"'),
        ('{"number": 1', "not JSON"),
        ("[1]", "not an object"),
        ("null", "not an object"),
        ({"number": float("nan")}, "nan"),
        ({"number": 1, "text": "\ud800"}, "surrogate"),
        ('{"text": ' + "[" * 300 + "]" * 300 + "}", "nested"),
    ],
)
async def test_arguments_that_do_not_fit_say_why(context, arguments, words):
    result = await made(take, arguments, context)
    assert not result.ok
    assert not result.ran
    assert result.message.startswith("Error calling function take: ")
    assert words in result.message


async def test_unknown_arguments_are_left_out_and_the_model_is_told(context):
    arguments = {"number": 1, "foo": "bar", "points": [{"x": 1, "z": 2}]}
    result = await made(take, arguments, context)
    assert result.ok
    assert result.message.splitlines()[1:] == [
        '(Note: There is no argument "foo", so "bar" was left out.)',
        "(Note: points[0].z: 2 was dropped, since no such property is allowed.)",
    ]
    assert [note.code for note in result.notes] == ["dropped", "coerced"]


async def test_parameters_without_names_for_callers_are_given_by_place(context):
    assert (await made(by_place, {"first": 9, "third": 1}, context)).data == [9, 2, 1]
    assert (await made(by_place, {"first": 9, "second": 8}, context)).data == [9, 8, 3]


@given(
    st.dictionaries(
        st.sampled_from(["number", "flag", "colour", "points", "page", "text", "x", ""]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
            max_leaves=6,
        ),
    )
)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_arguments_of_a_model_do_any_harm(arguments):
    @function()
    async def taken(number: int, points: list[Point] | None = None, colour: Colour | None = None):
        """Take things.

        Args:
            number: A number.
            points: Points.
            colour: A colour.
        """
        assert type(number) is int
        assert points is None or all(type(point.x) is int for point in points)
        assert colour is None or isinstance(colour, Colour)
        return "taken"

    result = asyncio.run(call(function_of(taken), arguments, None, approvals=None))
    assert result.message.startswith("taken" if result.ok else "Error calling function taken: ")
    assert result.ok == result.ran


class Quiet(BaseException):
    """What no `except Exception` catches."""


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def raising(error):
    def work():
        raise error

    return work


def endless():
    return endless()


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (raising(ValueError("bad  thing\nhere")), "ValueError: bad thing here"),
        (raising(KeyError("a")), "KeyError: 'a'"),
        (raising(RuntimeError()), "RuntimeError"),
        (raising(FunctionError("Full.", hint="Delete some.")), "Full. Delete some."),
        (raising(SystemExit(3)), "SystemExit: 3"),
        (raising(GeneratorExit()), "GeneratorExit"),
        (raising(StopIteration(1)), "StopIteration: 1"),
        (raising(StopAsyncIteration()), "StopAsyncIteration"),
        (raising(Quiet("shh")), "Quiet: shh"),
        (raising(MemoryError()), "MemoryError"),
        (raising(ExceptionGroup("n", [ValueError("a")])), "ExceptionGroup: n (1 sub-exception)"),
        (raising(TimeoutError("slow")), "TimeoutError: slow"),
        (raising(Unspeakable()), "Unspeakable"),
        (raising(asyncio.CancelledError()), "CancelledError"),
        (endless, "RecursionError: maximum recursion depth exceeded"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
@pytest.mark.parametrize("kind", ["thread", "coroutine"])
async def test_whatever_a_function_raises_becomes_words(context, work, said, kind):
    async def work_async():
        return work()

    target = doing(work) if kind == "thread" else doing_async(work_async)
    result = await call(target, {}, context, approvals=None)
    if said == "StopIteration: 1" and kind == "coroutine":
        said = "RuntimeError: coroutine raised StopIteration"
    assert not result.ok
    assert result.ran
    assert result.message == f"Error calling function it: {said}"


async def test_an_error_is_told_without_traceback_and_in_few_words(context):
    def work():
        try:
            raise ValueError("the inner one")
        except ValueError as error:
            raise RuntimeError("x" * 10_000) from error

    result = await done(work, context)
    assert "Traceback" not in result.message
    assert "inner" not in result.message
    assert len(result.message) < 400


@pytest.mark.parametrize(
    "text",
    [
        "can't reach https://ann:hunter2hunter2@example.org/",
        "Authorization: Bearer hunter2hunter2",
        "{'api_key': 'hunter2hunter2'}",
        'OPENAI_API_KEY="hunter2hunter2" is wrong',
        "https://x.org/?token=hunter2hunter2&a=1",
        "password=hunter2hunter2",
        "wrong key sk-hunter2hunter2",
        "ghp_hunter2hunter2hunter2",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2hunter2",
    ],
)
async def test_an_error_is_told_without_its_secrets(context, text):
    result = await done(raising(RuntimeError(text)), context)
    assert "hunter2" not in result.message
    assert "RuntimeError: " in result.message


async def test_an_error_that_only_speaks_of_secrets_is_told_whole(context):
    said = "unexpected token found, the password was wrong, basic things"
    assert (await done(raising(RuntimeError(said)), context)).message.endswith(said)


async def test_a_cancelled_call_is_cancelled_and_so_is_the_function(context):
    states = []
    begun = asyncio.Event()

    async def work():
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            states.append("ended")

    task = asyncio.create_task(call(doing_async(work), {}, context, approvals=None))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert states == ["ended"]


async def test_ctrl_c_in_a_function_ends_the_program(context):
    with pytest.raises(KeyboardInterrupt):
        await done(raising(KeyboardInterrupt()), context)


async def test_a_function_that_takes_too_long_is_given_up(context):
    go_on = threading.Event()
    result = await done(go_on.wait, context, timeout=0.02)
    go_on.set()
    assert result.message == (
        "Error calling function it: it took longer than 0.02 seconds. It may still be running."
    )

    async def work():
        await asyncio.Event().wait()

    result = await call(doing_async(work, timeout=0.02), {}, context, approvals=None)
    assert result.message == "Error calling function it: it took longer than 0.02 seconds."
    assert result.ran


async def test_a_function_that_is_not_async_runs_in_a_thread_and_may_speak(context, ears):
    def speaking(agent):
        """Speak."""
        agent.say("one")
        agent.pause(3)
        agent.say("two")
        return threading.current_thread() is threading.main_thread()

    result = await made(speaking, {}, context)
    assert result.message == "False"
    assert ears.said == ["one", "two"]
    assert ears.paused == [3]


async def test_a_function_that_is_not_async_uses_memory_without_await(context, ears):
    def remembering(agent, text: str):
        """Remember it.

        Args:
            text: It.
        """
        block = agent.core.append("human", text, call=agent.call)
        agent.archival.insert(text, call=agent.call)
        found = agent.archival.search(text)
        return [block.value, found.total, agent.ask("big", text), agent.files is None]

    result = await made(remembering, {"text": "Likes tea."}, context)
    assert result.data == ["Name: unknown\nLikes tea.", 1, "big says yes", True]

    def failing(agent):
        """Fail."""
        agent.core.append("nobody", "x")

    result = await made(failing, {}, context)
    assert not result.ok
    assert "nobody" in result.message


async def test_what_a_plain_function_gives_to_wait_for_is_waited_for(context):
    async def later():
        return "later"

    assert (await done(later, context)).message == "later"


class Model(pydantic.BaseModel):
    name: str


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "None"),
        ("", ""),
        ("ünï", "ünï"),
        (3, "3"),
        (True, "True"),
        ({"a": [1, None], "ü": True}, '{"a": [1, null], "ü": true}'),
        ([1, "a"], '[1, "a"]'),
        ((1, 2), "[1, 2]"),
        (Point(1), '{"x": 1, "y": 0}'),
        ([Colour.RED], '["red"]'),
        (Colour.RED, "red"),
        (Model(name="a"), '{"name": "a"}'),
        ({1: "a"}, '{"1": "a"}'),
        ({"a": object}, "<class 'object'>"),
    ],
)
async def test_a_result_is_told_as_text_or_json(context, value, message):
    result = await done(lambda: value, context)
    assert result.ok
    assert message in result.message
    assert result.data == value
    assert isinstance(json.dumps(result.message), str)


async def test_a_result_that_can_not_be_shown_is_a_failure(context):
    class Mute:
        def __str__(self):
            raise ValueError("mute")

    result = await done(Mute, context)
    assert not result.ok
    assert result.message.endswith("what it returned can't be shown (ValueError: mute).")


async def test_a_long_result_is_cut_with_both_lengths_but_not_that_of_a_search(context):
    target = doing(lambda: "x" * 5000)
    result = await call(target, {}, context, approvals=None, limit=300)
    assert len(result.message) == 300
    assert result.message.startswith("x" * 200)
    assert result.message.endswith(
        "[NOTE: function output was cut: 5000 characters, the limit is 300]"
    )
    exempt = doing(lambda: "x" * 5000, unlimited=True)
    assert len((await call(exempt, {}, context, approvals=None, limit=300)).message) == 5000


async def test_the_caller_knows_right_before_the_function_runs(context):
    order = []

    async def started():
        order.append("started")

    await call(doing(lambda: order.append("ran")), {}, context, approvals=None, started=started)
    await made(take, {}, context, started=started)
    assert order == ["started", "ran"]


def test_an_unknown_function_is_answered_with_the_known_ones():
    result = no_such_function("sendmessage", ["send_message", "pause_heartbeats"])
    assert not result.ok
    assert result.message == (
        "No function named sendmessage. Did you mean 'send_message'? "
        "Known: pause_heartbeats, send_message."
    )


async def test_a_default_that_is_not_given_is_the_functions_own(context):
    marker: list[int] = [1]

    def own(mode: Literal["a", "b"] = "a", items: list[int] = marker):
        """Do it.

        Args:
            mode: It.
            items: Them.
        """
        return items is marker

    assert (await made(own, {}, context)).message == "True"
