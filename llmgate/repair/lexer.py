"""Strings, white space and comments in faulty JSON.

A string is the hard part: which quote ends it is judged by what follows that quote. The look
ahead is bounded, so that hostile text costs linear time too.
"""

from __future__ import annotations

import re

QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "`": "`"}
_STRING_SPECIAL = {closer: re.compile(rf"[{closer}\\]") for closer in QUOTES.values()}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(u[0-9a-fA-F]{0,3}\Z|\Z)|(.))", re.DOTALL)
_ESCAPES = {**dict(zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True)), "'": "'", "`": "`"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_SPACE = re.compile(r"\S")
_END_TEXT = (
    r"(?:<\|[^|<>\n]{0,40}\|>|<\|>|</?s>|<｜[^｜<>\n]{1,40}｜>|<(?:end_of_turn|eos|EOS_TOKEN)>)"
)
_LAST_TOKEN = re.compile(_END_TEXT + r"\Z")
END = re.compile(_END_TEXT + r"|```|</tool_call>")
KEY = re.compile(r"""(?:"(?:[^"\\\n]|\\.)*+"|'[^'\n]{0,100}'|[“‘][^”’\n]{0,100}[”’])\s*:""")
_CUT_KEY = re.compile(r"""(?:"(?:[^"\\]|\\.)*+"?\s*|'[^']{0,100}'?\s*)\\?\Z""")
BARE_KEY = re.compile(r"""([A-Za-z_$][\w$.-]{0,99}|-?\d{1,20})["']?\s{0,200}:""")
LITERALS = {"true": True, "false": False, "null": None}
FOREIGN = {"True": True, "TRUE": True, "False": False, "FALSE": False, "None": None, "NULL": None}
NOT_JSON = {"NaN", "Infinity", "-Infinity", "undefined"}
WORD = "|".join(sorted({*LITERALS, *FOREIGN, *NOT_JSON}))
ARRAY_ITEM = re.compile(rf"""["'“‘{{\[\]\d.-]|(?:{WORD})\b|\w{{1,8}}\Z""")
PLAIN = re.compile(
    rf"([-+]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|{WORD})"
    r"""(?=[ \t]*(?:[,;}\]\[{"'“\n\r#<]|//|/\*|```|\Z))"""
)
START = re.compile(
    r"""\{\s*(?:["'“‘{}]|//|/\*|(?:[A-Za-z_$][\w$.-]{0,99}|\d{1,20})["']?\s*:|\Z)"""
    rf"""|\[\s*(?:["'“‘{{\[\]]|-?\d|(?:{WORD})\b|\Z)"""
)


def past_space(text: str, at: int) -> int:
    """The offset of the first character at or behind `at` that is not white space."""
    found = _NOT_SPACE.search(text, at)
    return found.start() if found else len(text)


class Lexer:
    """A position in a text, and notes of what was mended up to it."""

    def __init__(self, text: str) -> None:
        self.notes: dict[str, tuple[int, int]] = {}
        end = len(text)
        while True:
            while end and text[end - 1].isspace():
                end -= 1
            token = _LAST_TOKEN.search(text, max(0, end - 50), end)
            if token is None:
                break
            end = token.start()
            self.notes["token"] = (end, self.notes.get("token", (0, 0))[1] + 1)
        # An end token says that the model was done: what stands before it is not cut.
        self.ended = "token" in self.notes
        self.text = text[:end] if self.ended else text
        self.pos = 0
        self.torn = False
        self.open: dict[type, int] = {dict: 0, list: 0}

    def note(self, kind: str, offset: int | None = None) -> None:
        first, times = self.notes.get(kind, (self.pos if offset is None else offset, 0))
        self.notes[kind] = (first, times + 1)

    def string(self, place: str) -> str:
        """Read a string; `torn` says afterwards whether the text ended inside it.

        A quote that nothing fitting follows belongs to the contents.
        """
        text, start = self.text, self.pos
        closer = QUOTES[text[start]]
        self.torn = False
        if closer != '"':
            self.note("quotes")
        elif place != "key" and text.startswith('"""', start):
            end = text.find('"""', start + 3)
            if end >= 0:
                self.note("quotes")
                self.pos = end + 3
                return self.decoded(start + 3, end)
        inner = -1
        at = start + 1
        search = _STRING_SPECIAL[closer].search
        while special := search(text, at):
            at = special.end()
            if special[0] == "\\":
                at += 1
                continue
            end = at - 1
            if self.closes(at, place, first=inner < 0):
                self.pos = at
                break
            missed = self.missed_end(start, inner, end, place)
            if missed:
                self.note("unclosed", missed)
                self.pos = missed
                return self.decoded(start + 1, missed)
            inner = end
        else:
            # Closing brackets on lines of their own at the very end are not the string's.
            last = len(text[start + 1 :].rstrip("}] \t\r\n")) + start + 1
            tail = text[last:]
            if "\n" in tail and ("}" in tail or "]" in tail):
                self.pos = end = last + tail.index("\n")
                self.note("unclosed", end)
            else:
                self.pos = end = len(text)
                self.torn = True
        if inner >= 0:
            self.note("inner", inner)
        return self.decoded(start + 1, end)

    def decoded(self, start: int, end: int) -> str:
        """The contents between two offsets with their escapes resolved, else unchanged."""
        raw = self.text[start:end]
        if "\n" in raw or "\t" in raw or "\r" in raw:
            self.note("newline", start)
        if "\\" not in raw:
            return raw

        def resolve(match: re.Match[str]) -> str:
            if match[1]:
                return chr(int(match[1], 16))
            if match[2] is not None and self.torn:
                return ""
            known = _ESCAPES.get(match[3] or "")
            if known is None:
                self.note("escape", start + match.start())
            return known or match[0]

        plain = _ESCAPE.sub(resolve, raw)
        if _SURROGATE.search(plain):
            pairs = plain.encode("utf-16-le", "surrogatepass")
            plain = pairs.decode("utf-16-le", "surrogatepass")
            if self.torn and "\ud800" <= plain[-1] <= "\udbff":
                plain = plain[:-1]
        return plain

    def closes(self, end: int, place: str, *, first: bool) -> bool:
        """Whether the quote before `end` closes its string, judged by what follows."""
        text = self.text
        at = self.peek(end)
        char = text[at : at + 1]
        if not char or END.match(text, at):
            return True
        if place == "key":
            return char in ":=,}{[" or (at > end and (char in QUOTES or char.isdigit()))
        if char == "}":
            return self.open[dict] > 0
        if char == "]":
            return self.open[list] > 0
        if char in ",;":
            return self.continues(self.peek(at + 1), place)
        if place == "member":
            new_line = "\n" in text[end:at] and BARE_KEY.match(text, at)
            return bool(KEY.match(text, at) or new_line)
        if char == ":":
            return first  # an object in square brackets, which is not for us
        return at > end and (char in '"{[' or bool(PLAIN.match(text, at)))

    def continues(self, at: int, place: str) -> bool:
        """Whether another member or item stands behind a comma."""
        text = self.text
        char = text[at : at + 1]
        if not char or char == ("}" if place == "member" else "]"):
            return True
        if place == "item":
            return bool(ARRAY_ITEM.match(text, at))
        if char == "{":
            return bool(START.match(text, at))
        return any(key.match(text, at) for key in (KEY, _CUT_KEY, BARE_KEY))

    def missed_end(self, start: int, inner: int, quote: int, place: str) -> int:
        """Where a string ends whose closing quote is missing, 0 if it is not missing."""
        text = self.text
        if place == "key":
            before = text[max(start + 1, quote - 20) : quote].rstrip()
            return text.rindex(":", 0, quote) if before.endswith(":") else 0
        # `"a": "x, "b": 1`: the key behind the comma shows it, unless there is JSON inside.
        if place != "member" or inner < 0 or text.find("{", start, min(inner, start + 2000)) >= 0:
            return 0
        if not KEY.match(text, inner):
            return 0
        head = text[max(start + 1, inner - 200) : inner]
        body = head.rstrip()
        if not body.endswith(",") and "\n" not in head[len(body) :]:
            return 0
        return inner - len(head) + len(body.removesuffix(","))

    def skip(self, at: int, *, hashes: bool) -> int:
        """The offset of what follows white space and comments."""
        text = self.text
        while True:
            at = past_space(text, at)
            if text.startswith("/*", at):
                end = text.find("*/", at + 2) + 2
            elif text.startswith("//", at) or (hashes and text.startswith("#", at)):
                end = text.find("\n", at) + 1
            else:
                return at
            self.note("comment", at)
            at = end if end > at else len(text)

    def peek(self, at: int) -> int:
        """The same in a look ahead: it looks at most a few hundred characters into comments."""
        text = self.text
        while True:
            at = past_space(text, at)
            if text.startswith("/*", at):
                end = text.find("*/", at + 2, at + 500) + 2
            elif text.startswith(("//", "#"), at):
                end = text.find("\n", at, at + 500) + 1
            else:
                return at
            if end <= at:
                return len(text) if at + 500 >= len(text) else at
            at = end
