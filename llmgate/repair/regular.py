"""The parts of a faulty text that are regular, a member or an item in one match each."""

from __future__ import annotations

import math
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed lacks it
from typing import Any

from llmgate.repair import patterns as p
from llmgate.repair.containers import NOTHING, Containers
from llmgate.repair.shapes import Shape

_MEMBER, _ELEMENT = p.MEMBER.match, p.ELEMENT.match
_LITERALS = p.LITERALS


class Regular(Containers):
    """Reads on until something is unusual. `paired`: some key of the value had a colon."""

    paired = False

    def fast(self) -> None:
        """Read members and items as long as nothing about them is unusual."""
        while not self.after:
            if isinstance(self.stack[-1], dict):
                usual = self._members(self.stack[-1])
            else:
                usual = self._elements(self.stack[-1])
            if not usual:
                return

    def _members(self, items: dict[str, Any]) -> bool:
        """Read members of an object; False if something unusual comes next."""
        text, pos, comma = self.text, self.pos, self.comma
        form = self.forms[-1] if self.forms else None
        while found := _MEMBER(text, pos):
            key, string, ahead, scalar, separator = found.groups()
            if form is not None and (
                (key not in form.known and (form.closed or self.lopsided))
                or (ahead is not None and form.closed and ahead not in form.known)
            ):
                break
            value: Any = string
            if scalar is not None:
                value = _scalar(scalar)
            elif string is None:
                self.key, self.pos = key, found.end()
                if not self._opened():
                    return True
                pos = comma = self.pos - 1
                pos += 1
                continue
            elif "\\" in string:
                value = _unescaped(text, found.start(2))
            if value is NOTHING:
                break
            items[key] = value
            pos = found.end()
            if not separator:
                self.pos, self.after, self.comma = pos, True, -1
                return True
            comma = pos - 1
        self.pos, self.comma = pos, comma
        return self._foreign_members(items)

    def _elements(self, items: list[Any]) -> bool:
        """Read items of an array; False if something unusual comes next."""
        text, pos, comma = self.text, self.pos, self.comma
        while found := _ELEMENT(text, pos):
            string, scalar, separator = found.groups()
            value: Any = string
            if scalar is not None:
                value = _scalar(scalar)
            elif string is None:
                self.pos = found.end()
                if not self._opened():
                    return True
                pos = comma = self.pos - 1
                pos += 1
                continue
            elif "\\" in string:
                value = _unescaped(text, found.start(1))
            if value is NOTHING:
                break
            items.append(value)
            pos = found.end()
            if not separator:
                self.pos, self.after, self.comma = pos, True, -1
                return True
            comma = pos - 1
        self.pos, self.comma = pos, comma
        return self._foreign_elements(items)

    def _opened(self) -> bool:
        """Read the object or array at the position; whether a comma was read behind it too."""
        if self.spent:
            self._descend()
            return False
        self.open(self.next_form())
        if self.after and self.text.startswith(",", self.pos):
            self.comma, self.after = self.pos, False
            self.pos += 1
            return True
        return False

    def _descend(self) -> None:
        """Open an object, or as many arrays as open here, each the first item of the last."""
        text, items = self.text, self.stack[-1]
        if text[self.pos] == "{":
            inner: dict[str, Any] = {}
            if isinstance(items, dict):
                items[self.key] = inner
            else:
                items.append(inner)
            self.stack.append(inner)
            self.dicts += 1
            self.pos += 1
            self.after, self.comma = False, -1
            return
        run = p.ARRAYS.match(text, self.pos)
        assert run is not None  # called where one opens
        deepest: list[Any] = []
        arrays = [deepest]
        for _ in range(run.end() - self.pos - 1):
            deepest = [deepest]
            arrays.append(deepest)
        if isinstance(items, dict):
            items[self.key] = deepest
        else:
            items.append(deepest)
        arrays.reverse()
        self.stack += arrays
        self.pos = run.end()
        self.after, self.comma = False, -1

    def _foreign_members(self, items: dict[str, Any]) -> bool:
        """Read members in another language's notation; False if they are more unusual still."""
        text, start = self.text, self.pos
        form = self.forms[-1] if self.forms else None
        match = p.foreign_member(_quote(text, start)).match
        while found := match(text, self.pos):
            double, other, bare, string, foreign, scalar, word, separator = found.groups()
            key = double if double is not None else other if other is not None else bare
            value: Any = string if string is not None else foreign
            if form is not None and (
                (key not in form.known and (form.closed or self.lopsided))
                or (form.closed and value is not None and _strange_next(text, found.end(), form))
            ):
                break
            if scalar is not None and (value := _scalar(scalar)) is NOTHING:
                break
            self.paired = True
            if other is not None:
                self.edit("quotes", found.start(2) - 1)
            elif bare is not None:
                self.edit("bare_key", found.start(3))
            if foreign is not None:
                self.edit("quotes", found.start(5) - 1)
            elif word is not None:
                self.edit("python", found.start(7))
                value = p.FOREIGN[word]
            elif string is None and scalar is None:
                self.key, self.pos = key, found.end()
                if not self._opened():
                    return True
                continue
            items[key] = value
            self.pos = found.end()
            self.after, self.comma = not separator, self.pos - 1 if separator else -1
            if self.after:
                return True
        return self.pos > start

    def _foreign_elements(self, items: list[Any]) -> bool:
        """The same for the items of an array."""
        text, start = self.text, self.pos
        match = p.foreign_element(_quote(text, start)).match
        while found := match(text, self.pos):
            string, word, separator = found.groups()
            if word is not None:
                self.edit("python", found.start(2))
                items.append(p.FOREIGN[word])
            else:
                self.edit("quotes", found.start(1) - 1)
                items.append(string)
            self.pos = found.end()
            self.after, self.comma = not separator, self.pos - 1 if separator else -1
            if self.after:
                return True
        return self.pos > start


def _strange_next(text: str, at: int, form: Shape) -> bool:
    """Whether a key follows that the schema does not know: then the string before is suspect."""
    key = p.NEXT_KEY.match(text, at)
    return key is not None and key[1] not in form.known


def _quote(text: str, at: int) -> str:
    """The kind of quotes that a text uses, by the first character from an offset on."""
    first = p.NOT_SPACE.search(text, at)
    return "“" if first and first[0] in "“”" else "'"


def _unescaped(text: str, start: int) -> Any:
    """The contents of a string that begins at an offset, NOTHING if an escape is faulty."""
    try:
        return scanstring(text, start)[0]
    except ValueError:
        return NOTHING


def _scalar(token: str) -> Any:
    """The value of a valid number or literal, NOTHING for a number that nothing can hold."""
    if token in _LITERALS:
        return _LITERALS[token]
    try:
        return int(token)
    except ValueError:
        number = float(token)
        return number if math.isfinite(number) else NOTHING
