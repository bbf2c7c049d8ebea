"""Faults that an edit at one place mends, so that the decoder can read all the rest at its speed.

The decoder says where a text stops being JSON. Where what stands there is a fault that can be
read in one way only, it is mended in the text, and the decoder tries again. What comes of it
counts only if the whole text is valid then; anything else is for the tolerant reader, which
makes the same of these faults, only slower.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from json.encoder import encode_basestring
from typing import Any

import msgspec

from llmgate.repair import patterns as p
from llmgate.repair.cursor import Container
from llmgate.repair.scalars import Dropped, Scalars
from llmgate.repair.strict import restarted

_BEFORE = frozenset(":,[")
_LONGEST = 40
# More edits than this, and the tolerant reader is as fast.
_MOST = 12
# How many characters may be read for them, beyond half of the text.
_FREE = 100_000
_MESSAGE = re.compile(r"JSON is malformed: (.*) \(byte (\d+)\)\Z")
_PLAIN = r'[^"\\\x00-\x1f]*+'
_KEY = re.compile(rf'"{_PLAIN}"\s*+:\s*+{p.VALUE_START.pattern}')
_ITEM = re.compile(rf'"{_PLAIN}"\s*+[,\]]|[{{\[]')
_APART = re.compile(rf"(?<=\s){p.LONE[list].pattern}")
_LITERAL = re.compile(r"(True|False|None)(?=\s*+[,}\]])")
_PYTHON = {"True": "true", "False": "false", "None": "null"}
_CUT = "Input data was truncated"
_WHOLE = frozenset('}]"el')
_DEEPEST = 200
_CLOSER = {"{": "}", "[": "]"}
_OPENER = {"}": "{", "]": "["}
_UNOPENED = re.compile(r'[\w$@][\w$.@/-]*+"\s*+:')
_TOKEN_START = re.compile(r"[-+\w.]*+\Z")
_OPEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|([{}\[\]])', re.DOTALL)
_BARE = re.compile(r"([{,]\s*+)([A-Za-z_$][\w$]*+)(?=\s*+:)")


def _quoted(opener: str, closer: str, excluded: str) -> re.Pattern[str]:
    plain = rf"[^{excluded}\"\\\x00-\x1f]*+"
    return re.compile(rf'{opener}({plain}(?:\\["\\/bfnrtu]{plain})*+){closer}(?=\s*+[,:}}\]])')


_QUOTED = {"'": _quoted("'", "'", "'"), "“": _quoted("“", "”", "“”")}


class _Patched:
    """A text with what was changed in it: `shift` is how much longer it is up to there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.edits: list[tuple[int, str]] = []
        self.shift = 0
        # Up to where the text is what a tolerant reader made.
        self.made = 0
        # Whether the offsets behind the last edit can't be told any more.
        self.final = False

    def put(self, rule: str, at: int, end: int, new: str) -> bool:
        """Replace what is between two offsets."""
        self.edits.append((at - self.shift, rule))
        self.text = self.text[:at] + new + self.text[end:]
        self.shift += len(new) - (end - at)
        return True

    def mend(self, at: int, what: str) -> bool:
        """Mend what the decoder found at an offset; whether that could be done."""
        text = self.text
        char = text[at : at + 1]
        if not char or self.final or len(self.edits) >= _MOST:
            return False
        if char in "/#" and not what.startswith("invalid escape"):
            return self._comment(at)
        if what.startswith("expected ','"):
            return self._separator(at, char, what[-2:-1])
        if what == "expected ':'":
            return self._colon(at, char)
        if what.startswith("trailing comma"):
            comma = text.rfind(",", 0, at)
            return self.put("trailing", comma, comma + 1, "")
        if what.startswith("object keys"):
            return self._key(at, char)
        if what == "trailing characters":
            return self._closed_early(at - 1)
        if what == "invalid character":
            return self._character(at, char)
        if what == "invalid number":
            return self._value(at)
        return what.startswith("invalid escape") and self._string(at - 2)

    def _separator(self, at: int, char: str, closer: str) -> bool:
        """Mend what stands where a comma or a bracket should be."""
        text = self.text
        if char in "}]":
            return self._bracket(at, char, closer)
        if char == ":" and closer == "]":
            return self._member(self._opened(len(text[:at].rstrip()) - 1))
        if closer == "}":
            begins = _KEY.match(text, at)
        else:
            begins = _ITEM.match(text, at) or _APART.match(text, at)
        if begins is not None:
            return self.put("comma", at, at, ",")
        end = len(text[:at].rstrip())
        if text[end - 1] == '"':
            return self._string(end - 1, end)
        return text[at - 1].isalnum() and self._value(at)

    def _lacking(self, closer: str) -> int:
        """How many brackets of a kind are missing in the text, less than 0 if too many."""
        brackets = _OPEN.findall(self.text)
        return brackets.count(_OPENER[closer]) - brackets.count(closer)

    def _bracket(self, at: int, char: str, closer: str) -> bool:
        """Mend a bracket of the wrong kind: it is one too many, one is missing, or it is that."""
        surplus, lacking = self._lacking(char) < 0, self._lacking(closer) > 0
        if lacking and not surplus:
            return self.put("closer", at, at, closer)
        if surplus and not lacking:
            return self.put("extra", at, at + 1, " ")
        return self.put("kind", at, at + 1, closer)

    def _member(self, start: int) -> bool:
        """Mend what made a member stand in an array: the bracket before it, or that none is."""
        before = self.text[:start].rstrip()
        comma = len(before) - 1
        if not before.endswith(","):
            return False
        if self._lacking("]") > 0:
            return self.put("closer", comma, comma, "]")
        end = len(before[:-1].rstrip())
        early = before[end - 1] == "}" and self._lacking("}") < 0
        return early and self.put("extra", end - 1, end, " ")

    def _closed_early(self, at: int) -> bool:
        """Mend a bracket that closes the whole value though members or items follow."""
        text = self.text
        end = len(text[:at].rstrip())
        more = p.MORE_MEMBERS if text[0] == "{" else p.MORE_ITEMS
        return more.match(text, end) is not None and self.put("extra", end - 1, end, " ")

    def _key(self, at: int, char: str) -> bool:
        """Mend what stands where a key should be."""
        text = self.text
        if char == ",":
            return text[:at].rstrip().endswith(",") and self._comma(at)
        if char == "{":
            # `[{"a": 1, {"a": 2}]`: the first object was not closed.
            before = text[:at].rstrip()
            comma = len(before) - 1
            missing = before.endswith(",") and self._lacking("}") > 0
            return missing and self.put("closer", comma, comma, "}")
        if _UNOPENED.match(text, at):
            return self.put("bare_key", at, at, '"')
        return self._notation(char)

    def _colon(self, at: int, char: str) -> bool:
        """Mend what stands where a colon should be."""
        text = self.text
        if char == "=":
            sign = p.COLON.match(text, at)
            return sign is not None and self.put("colon", at, sign.end(), ":")
        end = len(text[:at].rstrip())
        start = self._opened(end - 1)
        reader = self._reader(start)
        if reader is None:
            return False
        key = reader.key_string()
        if reader.torn or reader.pos == end - 1:
            return False  # the string before it may be at fault as well
        if reader.pos < at and not text[reader.pos : at].isspace():
            return self._take(reader, start, reader.pos, key)
        return p.VALUE_START.match(text, at) is not None and self.put("colon", at, at, ":")

    def _comma(self, at: int) -> bool:
        commas = p.COMMAS.match(self.text, at)
        return commas is not None and self.put("trailing", at, commas.end(), "")

    def _comment(self, at: int) -> bool:
        found = p.COMMENT.match(self.text, at)
        return found is not None and self.put("comment", at, found.end(), " ")

    def _character(self, at: int, char: str) -> bool:
        """Mend what stands where a value should be, or a raw control character."""
        text = self.text
        if char < " ":
            return self._string(at)
        before = text[:at].rstrip()
        if char in ":=>":
            sign = p.COLON.match(text, len(before) - 1)
            return sign is not None and self.put("colon", sign.start(), sign.end(), ":")
        if char == ",":
            return before[-1:] == "," and self._comma(at)
        if char in "'“":
            return self._notation(char)
        if literal := _LITERAL.match(text, at):
            return self.put("python", at, literal.end(), _PYTHON[literal[0]])
        return (char.isalnum() or char in "+.") and self._value(at)

    def _notation(self, char: str) -> bool:
        """Put double quotes everywhere where other ones stand, or none around keys."""
        text = self.text
        if quoted := _QUOTED.get(char):
            if '"' in text or self.edits:
                return False
            parts = quoted.split(text)
            self.text = '"'.join(parts)
            ends = list(accumulate(map(len, parts)))
            self.edits = [(end + at, "quotes") for at, end in enumerate(ends) if not at & 1]
            self.edits.pop()
            return len(self.edits) > 0
        if self.edits or not (char.isalpha() or char in "_$"):
            return False
        self.edits = [(found.start(2), "bare_key") for found in _BARE.finditer(text)]
        self.text = _BARE.sub(r'\1"\2"', text)
        self.final = True
        return len(self.edits) > 0

    def _opened(self, at: int) -> int:
        """Where the last string before an offset opens, -1 if none does."""
        text = self.text
        start = text.rfind('"', 0, at)
        while start > 0 and (start - len(text[:start].rstrip("\\"))) & 1:
            start = text.rfind('"', 0, start)
        return start

    def _string(self, at: int, end: int = 0) -> bool:
        """Mend the string around an offset; `end` is where its first quote ends if that is no end.

        How it is to be read depends on what is open around it.
        """
        start = self._opened(at)
        reader = self._reader(start) if start > 0 else None
        if reader is None:
            return False
        before = self.text[:start].rstrip()[-1:]
        if before in "{," and isinstance(reader.stack[-1], dict):
            return False
        if p.EMBEDDED.match(self.text, start):
            return False
        contents = reader.string(None)
        if reader.torn or reader.pos == end or start < self.made:
            return False
        return self._take(reader, start, reader.pos, contents)

    def _value(self, at: int) -> bool:
        """Mend a value without quotes, or without the one that opens it, around an offset."""
        begun = _TOKEN_START.search(self.text, max(0, at - _LONGEST), at)
        at = begun.start() if begun else at
        reader = self._reader(at) if self.text[:at].rstrip()[-1:] in _BEFORE else None
        if reader is None:
            return False
        try:
            value = reader.bare(None)
        except Dropped:
            return False
        return self._take(reader, at, reader.pos, value)

    def _reader(self, at: int) -> Scalars | None:
        """A tolerant reader at an offset, with what is open there in the valid text before."""
        stack: list[Container] = []
        for bracket in _OPEN.findall(self.text, 0, at):
            if bracket == "{":
                stack.append({})
            elif bracket == "[":
                stack.append([])
            elif bracket:
                stack.pop()
        if not stack:
            return None
        reader = Scalars(self.text)
        reader.stack, reader.pos = stack, at
        reader.dicts = sum(isinstance(items, dict) for items in stack)
        if self.edits:
            reader.rules = {rule for _, rule in self.edits}
        return reader

    def _take(self, reader: Scalars, start: int, end: int, value: Any) -> bool:
        """Put in what a tolerant reader made of a part of the text."""
        self.edits += [(offset - self.shift, rule) for offset, rule in reader.edits]
        new = encode_basestring(value) if isinstance(value, str) else json.dumps(value)
        self.text = self.text[:start] + new + self.text[end:]
        self.shift += len(new) - (end - start)
        self.made = start + len(new)
        return True


def read(text: str, error: str) -> tuple[Any, bool, list[tuple[int, str]]] | None:
    """The value of a text that few edits make valid, and those edits; None for any other.

    Between them, whether the text is cut. `error` is what the decoder said about the text.
    """
    patched = _Patched(text)
    budget = len(text) // 2 + _FREE
    while budget > 0 and (found := _MESSAGE.match(error)):
        budget -= len(patched.text)
        at = int(found[2])
        if not patched.text.isascii():
            at = len(patched.text.encode()[:at].decode(errors="ignore"))
        if not patched.mend(at, found[1]):
            return None
        try:
            value = msgspec.json.decode(patched.text)
            return value, False, sorted(patched.edits)
        except msgspec.DecodeError as failure:
            error = str(failure)
        except (ValueError, RecursionError):
            return None
    return _closed(text) if error == _CUT and not patched.edits else None


def _closed(text: str) -> tuple[Any, bool, list[tuple[int, str]]] | None:
    """The value of the beginning of a valid text that ends behind a whole value."""
    if text.rstrip()[-1:] not in _WHOLE:
        return None
    closers: list[str] = []
    for bracket in _OPEN.findall(text):
        if bracket in _CLOSER:
            closers.append(_CLOSER[bracket])
        elif bracket and closers:
            closers.pop()
    if len(closers) > _DEEPEST:
        return None
    closers.reverse()
    try:
        value = msgspec.json.decode(text + "".join(closers))
    except (ValueError, RecursionError):
        return None
    if len(closers) == 1 and (inner := restarted(value)) is not None:
        return inner, False, [(0, "restart")]
    return value, True, [(len(text), "cut")]
