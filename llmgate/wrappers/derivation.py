"""A style made from the calls that a template writes, where no known style reads them.

The texts around the known names, keys and values are its marks. What comes out has to write the
same calls as the template, and to read them back, or there is no style.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from llmgate.styles import Style
from llmgate.wrappers.abilities import NUMBER_KEY, TEXT_KEY
from llmgate.wrappers.samples import SCHEMAS, Sample, in_common, read, squeezed
from llmgate.wrappers.writing import write_calls

NAME = "derived"
_DECODER = json.JSONDecoder()
# What follows a call and belongs to the turn.
_MOST_MARK = 200


class Span(msgspec.Struct, frozen=True):
    """Where a call's own text stands in a sample, and what of a style it tells."""

    start: int
    end: int
    fields: dict[str, Any]


def derive(samples: Sequence[Sample]) -> Style | None:
    """The style in which the samples are written: one call, and perhaps two in one turn."""
    for shown in ([sample.answer for sample in samples], samples):
        for find in (_object, _named):
            one = find(shown[0].text, shown[0], 0)
            if one is None:
                continue
            for style in _with_marks(shown, one, find):
                if _holds(style, shown):
                    return style
                if find is _object and not re.search(r"[^\s\[\],]", _around(style)):
                    # A JSON list of calls and nothing else: its calls are read one by one.
                    return msgspec.structs.replace(style, open="", close="", between="\n")
    return None


def _around(style: Style) -> str:
    return style.open + style.begin + style.between + style.end + style.close


def _with_marks(samples: Sequence[Sample], one: Span, find: Any) -> list[Style]:
    """The styles that the texts before, between and behind the calls allow."""
    made: list[dict[str, str]] = []
    if len(samples) > 1:
        two = samples[1]
        first = find(two.text, two, 0)
        second = find(two.text, two, 1)
        if first is not None and second is not None and first.end <= second.start:
            made.append(
                _marks(
                    _ids(two.text[: first.start], two),
                    _ids(two.text[first.end : second.start], two),
                    _ids(two.text[second.end :], two),
                )
            )
    before = _ids(samples[0].text[: one.start], samples[0])
    after = _ids(samples[0].text[one.end :], samples[0])
    made.append({"begin": before, "end": after, "between": "\n"})
    return [
        Style(name=NAME, description="found in the model's template", **{**one.fields, **marks})
        for marks in made
        if all(len(mark) <= _MOST_MARK for mark in marks.values())
    ]


def _marks(before: str, between: str, after: str) -> dict[str, str]:
    """What stands around all calls, and around each, told apart by what comes twice."""
    begin = _common_end(before, between)
    rest = between[: len(between) - len(begin)]
    end = _common_start(rest, after)
    return {
        "open": before[: len(before) - len(begin)].lstrip(),
        "begin": begin,
        "end": end,
        "between": rest[len(end) :],
        "close": after[len(end) :].rstrip(),
    }


def _object(text: str, sample: Sample, number: int) -> Span | None:
    """A JSON object that holds the name and the arguments."""
    call = sample.calls[number]
    arguments = json.loads(call.arguments)
    for at in (found.start() for found in re.finditer(r"\{", text)):
        try:
            value, end = _DECODER.raw_decode(text, at)
        except ValueError:
            continue
        if not isinstance(value, dict):
            continue
        if value == {call.name: arguments}:
            return Span(at, end, {"head": "keyed"})
        names = [key for key, inner in value.items() if inner == call.name]
        inners = [key for key, inner in value.items() if inner == arguments]
        if names and inners:
            return Span(at, end, {"function_key": names[0], "arguments_key": inners[0]})
    return None


def _named(text: str, sample: Sample, number: int) -> Span | None:
    """A name and the arguments behind it."""
    call = sample.calls[number]
    for found in reversed(list(re.finditer(re.escape(call.name), text))):
        start, behind = found.span()
        span = (
            _json_behind(text, sample, number, start, behind)
            or _python_behind(text, sample, number, start, behind)
            or _parameters_behind(text, sample, number, start, behind)
        )
        if span is not None:
            return span
    return None


def _json_behind(text: str, sample: Sample, number: int, start: int, behind: int) -> Span | None:
    at = text.find("{", behind)
    if at < 0:
        return None
    try:
        value, end = _DECODER.raw_decode(text, at)
    except ValueError:
        return None
    if value != json.loads(sample.calls[number].arguments):
        return None
    first, middle = _numbered(_ids(text[behind:at], sample), number)
    return Span(start, end, {"head": "named", "middle": middle, "first": first})


def _python_behind(text: str, sample: Sample, number: int, start: int, behind: int) -> Span | None:
    values = json.loads(sample.calls[number].arguments)
    written = r"\s*,\s*".join(
        rf"{re.escape(key)}\s*=\s*['\"]?{re.escape(str(value))}['\"]?"
        for key, value in values.items()
    )
    found = re.compile(rf"\s*\(\s*{written}\s*\)").match(text, behind)
    if found is None:
        return None
    # The bracket that ends the arguments is the call's own.
    fields = {"head": "named", "arguments": "python", "middle": "(", "end": ")"}
    return Span(start, found.end() - 1, fields)


def _parameters_behind(
    text: str, sample: Sample, number: int, start: int, behind: int
) -> Span | None:
    values = json.loads(sample.calls[number].arguments)
    places: list[tuple[int, int, int, int, str]] = []
    for key, value in values.items():
        at = text.find(key, behind)
        value_at = text.find(str(value), at + len(key)) if at >= 0 else -1
        if value_at < 0:
            return None
        places.append((at, at + len(key), value_at, value_at + len(str(value)), key))
    places.sort()
    (key1, key1_end, value1, value1_end, name), (key2, key2_end, value2, value2_end, _) = places
    if not key1_end <= value1 < value1_end <= key2 < key2_end <= value2:
        return None
    head, inner = text[behind:key1], text[value1_end:key2]
    begin = _common_end(head, inner)
    end = inner[: len(inner) - len(begin)]
    if not begin.strip() or not text.startswith(end, value2_end):
        return None
    first, second = text[key1_end:value1], text[key2_end:value2]
    if name == NUMBER_KEY:
        first, second = second, first
    middle = _typed(first, second)
    if middle is None or not middle.strip():
        return None
    number_of_first, before = _numbered(_ids(head[: len(head) - len(begin)], sample), number)
    fields = {
        "head": "named",
        "arguments": "parameters",
        "middle": before,
        "first": number_of_first,
        "parameter": (begin, middle, end),
    }
    return Span(start, value2_end + len(end), fields)


def _typed(text: str, number: str) -> str | None:
    """The mark between a key and its value, from that of a text and that of a whole number."""
    if text == number:
        return text
    for of_text, of_number, hole in (
        ("true", "false", "{string}"),
        ("string", "integer", "{type}"),
        ("string", "number", "{type}"),
    ):
        mark = text.replace(of_text, hole, 1)
        if hole in mark and mark.replace(hole, of_number) == number:
            return mark
    return None


def _ids(text: str, sample: Sample) -> str:
    """A text with `{id}` where it has a call's identifier."""
    for call in sample.calls:
        text = text.replace(call.id, "{id}")
    return text


def _numbered(text: str, number: int) -> tuple[int, str]:
    """A text with `{n}` where it has the number of the call, and what the first one's is."""
    for first in (0, 1):
        mark = re.sub(rf"(?<![\w{{]){number + first}(?![\w}}])", "{n}", text)
        if mark != text:
            return first, mark
    return 0, text


def _common_end(one: str, other: str) -> str:
    """What both texts end with, from the beginning of a mark on."""
    common = one[len(one) - in_common(one[::-1], other[::-1]) :]
    closed, opened = common.find(">"), common.find("<")
    return common[closed + 1 :] if closed >= 0 and not 0 <= opened < closed else common


def _common_start(one: str, other: str) -> str:
    """What both texts begin with, to the end of a mark."""
    common = one[: in_common(one, other)]
    closed, opened = common.rfind(">"), common.rfind("<")
    return common[:opened] if opened > closed else common


def _bare(text: str) -> str:
    """A text without white space and the difference between quotes, and between numbers."""
    return squeezed(text).replace("'", '"').replace("integer", "number")


def _holds(style: Style, samples: Sequence[Sample]) -> bool:
    """Whether a style reads the samples, and writes them as they are but for a call's id."""
    for sample in samples:
        if read(style, sample) is None:
            return False
        written = write_calls(style, sample.calls, SCHEMAS)
        if style.head == "named" and _bare(written) not in _bare(sample.text):
            return False
    # Its own writing has to come back too, without arguments and with signs of other marks.
    for text in ("{}", json.dumps({TEXT_KEY: 'a "b" <c>\n{d}', NUMBER_KEY: -1})):
        call = msgspec.structs.replace(samples[0].calls[0], arguments=text)
        if read(style, Sample((call,), write_calls(style, [call], SCHEMAS))) is None:
            return False
    marks = style.open + style.begin
    if any(call.name in marks for sample in samples for call in sample.calls):
        return False
    return style.bare or bool(re.search(r"[^\s\[{(]", marks))
