"""The tolerant reader of one object or array: an explicit stack, one pass, a rule per fault."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from llmgate.repair.lexer import (
    BARE_KEY,
    END,
    FOREIGN,
    LITERALS,
    NOT_JSON,
    PLAIN,
    QUOTES,
    WORD,
    Lexer,
    past_space,
)
from llmgate.repair.strict import MAX_DEPTH, STRICT, deep_error, too_deep

_STRICT_TRIES = 100
_CUT_NUMBER = re.compile(r"[-+]?\d*\.?\d*(?:[eE][-+]?\d*)?\Z")
_CUT_WORD = re.compile(r"[\w$.-]+\Z")
_PHRASE_END = re.compile(rf"[,}}\]\n]|{END.pattern}")
# 1,000 with a comma for people: a number in what notation is not ours to say.
_GROUPED = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?=\s*[,}\n])")
_COLON = re.compile(r"[:=][:=>]*")
_STRAY = re.compile(r"""[^,}\]{\["'\n]{1,200}(?=[,}\]])""")
# A string that opens with JSON in which the quotes are not escaped, so it can't be a string.
_EMBEDDED = re.compile(r'"\s*(?:\{\s*"\w[\w$ .-]{0,100}"\s*:|\[\s*(?:"\w|\{\s*"\w))')
# More members behind what closes the outermost object: that brace came too early.
_MORE_MEMBERS = re.compile(r'\s{0,200},\s{0,200}"[\w$.-]{1,100}"\s{0,20}:')


class Document(msgspec.Struct, frozen=True):
    """A value of a text: `cut` if the text ended inside it, `lost` if its rest is unreadable."""

    value: Any
    cut: bool = False
    lost: bool = False


class Frame:
    """An open object or array; `quoted` if it stands in quotes that it should not have."""

    __slots__ = ("items", "key", "quoted")

    def __init__(self, items: dict[str, Any] | list[Any], quoted: bool) -> None:
        self.items = items
        self.key = ""
        self.quoted = quoted


class Reader(Lexer):
    """Reads one object or array after the other from a text, tolerantly, in one pass each."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.stack: list[Frame] = []
        self.tries = 0
        self.reset()

    def reset(self) -> None:
        """Forget the last object or array.

        `left` is what was open when the text ended, `cut` whether that was so, `lost` whether
        the rest could not be read, `dropped` whether a member was left out,
        `paired` whether any key had a colon. `after` and
        `comma` say what stands before the position: a value, a comma.
        """
        self.stack, self.open = [], {dict: 0, list: 0}
        self.left: list[Frame] = []
        self.cut = self.lost = self.dropped = self.paired = self.after = self.comma = False

    def read(self, start: int, *, braceless: bool = False) -> Document:
        """The object or array that opens at `start`, or at its first key if `braceless`.

        Raises OutputError if it is nested too deep.
        """
        text = self.text
        # The decoder is exact and fast, but its errors cost time in the length of the text.
        self.tries += 1
        if not braceless and self.tries <= _STRICT_TRIES:
            try:
                value, self.pos = STRICT.raw_decode(text, start)
            except (ValueError, RecursionError):
                pass
            else:
                whole = text[start : self.pos]
                if not too_deep(value, whole) and not _MORE_MEMBERS.match(text, self.pos):
                    return Document(value)
        self.pos = start
        self.reset()
        if braceless:
            self.note("opener")
            self.push("{", advance=0)
        else:
            self.push(text[start])
        root = self.stack[0].items
        while self.stack:
            self.step()
        if self.cut and not self.lost:
            root = self.restarted(root)
        if self.cut:
            self.note("cut")
        nothing = self.dropped and not (self.paired or root or self.cut)
        return Document(root, self.cut, self.lost or nothing)

    def step(self) -> None:
        """Read what comes next in the innermost open object or array."""
        text = self.text
        self.pos = self.skip(self.pos, hashes=True)
        char = text[self.pos : self.pos + 1]
        if not char or END.match(text, self.pos):
            self.cut = True
            self.left = self.stack
            self.stack = []
            return
        if char in "}]":
            self.close(dict if char == "}" else list)
            return
        if char in ",;":
            if char == ";":
                self.note("comma")
            if not self.after:
                self.note("trailing")
            self.after, self.comma = False, True
            self.pos += 1
            return
        in_object = isinstance(self.stack[-1].items, dict)
        if self.after and char != "…" and not text.startswith("...", self.pos):
            starts = char in QUOTES or char == "{"
            if in_object:
                starts = starts or bool(BARE_KEY.match(text, self.pos))
            else:
                starts = starts or char == "[" or bool(PLAIN.match(text, self.pos))
            if not starts:
                self.stray(char)
                return
            if not (in_object and char == "{"):
                self.note("comma")
        self.after = False
        if char == "…" or text.startswith("...", self.pos):
            self.note("stray")
            self.pos += 1 if char == "…" else 3
            self.after = True
        elif in_object:
            self.member(char)
        elif char == ":":
            self.abandon()
        else:
            self.value("item")
        self.comma = False

    def stray(self, char: str) -> None:
        """Pass over text that can't stand between two members, or give the rest up."""
        stray = None if char == ":" else _STRAY.match(self.text, self.pos)
        if stray is None:
            self.abandon()
        else:
            self.note("stray")
            self.pos = stray.end()

    def abandon(self) -> None:
        self.cut = self.lost = True
        self.stack = []

    def push(self, opener: str, *, quoted: bool = False, advance: int = 1) -> None:
        """Open an object or array inside the innermost one."""
        if len(self.stack) >= MAX_DEPTH:
            raise deep_error(self.text)
        items: dict[str, Any] | list[Any] = {} if opener == "{" else []
        if self.stack:
            self.put(items)
        self.stack.append(Frame(items, quoted))
        self.open[type(items)] += 1
        self.pos += advance
        self.after = False

    def pop(self) -> Frame:
        frame = self.stack.pop()
        self.open[type(frame.items)] -= 1
        return frame

    def put(self, value: Any) -> None:
        """Add a value to the innermost open object or array."""
        frame = self.stack[-1]
        if isinstance(frame.items, dict):
            frame.items[frame.key] = value
        else:
            frame.items.append(value)
        self.after = True

    def close(self, kind: type) -> None:
        """Take a closing bracket: of the innermost, of an outer one, or of nothing."""
        if self.comma:
            self.note("trailing")
        self.comma = False
        if not self.open[kind]:
            self.note("extra")
            self.pos += 1
            return
        while not isinstance(self.stack[-1].items, kind):
            self.note("closer")
            self.pop()
        self.pos += 1
        self.after = True
        if len(self.stack) == 1 and kind is dict and _MORE_MEMBERS.match(self.text, self.pos):
            self.note("extra", self.pos - 1)
            return
        if self.pop().quoted:
            after = self.skip(self.pos, hashes=False)
            if self.text.startswith('"', after):
                self.pos = after + 1

    def restarted(self, root: Any) -> Any:
        """The inner object, if the model began again: `{"function": {"function": "x", …`."""
        left = self.left
        key = next(iter(root), None) if isinstance(root, dict) and len(root) == 1 else None
        inner = root[key] if key is not None else None
        if not isinstance(inner, dict) or next(iter(inner), None) != key:
            return root
        if not isinstance(inner[key], str):
            return root
        if len(left) == 1 and (self.comma or self.dropped):
            return root
        self.note("restart", 0)
        self.cut = len(left) > 1
        return inner

    def member(self, char: str) -> None:
        """Read a key, its colon and its value; a key without a value is dropped."""
        text = self.text
        bare = None if char in QUOTES else BARE_KEY.match(text, self.pos)
        if char in QUOTES:
            key = self.string("key")
            if self.torn:
                self.drop("key")
                return
        elif bare:
            self.note("bare_key")
            key = bare[1]
            self.pos = bare.end() - 1
        elif char == "{":
            self.brace()
            return
        elif _CUT_WORD.match(text, self.pos):
            self.drop("key")
            self.pos = len(text)
            return
        else:
            self.abandon()
            return
        self.pos = self.skip(self.pos, hashes=False)
        sign = text[self.pos : self.pos + 1]
        if signs := _COLON.match(text, self.pos):
            if signs[0] != ":":
                self.note("colon")
            self.pos = self.skip(signs.end(), hashes=False)
            self.paired = True
        elif sign and sign not in ",}]":
            self.note("colon")
            self.paired = True
        if self.pos >= len(text) or text[self.pos] in ",}]":
            self.drop("key")
            return
        self.stack[-1].key = key
        self.value("member")

    def brace(self) -> None:
        """Take `{` where a key should be: doubled at the beginning, else a new object."""
        if not self.stack[-1].items:
            self.note("doubled")
            self.pos += 1
            return
        while self.stack and isinstance(self.stack[-1].items, dict):
            self.note("closer")
            self.pop()
        self.after = not self.comma

    def drop(self, kind: str) -> None:
        self.note(kind)
        self.dropped = self.after = True

    def value(self, place: str) -> None:
        """Read the value at the position, or open it if it is an object or array."""
        text, start = self.text, self.pos
        char = text[start]
        if char in "{[":
            self.push(char)
        elif embedded := _EMBEDDED.match(text, start):
            self.note("embedded")
            self.pos = past_space(text, start + 1)
            self.push(embedded[0].lstrip('" \t\r\n')[0], quoted=True)
        elif char in QUOTES:
            self.put(self.string(place))
        else:
            self.bare()

    def bare(self) -> None:
        """Read a number, a literal, or a string without quotes."""
        text, start = self.text, self.pos
        grouped = isinstance(self.stack[-1].items, dict) and _GROUPED.match(text, start)
        if grouped:
            self.note("bare", start)
            self.put(grouped[0])
            self.pos = grouped.end()
            return
        plain = PLAIN.match(text, start)
        if plain and (plain.end() < len(text) or self.ended or plain[1][-1].isalpha()):
            self.pos = plain.end()
            self.plain(plain[1])
            return
        stop = _PHRASE_END.search(text, start)
        self.pos = stop.start() if stop else len(text)
        word = text[start : self.pos].rstrip()
        cut = self.pos >= len(text) and not self.ended
        if cut and (_CUT_NUMBER.match(word) or any(w.startswith(word) for w in WORD.split("|"))):
            self.drop("value")
            return
        self.note("bare", start)
        self.put(word.removesuffix('"'))

    def plain(self, token: str) -> None:
        """Add the value of a number or of a literal in anybody's spelling."""
        if token in LITERALS:
            self.put(LITERALS[token])
        elif token in FOREIGN:
            self.note("python")
            self.put(FOREIGN[token])
        elif token in NOT_JSON:
            self.note("nan")
            self.put(None)
        else:
            number = re.sub(r"^(-?)\.", r"\g<1>0.", token.removeprefix("+"))
            number = re.sub(r"\.(?!\d)", "", number)
            if number != token:
                self.note("number")
            try:
                self.put(STRICT.decode(number))
            except ValueError:
                self.drop("value")
