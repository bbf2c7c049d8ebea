"""The tolerant reader of one object or array: an explicit stack, one pass, a rule per fault."""

from __future__ import annotations

from typing import Any

import msgspec

from llmgate.repair import patterns as p
from llmgate.repair.containers import NOTHING
from llmgate.repair.cursor import Container
from llmgate.repair.regular import Regular
from llmgate.repair.scalars import Dropped
from llmgate.repair.shapes import Shape, astray, takes
from llmgate.repair.strict import restarted


class Document(msgspec.Struct, frozen=True):
    """A value of a text: `cut` if the text ended inside it, `lost` if its rest is unreadable."""

    value: Any
    cut: bool = False
    lost: bool = False


class Reader(Regular):
    """Reads one object or array after the other from a text, tolerantly, in one pass each.

    `cut`: the text ended inside; `lost`: the rest can't be read; `dropped`: a member was left
    out; `paired`: some key had a colon.
    """

    cut = lost = dropped = paired = False

    def read(self, start: int, *, braceless: bool = False) -> Document:
        """The object or array that opens at `start`, or at its first key if `braceless`.

        Raises OutputError if it is nested deeper than allowed.
        """
        self.pos = start
        self.stack, self.forms, self.dicts = [], [], 0
        self.cut = self.lost = self.dropped = self.paired = False
        form = self.shapes.root if self.shapes else None
        self.root: Container = {}
        if braceless:
            self.edit("opener")
        else:
            value = self.scan(start, form)
            if value is not NOTHING and not self._continued(value):
                return Document(value)
            if self.text[start] in "[(":
                self.root = []
                if self.text[start] == "(":
                    self.edit("tuple")
            self.pos = start + 1
        self.push(self.root, form)
        while self.stack:
            if not self.after:
                self.fast()
            self.step()
            if self.noise():
                self.cut = self.lost = True
                self.stack = []
        if self.cut:
            self.edit("lost" if self.lost else "cut")
        nothing = self.dropped and not (self.paired or self.root or self.cut)
        return Document(self.root, self.cut, self.lost or nothing)

    def _continued(self, value: Any) -> bool:
        """Whether a value that was read at once seems to go on behind its closing bracket."""
        if not isinstance(value, dict):
            return False
        # A quote there belongs to a string that held the bracket.
        behind = self.text.startswith('"', self.pos)
        return behind or p.MORE_MEMBERS.match(self.text, self.pos) is not None

    def step(self) -> None:
        """Read what comes next in the innermost open object or array, whatever it is."""
        char = self.skip()
        text = self.text
        if not char:
            self._stop()
            return
        if char in "<`[" and (end := p.END.match(text, self.pos)):
            behind = self.peek(end.end())
            if char == "`" or text[behind : behind + 1] not in (",", "}", "]"):
                self._stop()
            else:
                self.edit("token")
                self.pos = behind
            return
        if char in "}])":
            self.close(char)
            return
        if commas := p.COMMAS.match(text, self.pos):
            self._comma(commas[0])
            return
        items = self.stack[-1]
        if self.after and not self._separated(items, char):
            return
        self.after = False
        if ellipsis := p.ELLIPSIS.match(text, self.pos):
            self.edit("stray")
            self.pos = ellipsis.end()
            self.after, self.comma = True, -1
        elif isinstance(items, dict):
            self._member(char)
        elif char in ":：":
            self._abandon()
        elif self.dicts and char.isalpha() and p.TIGHT_KEY.match(text, self.pos):
            while isinstance(self.stack[-1], list):
                self.edit("closer")
                self.pop()
            self._member(char)
        else:
            self._value(char)

    def _stop(self) -> None:
        """End where the text does, with what is open."""
        self.cut = True
        inner = None
        if self.comma < 0 and not self.dropped and (len(self.stack) == 1 or self._no_object()):
            inner = restarted(self.root)
        if inner is not None:
            self.edit("restart", 0)
            self.root = inner
            self.cut = len(self.stack) > 1
        self.stack = []

    def _no_object(self) -> bool:
        """Whether the schema says that the first member of the root can't be an object."""
        if self.shapes is None or not self.root or isinstance(self.root, list):
            return False
        form = self.shapes.member(self.shapes.root, next(iter(self.root)))
        return form is not None and not form.may("object")

    def _abandon(self) -> None:
        """End where nothing can be made of what follows: JSON beyond repair, or just prose."""
        self.lost = not p.PROSE.match(self.text, self.pos)
        if self.lost:
            self.cut, self.stack = True, []
        else:
            self._stop()

    def _comma(self, commas: str) -> None:
        """Take a comma, or something in its place."""
        first = self.pos
        items = self.stack[-1]
        empty = not items and not self.after and len(self.stack) > 1 and self.comma < 0
        # `"a": {, "b": 1`: empty, and not closed, if brackets are missing at all.
        if empty and self._balance("}" if isinstance(items, dict) else "]") < 0:
            self.edit("closer")
            self.pop()
        if commas[0] != ",":
            self.edit("comma")
        if not self.after or len(commas) > 1:
            self.edit("trailing", first if not self.after else first + 1)
        self.after, self.comma = False, first
        self.pos += len(commas)

    def _separated(self, items: Container, char: str) -> bool:
        """Whether a new member or item begins here, though no comma stands before it.

        If not, what stands here has been dealt with.
        """
        text = self.text
        if p.ELLIPSIS.match(text, self.pos):
            return True
        stray = p.STRAY.match(text, self.pos)
        quote = stray is not None and char in p.QUOTES
        if isinstance(items, dict):
            starts = (char in p.QUOTES or char == "{") and not quote
            starts = starts or bool(p.BARE_KEY.match(text, self.pos))
        elif char in ":：=":
            return self._rekeyed(items)
        else:
            starts = (char in p.QUOTES or char in "{[") and not quote
            starts = starts or bool(p.LONE[list].match(text, self.pos))
        if starts:
            if not (isinstance(items, dict) and char == "{"):
                self.edit("comma")
            return True
        if stray is None:
            self._abandon()
        else:
            self.edit("stray")
            self.pos = stray.end()
        return False

    def _rekeyed(self, items: list[Any]) -> bool:
        """Take an array's last string for a key, since a colon follows it; always False."""
        key = items[-1] if items else None
        if not isinstance(key, str) or not (self.dicts or len(items) == 1):
            self._abandon()
            return False
        items.pop()
        if items:
            while isinstance(self.stack[-1], list):
                self.edit("closer")
                self.pop()
        else:
            self.edit("kind")
            self._replace(items, {})
        self._pair(key)
        return False

    def _replace(self, items: list[Any], other: dict[str, Any]) -> None:
        """Put an object in the place of the innermost array."""
        self.stack[-1] = other
        self.dicts += 1
        outer = self.stack[-2] if len(self.stack) > 1 else None
        if outer is None:
            self.root = other
        elif isinstance(outer, list):
            outer[-1] = other
        else:
            outer[next(key for key, value in reversed(outer.items()) if value is items)] = other

    def _member(self, char: str) -> None:
        """Read a key, its colon and its value; a key without a value is dropped."""
        text = self.text
        if char in p.QUOTES:
            key = self.key_string()
            if self.torn:
                self._drop()
                return
        elif char == "{":
            self._brace()
            return
        elif self._item_behind(char):
            return
        elif found := self._bare_key():
            self.edit("bare_key")
            key = found[0]
            self.pos += found[1]
        elif p.CUT_WORD.match(text, self.pos):
            self._drop()
            self.pos = len(text)
            return
        else:
            self._abandon()
            return
        form = self.form()
        if form is not None and self.lopsided and astray(key, form, self.forms[:-1]):
            self._close_to(key)
        self._pair(key)

    def _item_behind(self, char: str) -> bool:
        """Whether what stands where a key should be is an item of the array around.

        `[{"a": 1, 2]`: then the object's bracket is missing, and it is closed.
        """
        items = self.stack[-1]
        if len(self.stack) < 2 or not items or isinstance(self.stack[-2], dict):
            return False
        if char != "[" and not p.LONE[list].match(self.text, self.pos):
            return False
        if self._balance("}") >= 0:
            return False
        self.edit("closer")
        self.pop()
        self.after = False
        return True

    def _bare_key(self) -> tuple[str, int] | None:
        """A key without quotes, and how far it is to its colon."""
        text, start = self.text, self.pos
        form = self.form()
        if form is not None:
            known = [key for key in form.known if key and text.startswith(key, start)]
            for key in sorted(known, key=len, reverse=True):
                at = self.peek(start + len(key))
                if text.startswith(":", at):
                    return key, at - start
        for pattern in (p.TIGHT_KEY, *p.LOOSE_KEYS):
            if found := pattern.match(text, start):
                return found[1].rstrip(), found.start(2) - start
        alone = p.BARE_ALONE.match(text, start)
        return (alone[0], len(alone[0])) if alone else None

    def _close_to(self, key: str) -> None:
        """Close the objects and arrays inside the one that a key belongs to by the schema."""
        form = self.forms[-1]
        # Where others are allowed here too, the outer one may still come to its own.
        if form is None or (not form.closed and self.text.find(f'"{key}"', self.pos) >= 0):
            return
        for depth in range(len(self.stack) - 2, -1, -1):
            outer, items = self.forms[depth], self.stack[depth]
            if outer is not None and isinstance(items, dict) and takes(outer, key):
                if key not in items:
                    while len(self.stack) > depth + 1:
                        self.edit("closer")
                        self.pop()
                return

    def _pair(self, key: str) -> None:
        """Read the colon behind a key and its value."""
        char = self.skip()
        if colon := p.COLON.match(self.text, self.pos):
            if colon[0] != ":":
                self.edit("colon")
            color = p.COLOR.match(self.text, colon.end())
            self.pos = color.end() if color else colon.end()
            char = "#" if color else self.skip()
            self.paired = True
        elif char and char not in ",}]":
            self.edit("colon")
            self.paired = True
        in_list = len(self.stack) > 1 and isinstance(self.stack[-2], list)
        # `[{"a": 1, "b"]`: no key but the array's next item, if braces are missing.
        if char and char in ",]" and in_list and self.stack[-1] and self._balance("}") < 0:
            self.edit("closer")
            self.pop()
            self.put(key)
            return
        if not char or char in ",}]":
            self._drop()
            return
        self.key = key
        self._value(char)

    def _brace(self) -> None:
        """Take `{` where a key should be: doubled at the beginning, else a new object."""
        if not self.stack[-1]:
            self.edit("doubled")
            doubled = p.DOUBLED.match(self.text, self.pos)
            self.pos = doubled.end() if doubled else self.pos + 1
            return
        if len(self.stack) == 1 and (inner := restarted(self.root)):
            self.edit("restart", 0)
            self.root, self.stack = inner, []
            return
        separated = self.comma >= 0
        while self.stack and isinstance(self.stack[-1], dict):
            self.edit("closer")
            self.pop()
        self.after = not separated

    def _drop(self) -> None:
        self.edit("key")
        self.dropped = self.after = True
        self.comma = -1

    def _value(self, char: str) -> None:
        """Read the value at the position, or open it if it is an object or array."""
        text, start = self.text, self.pos
        form = self.next_form()
        if char in "{[":
            self.open(form)
        elif char in p.QUOTES:
            embedded = p.EMBEDDED.match(text, start)
            if embedded and form is not None and form.only("object", "array", "null"):
                self._embedded(embedded.end() - 1, form)
                return
            edits = len(self.edits)
            value = self.string(form)
            again = self.doubtful and embedded and not self.root and embedded[1] == self.key
            if embedded and (self.torn or again) and self.looks > 0:
                # A string that has no good end: what looks like JSON in it is JSON.
                self.looks -= len(text) - start >> 6
                del self.edits[edits:]
                self._embedded(embedded.end() - 1, form)
                return
            self.put(value)
        elif char == "(" and p.TUPLE.match(text, start):
            self.edit("tuple")
            items: list[Any] = []
            self.put(items)
            self.push(items, form)
            self.pos = start + 1
        else:
            try:
                self.put(self.bare(form))
            except Dropped:
                self.dropped = self.after = True
                self.comma = -1

    def _embedded(self, opener: int, form: Shape | None) -> None:
        """Open JSON that stands in quotes without escapes."""
        self.edit("embedded")
        self.torn = False
        items: Container = {} if self.text[opener] == "{" else []
        self.put(items)
        self.push(items, form)
        self.pos = opener + 1
