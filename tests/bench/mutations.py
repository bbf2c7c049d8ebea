"""Right calls spoilt in one way each: another name, value or type, an argument too few or many."""

from __future__ import annotations

import copy


def right_calls(expected):
    """Every spelling of a call's arguments that counts as right, each right value once."""
    arguments = expected.arguments
    for number in range(max(map(len, arguments.values()), default=1)):
        chosen = {key: spelt(values[number % len(values)]) for key, values in arguments.items()}
        yield {key: value for key, value in chosen.items() if value != ""}
    yield {key: spelt(values[0]) for key, values in arguments.items() if "" not in values}


def spelt(answer, nested=False):
    """A value of a right answer: objects have lists of right values in them."""
    if isinstance(answer, dict) and all(isinstance(value, list) for value in answer.values()):
        return {
            key: spelt(values[0], nested=True) for key, values in answer.items() if values[0] != ""
        }
    if isinstance(answer, list):
        return [spelt(item) if isinstance(item, dict) else item for item in answer]
    return answer


def mutated(name, arguments, expected, schema):
    """What is done, and the spoilt call's name and arguments."""
    yield "wrong name", f"{name}_of_another", arguments
    yield "wrong name", name[:-1], arguments
    yield "extra argument", name, {**arguments, "zq_unknown": 1}
    yield "extra argument", name, {**arguments, "zq_unknown": ""}
    for key, value in arguments.items():
        if key in schema.get("required", ()) or "" not in expected.arguments[key]:
            yield "missing argument", name, {k: v for k, v in arguments.items() if k != key}
        for other in other_values(value, expected.arguments[key]):
            yield "wrong value", name, {**arguments, key: other}
        for other in other_types(value):
            yield "wrong type", name, {**arguments, key: other}


def other_values(value, answers=()):
    """Values of the same type that mean something else; `answers` tell what may be left out."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1009, -value - 7, value * 10 + 3)
    elif isinstance(value, float):
        yield from (value + 1009.5, -value - 0.25)
    elif isinstance(value, str):
        yield from (f"{value}zq", f"zq {value}", f"{value[: len(value) // 2]}zq", "zq")
    elif isinstance(value, list):
        yield [*value, value[0] if value else 1]
        if value:
            yield value[:-1]
            for index, item in enumerate(value):
                for other in other_values(item):
                    yield [*value[:index], other, *value[index + 1 :]]
    elif isinstance(value, dict):
        yield {**value, "zq_unknown": 1}
        for key, item in value.items():
            if not any("" in answer.get(key, ()) for answer in answers if answer != ""):
                yield {k: v for k, v in value.items() if k != key}
            for other in other_values(item):
                changed = copy.deepcopy(value)
                changed[key] = other
                yield changed


def other_types(value):
    """The value as another type would have it, and values of other types."""
    if isinstance(value, bool):
        yield from (str(value), int(value), [value])
    elif isinstance(value, int):
        yield from (str(value), [value], None, {"value": value})
        yield value == 1  # in Python True is 1 and False is 0
    elif isinstance(value, float):
        yield from (str(value), [value], None, value == 1.0)
    elif isinstance(value, str):
        yield from ([value], {"value": value}, None, 73195, True)
    elif isinstance(value, list):
        yield from (str(value), {"0": value}, None)
    else:
        yield from (str(value), [value], None)
