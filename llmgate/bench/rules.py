"""Whether calls are the right ones: the rules of the Berkeley Function-Calling Leaderboard.

They look at the calls themselves and execute nothing. An argument is right if it has the type
that the function declares (or that of its first right value: a variable in the place of a value)
and is one of the right values. Texts count as the same if they differ only in capitals, the kind
of their quotes, white space and `, . / - _ * ^`. Where a float is declared an integer does as
well, not the other way round.

Beyond the leaderboard's own checker: values may be nested to any depth; calls in any order are
paired up in the best way, not in the first that offers itself; an integer does inside a list of
floats too.

Source: the leaderboard's description of its checks, and what its data expects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from llmgate.bench.cases import ExpectedCall
from llmgate.bench.cases import Language as CaseLanguage
from llmgate.bench.literals import value_of
from llmgate.bench.result import Call, Outcome
from llmgate.types import Tool
from llmgate.wrappers.kinds import ALL, Kinds, kinds_of, resolved

_IGNORED = re.compile(r"[ ,./\-_*^]")
_SHOWN = 120


class Verdict(msgspec.Struct, frozen=True):
    """What an answer is worth, and why it is not right."""

    outcome: Outcome
    problems: tuple[str, ...] = ()


def check_calls(
    expected: Sequence[ExpectedCall],
    tools: Sequence[Tool],
    calls: Sequence[Call],
    *,
    language: CaseLanguage = "python",
    ordered: bool = False,
) -> Verdict:
    """Whether `calls` are the expected ones, all of them and nothing else."""
    read: list[dict[str, Any]] = []
    for call in calls:
        arguments = _read(call)
        if isinstance(arguments, str):
            return Verdict("invalid", (arguments,))
        read.append(arguments)
    schemas = {tool.name: tool.parameters for tool in tools}
    found = [
        [
            call_problems(wanted, call.name, arguments, schemas.get(wanted.name, {}), language)
            for call, arguments in zip(calls, read, strict=True)
        ]
        for wanted in expected
    ]
    fits = [[index for index, problems in enumerate(row) if not problems] for row in found]
    if ordered:
        pairs = {index: index for index, row in enumerate(fits) if index in row}
    else:
        pairs = _paired(fits)
    left_wanted = [index for index in range(len(expected)) if index not in pairs]
    left_calls = [index for index in range(len(calls)) if index not in pairs.values()]
    if not left_wanted and not left_calls:
        return Verdict("right")
    return _verdict(expected, calls, found, left_wanted, left_calls)


def call_problems(
    wanted: ExpectedCall,
    name: str,
    arguments: Mapping[str, Any],
    schema: Mapping[str, Any],
    language: CaseLanguage = "python",
) -> list[str]:
    """What is wrong with a call, in sentences; nothing if it is the wanted one.

    `schema` is the JSON Schema of the wanted function's parameters.
    """
    if name != wanted.name:
        return [f"{name!r} was called, not {wanted.name!r}"]
    required = schema.get("required")
    needed = [key for key in required if isinstance(key, str)] if isinstance(required, list) else []
    needed += [key for key, answers in wanted.arguments.items() if "" not in answers]
    problems = [
        f"{name}: the argument {key!r} is missing"
        for key in dict.fromkeys(needed)
        if key not in arguments
    ]
    properties = schema.get("properties")
    known = properties if isinstance(properties, Mapping) else None
    for key, value in arguments.items():
        if key not in wanted.arguments or (known is not None and key not in known):
            problems.append(f"{name}: there should be no argument {key!r}")
            continue
        answers = wanted.arguments[key]
        kind = wanted.types.get(key, "")
        if problem := _argument_problem(value, answers, schema, key, language, kind):
            problems.append(f"{name}: {problem}")
    return problems


def is_same(value: Any, answer: Any, *, whole: bool = False) -> bool:
    """Whether a value is an answer; `whole`: a float is no integer's value.

    A list's items are compared in their order. An object whose values all are lists has the
    right values of each key in them, "" where it may be missing; another one is meant literally.
    """
    if isinstance(answer, dict):
        return isinstance(value, dict) and (
            _follows(value, answer) or _is_literally(value, answer, whole)
        )
    if isinstance(answer, list):
        return (
            isinstance(value, list)
            and len(value) == len(answer)
            and all(is_same(v, a, whole=whole) for v, a in zip(value, answer, strict=True))
        )
    if isinstance(answer, str) or isinstance(value, str):
        both = isinstance(answer, str) and isinstance(value, str)
        return both and standard(value) == standard(answer)
    if isinstance(answer, bool) or isinstance(value, bool) or answer is None or value is None:
        return value is answer
    if whole and isinstance(value, float) and isinstance(answer, int):
        return False
    return bool(value == answer)


def standard(text: str) -> str:
    """A text without what does not count in a comparison."""
    return _IGNORED.sub("", text).lower().replace("'", '"')


def _read(call: Call) -> dict[str, Any] | str:
    """A call's arguments, or why they can't be read."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as error:
        return f"{call.name}: the arguments are no JSON: {error}"
    if not isinstance(arguments, dict):
        return f"{call.name}: the arguments are no JSON object: {_short(arguments)}"
    return arguments


def _argument_problem(
    value: Any,
    answers: Sequence[Any],
    schema: Mapping[str, Any],
    key: str,
    language: CaseLanguage,
    kind: str,
) -> str:
    """What is wrong with an argument; empty if nothing is."""
    kinds = ALL
    if language == "python":
        kinds = kinds_of(schema, key)
    elif not isinstance(value, str):
        return f"{key!r} has to be {language} in a text, not {_short(value)}"
    else:
        value = value_of(value, language, kind)
    first = next((answer for answer in answers if answer != ""), None)
    if not _has_type(value, kinds) and (first is None or _type(value) != _type(first)):
        return f"{key!r} has to be {_listed(kinds)}, not {_short(value)}"
    whole = language == "python" and _is_whole(schema, key, kinds)
    if any(is_same(value, answer, whole=whole) for answer in answers):
        return ""
    return f"{key!r} is {_short(value)}, right would be {' or '.join(map(_short, answers))}"


def _is_whole(schema: Mapping[str, Any], key: str, kinds: Kinds) -> bool:
    """Whether the numbers of an argument have to be integers, those in a list included."""
    if "array" in kinds and kinds != ALL:
        properties = schema.get("properties")
        own = properties.get(key) if isinstance(properties, Mapping) else None
        own = resolved(own, schema)
        items = own.get("items") if isinstance(own, Mapping) else None
        return items is not None and kinds_of({"properties": {"": items}}, "") == {"integer"}
    return "integer" in kinds and "number" not in kinds


def _type(value: Any) -> str:
    """The type of a value as Python has it: 1.0 is no integer."""
    if isinstance(value, bool):
        return "boolean"
    named = {int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return named.get(type(value), "null")


def _has_type(value: Any, kinds: Kinds) -> bool:
    kind = _type(value)
    return kind in kinds or (kind == "integer" and "number" in kinds)


def _follows(value: dict[str, Any], pattern: dict[str, Any]) -> bool:
    if not all(isinstance(answers, list) for answers in pattern.values()):
        return False
    return all(
        key in pattern and any(is_same(inner, answer) for answer in pattern[key])
        for key, inner in value.items()
    ) and all(key in value or "" in answers for key, answers in pattern.items())


def _is_literally(value: dict[str, Any], answer: dict[str, Any], whole: bool) -> bool:
    return value.keys() == answer.keys() and all(
        is_same(value[key], answer[key], whole=whole) for key in answer
    )


def _paired(fits: Sequence[Sequence[int]]) -> dict[int, int]:
    """As many of the expected calls as possible, each with a call of its own."""
    owner: dict[int, int] = {}

    def place(wanted: int, tried: set[int]) -> bool:
        for call in fits[wanted]:
            if call not in tried:
                tried.add(call)
                if call not in owner or place(owner[call], tried):
                    owner[call] = wanted
                    return True
        return False

    for wanted in range(len(fits)):
        place(wanted, set())
    return {wanted: call for call, wanted in owner.items()}


def _verdict(
    expected: Sequence[ExpectedCall],
    calls: Sequence[Call],
    found: Sequence[Sequence[Sequence[str]]],
    left_wanted: Sequence[int],
    left_calls: Sequence[int],
) -> Verdict:
    """What is wrong where not every call has found its place."""
    problems: list[str] = []
    free = list(left_calls)
    for index in left_wanted:
        near = [call for call in free if calls[call].name == expected[index].name]
        if near:
            best = min(near, key=lambda call: len(found[index][call]))
            free.remove(best)
            out_of_order = f"{expected[index].name!r} was called, but not in its place"
            problems += found[index][best] or [out_of_order]
        else:
            problems.append(f"{expected[index].name!r} was not called")
    problems += [f"{calls[call].name!r} should not be called" for call in free]
    outcome: Outcome = "wrong_arguments"
    if len(calls) < len(expected):
        outcome = "missing_call"
    elif len(calls) > len(expected):
        outcome = "unwanted_call"
    elif free:
        outcome = "wrong_function"
    return Verdict(outcome, tuple(problems))


def _listed(kinds: Kinds) -> str:
    return " or ".join(sorted(kinds))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
