"""The arguments of one call that is not written as it should be: as much as is certain of them.

Nothing is completed: a text that ends too early is reported as cut, with where it is cut.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec

from llmgate import repair
from llmgate.errors import OutputError
from llmgate.types import Note
from llmgate.wrappers.arguments import NO_STRING, as_json
from llmgate.wrappers.kinds import STRING, Kinds, kinds_of
from llmgate.wrappers.literals import QUOTE
from llmgate.wrappers.marks import MORE, Mark, search
from llmgate.wrappers.source import Unreadable, ends_in_string

Cut = Literal["no", "between", "string"]
# Python's own parser is not made for hostile text: longer literals are not shown to it.
_MOST_PYTHON = 10_000
_MOST_TRIES = 8
_ENDING = "\n<|im_end|>"
_OPENERS = tuple("'\"[{(")
_ENDS = frozenset("'\"]})")
_GEMMA_STRING = re.compile(re.escape(QUOTE.text) + "(.*?)" + re.escape(QUOTE.text), re.DOTALL)
_HOLE = re.compile("\ue000([0-9]*)\ue001")
_SECTION = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
# The marks of a section in a text that is cut: its beginning, perhaps half of it, or its end.
_CUT_SECTION = re.compile(r"\A<!\[CDATA\[|\A<(?:!(?:\[(?:C(?:D(?:A(?:TA?)?)?)?)?)?)?\Z|\]{1,2}\Z")
_TAG = re.compile(r'<([^\s<>="]+)(?:=|\s+name=")')
_BLANK = r"\s{0,20}"
_KEY = r"""(?P<{}>[^"'<>\n]{{1,256}}?)"""
_FLAG = r"""(?:string\s*=\s*["']?(?P<flag>true|false)["']?)?"""


class Found(msgspec.Struct):
    """What was read of a call's arguments; `cut`: whether the text ends too early, and where."""

    arguments: dict[str, Any] = msgspec.field(default_factory=dict)
    cut: Cut = "no"
    notes: list[Note] = msgspec.field(default_factory=list)

    def note(self, what: str) -> None:
        """Add a note that something was mended."""
        self.notes.append(Note("repaired", what))


def mended(text: str, schema: Mapping[str, Any], *, ended: bool) -> repair.Repaired:
    """The JSON in a text; `ended`: a mark behind it says that it is not cut.

    Raises `OutputError` if there is none.
    """
    # A token that ends answers, so that a number before it is not taken for half of one.
    whole = f"{text}{_ENDING}" if ended else text
    found = repair.loads(whole, schema=dict(schema), max_depth=repair.MAX_DEPTH)
    if not ended:
        return found
    ours = "Removed an end token"
    notes = tuple(note for note in found.notes if not note.message.startswith(ours))
    return msgspec.structs.replace(found, notes=notes, truncated=False)


def json_object(text: str, schema: Mapping[str, Any], *, ended: bool) -> Found | None:
    """Arguments as a JSON object; `ended`: a mark behind `text` says that it is not cut."""
    try:
        found = mended(text, schema, ended=ended)
    except OutputError:
        return None
    if not isinstance(found.value, dict):
        return None
    return Found(found.value, cut_of(found, text), list(found.notes))


def quoted_object(text: str, schema: Mapping[str, Any]) -> Found | None:
    """Arguments as a JSON object inside a JSON string."""
    try:
        inner, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return None
    found = json_object(inner, schema, ended=False) if isinstance(inner, str) else None
    if found is not None:
        found.note("the arguments were JSON inside a string")
    return found


def cut_of(found: repair.Repaired, text: str) -> Cut:
    """Where a JSON text is cut."""
    if not found.truncated:
        return "no"
    return "string" if ends_in_string(text) else "between"


def gemma(text: str, schema: Mapping[str, Any], *, ended: bool) -> Found | None:
    """Pairs `key:value`, or JSON in their place, with or without the brace before them."""
    if _HOLE.search(text):
        return None
    strings: list[str] = []

    def hole(string: re.Match[str]) -> str:
        strings.append(string[1])
        return f'"\ue000{len(strings) - 1}\ue001"'

    plain = _GEMMA_STRING.sub(hole, text)
    if QUOTE.text in plain:  # one that is not closed
        start, _, string = plain.partition(QUOTE.text)
        plain = start + json.dumps(string, ensure_ascii=False).removesuffix('"')
        ended = False
    if not plain.lstrip().startswith("{"):
        plain = f"{{{plain}"
    found = json_object(f"{plain}}}" if ended else plain, schema, ended=ended)
    if found is not None:
        try:
            found.arguments = _filled(found.arguments, strings)
        except ValueError:
            return None
    return found


def _filled(value: Any, strings: list[str]) -> Any:
    """A value with its strings back. Raises ValueError if one of them was torn."""
    if isinstance(value, dict):
        return {_filled(key, strings): _filled(item, strings) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, strings) for item in value]
    if not isinstance(value, str) or "\ue000" not in value:
        return value
    if (hole := _HOLE.fullmatch(value)) is None:
        raise ValueError(value)
    return strings[int(hole[1])]


def parameters(
    text: str, marks: tuple[str, str, str], schema: Mapping[str, Any], *, ended: bool
) -> Found | None:
    """One marked text per argument. None if there is neither one nor an empty text."""
    head, end, found, at = _head(marks), Mark(marks[2]), Found(), 0
    following = head.search(text)
    if following is None and (rest := text.strip()):
        cut_mark = not ended and Mark(marks[0]).match(rest) is MORE
        return Found(cut="between") if cut_mark else None
    while following is not None:
        if stray := text[at : following.start()].strip(" \t\r\n>\"'"):
            found.note(f"text between the parameters was left out: {stray[:40]!r}")
        begun, start = following, following.end()
        following = head.search(text, start)
        stop, at = _value_end(text, start, end, following, ended, found, begun)
        key = _group(begun, "key")
        if key in found.arguments:
            found.note(f"the parameter {key!r} is there twice, the first was kept")
            continue
        value = text[start:stop]
        kinds = _kinds(begun, schema, key)
        if found.cut == "string" and kinds != STRING:
            break  # half a number is another number
        if found.cut == "string":
            value = _CUT_SECTION.sub("", value)
        found.arguments[key] = _value(value, kinds, marks, found)
    if found.cut == "no" and not ended:
        found.cut = "between"
    return found


def swallowed(
    arguments: Mapping[str, Any], marks: tuple[str, str, str], schema: Mapping[str, Any]
) -> bool:
    """Whether a parameter's end mark seems to be missing, so that the next one is in its value."""
    if not marks[0] or not any(isinstance(v, str) and marks[0] in v for v in arguments.values()):
        return False
    head, known = _head(marks), schema.get("properties", {})
    return any(
        key in known and key not in arguments
        for value in arguments.values()
        if isinstance(value, str)
        for found in head.finditer(value)
        if (key := _group(found, "key"))
    )


def _value_end(
    text: str,
    start: int,
    end: Mark,
    following: re.Match[str] | None,
    ended: bool,
    found: Found,
    begun: re.Match[str],
) -> tuple[int, int]:
    """Where a parameter's value ends, and where its end mark does."""
    limit = len(text) if following is None else following.start()
    stop, after = search((end,), text[start:limit], final=True)
    if after is not None:
        return start + stop, start + after
    key = _group(begun, "key")
    if following is not None or ended:
        found.note(f"the end mark of the parameter {key!r} is missing")
        return len(text[:limit].rstrip("\n")), limit
    found.cut = "string"
    for tail in range(min(len(end.core), limit - start), 0, -1):
        if end.match(text, limit - tail) is MORE:
            return limit - tail, limit
    return limit, limit


def _value(text: str, kinds: Kinds, marks: tuple[str, str, str], found: Found) -> Any:
    """A parameter's value; what can't be told is left as a string."""
    sections = _SECTION.findall(text)
    if sections and not _SECTION.sub("", text).strip():
        return "".join(sections)
    if marks[1].endswith("\n"):
        text = text.removeprefix("\n")
    if marks[2].startswith("\n"):
        text = text.removesuffix("\n")
    if kinds == STRING:
        return text
    try:
        return json.loads(as_json(text, kinds, Mark(marks[2])))
    except (Unreadable, ValueError, RecursionError):
        if text.strip()[:1] in ("{", "["):
            try:
                value = mended(text, {}, ended=found.cut == "no")
            except OutputError:
                return text
            found.notes.extend(value.notes)
            return value.value
    # Neither JSON nor near it: what it was meant to be is for the schema's check to say.
    return text.strip()


def _kinds(head: re.Match[str], schema: Mapping[str, Any], key: str) -> Kinds:
    said = _group(head, "flag")
    if said in ("true", "string"):
        return STRING
    return NO_STRING if said else kinds_of(schema, key)


def _group(head: re.Match[str], name: str) -> str:
    """What a group holds that several spellings have."""
    groups = head.groupdict()
    return next((groups[n] for n in (name, f"{name}2", f"{name}3") if groups.get(n)), "")


@lru_cache(maxsize=64)
def _head(marks: tuple[str, str, str]) -> re.Pattern[str]:
    """What begins a parameter: as it should be, or in another of the spellings of such marks."""
    begin, middle, _ = (mark.strip() for mark in marks)
    pieces = [re.escape(piece) for piece in middle.split()]
    exact = _BLANK.join(pieces)
    for name in ("string", "type"):
        exact = exact.replace(re.escape(f"{{{name}}}"), "(?P<flag>[a-z]{1,20})")
    choices = [f"{re.escape(begin)}{_BLANK}{_KEY.format('key')}{_BLANK}{exact}"]
    if tag := _TAG.match(begin):
        key, flag = _KEY.format("key2"), _FLAG.replace("flag", "flag2")
        quote = rf"""{_BLANK}["']?{_BLANK}"""
        label = rf"(?:{_BLANK}=|\s{{1,20}}(?:name|key){_BLANK}=?)"
        choices.append(f"<{re.escape(tag[1])}{label}{quote}{key}{quote}{flag}{_BLANK}>")
    elif len(pieces) == 2:  # the key has marks of its own around it
        key = _KEY.format("key2")
        choices.append(
            f"{re.escape(begin)}{_BLANK}{key}{_BLANK}(?:{pieces[0]})?{_BLANK}{pieces[1]}"
        )
    return re.compile("|".join(choices))


# Python.


def python(text: str, schema: Mapping[str, Any]) -> Found | None:
    """The arguments of a Python call, from behind its opening parenthesis.

    Where they are no Python, they are taken apart where the schema's parameters begin.
    """
    found = Found()
    body = text.rstrip("], \t\r\n")
    closed = body.endswith(")")
    body = body[:-1] if closed else text
    names = [re.escape(name) for name in schema.get("properties", {})]
    name = "|".join(sorted(names, key=len, reverse=True)) or r"[A-Za-z_]\w*"
    heads = list(re.finditer(rf"(?:\A|,){_BLANK}({name}){_BLANK}=(?!=)", body))
    if body[: heads[0].start() if heads else None].strip():
        return None
    edges = [*(head.start() for head in heads[1:]), len(body)]
    index = 0
    while index < len(heads):
        key, start = heads[index][1], heads[index].end()
        value: Any = _NONE
        # What looks like the next argument may stand inside this one's string.
        for last in range(index, min(index + _MOST_TRIES, len(edges))):
            raw = body[start : edges[last]].strip()
            value = _literal(raw)
            if value is not _NONE:
                index = last
                break
        else:
            raw = body[start : edges[index]].strip()
            is_last = index == len(edges) - 1
            if raw[:1] in _OPENERS and not (len(raw) > 1 and raw[0] == raw[-1]):
                if not is_last:
                    return None
                found.cut = "string" if raw[0] in "'\"" else "between"
                break
            if is_last and not closed:
                break
            value = _unquoted(raw)
            found.note(f"the argument {key!r} is no Python literal and was read as a string")
        if not closed and index == len(edges) - 1 and raw[-1] not in _ENDS:
            break  # half a number is another number
        found.arguments[key] = value
        index += 1
    if not closed and found.cut == "no":
        found.cut = "between"
    return found


class _None:
    """What a text is that is no literal."""


_NONE = _None()


def _literal(text: str) -> Any:
    """The value of a Python or JSON literal, `_NONE` for anything else."""
    try:
        return json.loads(as_json(text, NO_STRING, QUOTE))
    except (Unreadable, ValueError, RecursionError):
        pass
    if len(text) > _MOST_PYTHON or _joins_strings(text):
        return _NONE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that there are not
            value = ast.literal_eval(text)
        return json.loads(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _NONE


def _joins_strings(text: str) -> bool:
    """Whether Python makes one string of two; whoever forgets a comma does not mean that."""
    before = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == before == tokenize.STRING:
                return True
            before = before if token.type == tokenize.NL else token.type
    except (tokenize.TokenError, SyntaxError):
        return True
    return False


def _unquoted(text: str) -> str:
    """A text without the quotes around it, if it has some."""
    quote = text[:1]
    if len(text) > 1 and quote in ("'", '"') and text.endswith(quote):
        return text[1:-1].replace(f"\\{quote}", quote)
    return text
