"""Values without quotes: numbers and literals in anybody's notation, and bare words."""

from __future__ import annotations

import math
from typing import Any

from llmgate.repair import patterns as p
from llmgate.repair.cursor import WEAK
from llmgate.repair.shapes import Shape
from llmgate.repair.strings import Strings

_WORDS = {**p.LITERALS, **p.FOREIGN}


class Dropped(Exception):
    """There is no value here that is certain."""


class Scalars(Strings):
    """Reads what stands without quotes."""

    def bare(self, form: Shape | None) -> Any:
        """Read a number, a literal, or a string without quotes.

        Raises Dropped if it is cut, so that it may have been another, or can't be held.
        """
        text, start = self.text, self.pos
        kind = type(self.stack[-1])
        grouped = p.GROUPED.match(text, start) if kind is dict else None
        lone = None if grouped else p.LONE[kind].match(text, start)
        if lone and (lone.end() < len(text) or self.ended or lone[1] in _WORDS):
            self.pos = lone.end()
            return self.lone(lone[1], start, form)
        if grouped:
            self.pos = grouped.end()
            if form is not None and form.only("integer", "number", "null"):
                return self._number(grouped[0].replace(",", ""), start, form)
            self.edit("bare", start)
            return grouped[0]
        return self._phrase(start, kind)

    def _phrase(self, start: int, kind: type) -> str:
        """Read a string without its opening quote, or without both."""
        text = self.text
        at = start + 1
        if kind is list and (unopened := p.UNOPENED_ITEM.match(text, start)):
            self.edit("unopened", start)
            self.pos = unopened.end()
            return self.decoded(start, unopened.end() - 1, '"')
        while True:
            stop = p.PHRASE_END.search(text, at)
            end = stop.start() if stop else len(text)
            char = text[end : end + 1]
            at = end + 1
            self.looks -= 1
            if self.looks > 0 and char == '"' and end > start:
                if kind is dict and text[end - 1].isspace() and self._next_key(end):
                    break
                if self.fits(at, kind) >= WEAK:
                    self.edit("unopened", start)
                    self.pos = at
                    return self.decoded(start, end, '"')
                continue
            if self.looks > 0 and char == "," and kind is dict:
                after = self.peek(at)
                if after < len(text) and text[after] not in ",}" and not self._next_key(after):
                    continue
            break
        word = text[start:end].rstrip()
        self.pos = end
        if end >= len(text) and not self.ended:
            cut = any(known.startswith(word) for known in p.WORDS)
            if cut or p.CUT_NUMBER.match(word):
                self.edit("value", start)
                raise Dropped
        self.edit("bare", start)
        return word

    def _next_key(self, at: int) -> bool:
        text = self.text
        string = p.STRING.match(text, at)
        if string:
            behind = self.peek(string.end())
            if behind > string.end() and p.VALUE_START.match(text, behind):
                return True
            return p.COLON.match(text, behind) is not None
        return bool(p.BARE_KEY.match(text, at) or p.CUT_STRING.match(text, at))

    def lone(self, token: str, start: int, form: Shape | None) -> Any:
        """The value of a number or literal in anybody's spelling."""
        if token in p.LITERALS:
            return p.LITERALS[token]
        if token in _WORDS:
            self.edit("python", start)
            return _WORDS[token]
        if token in p.NOT_JSON:
            self.edit("nan", start)
            return None
        return self._number(token, start, form)

    def _number(self, token: str, start: int, form: Shape | None) -> Any:
        canonical = p.CANONICAL.match(token)
        if not canonical:
            self.edit("number", start)
        if form is not None and form.only("string", "null") and not canonical:
            return token
        plain = token.replace("_", "").removeprefix("+")
        sign, digits = ("-", plain[1:]) if plain.startswith("-") else ("", plain)
        try:
            if digits[:2] in ("0x", "0X"):
                return int(plain, 16)
            whole = digits.lstrip("0") if digits.isdecimal() else ""
            if whole and whole != digits and not (form and form.only("integer", "number", "null")):
                # 007 may be a name, or octal: what it is is not ours to say.
                return token
            number = int(plain) if digits.isdecimal() else float(sign + digits)
        except ValueError:  # more digits than Python converts
            number = math.inf
        if isinstance(number, float) and not math.isfinite(number):
            self.edit("range", start)
            raise Dropped
        return number
