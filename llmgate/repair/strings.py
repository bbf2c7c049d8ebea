"""Strings in faulty JSON: where they end, and what stands in them.

Which quote ends a string is judged by what follows it: a comma and another key, a bracket that
closes what is open, the end of the text. Whatever else it is, a quote belongs to the contents.
"""

from __future__ import annotations

import re
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed lacks it
from typing import Any, NamedTuple

from llmgate.repair import patterns as p
from llmgate.repair.cursor import GOOD, NO, POOR, SURE, WEAK, Cursor
from llmgate.repair.shapes import Shape

_KNOWN = {**dict(zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True)), "'": "'", "`": "`"}
_REGEX_ESCAPES = frozenset("dDwWsS.()[]{}+*?^$|")
_HIGH_END = re.compile("[\ud800-\udbff]\\Z")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
# Where a string opens behind a comma, an object behind another one that closes.
_LAST_OPENED = re.compile(r'(?:([}\]])\s*+,\s*+[\[{]\s*+|,\s*+)"(?=[^,\]}"])[^"]*+\Z')
_BARE_OPENED = re.compile(r',\s*+[A-Za-z_$][\w$]*+\s*+:\s*+"[^"]*+\Z')
_REOPENED = re.compile(r"([}\]])\s*+,\s*+[\[{]\s*+\Z")


class _End(NamedTuple):
    """Where the contents of a string end, how well that fits, what kind of end it is."""

    fit: int
    at: int
    closed: bool = True
    inner: bool = False
    net: int = 0


class Strings(Cursor):
    """Reads strings; `torn` says afterwards whether the text ended inside the last one."""

    torn = False
    # Whether the last string ended though brackets are open in it, for want of a better end.
    doubtful = False

    def string(self, form: Shape | None) -> str:
        """Read a value of the innermost object or array."""
        text, start = self.text, self.pos
        kind = type(self.stack[-1])
        quote = text[start]
        self.torn = False
        if quote != '"':
            self.edit("quotes")
        elif text.startswith('"""', start) and (end := text.find('"""', start + 3)) >= 0:
            self.looks -= end - start >> 6
            if self.looks > 0 and self.fits(end + 3, kind) >= WEAK:
                self.edit("quotes")
                self.pos = end + 3
                return self.decoded(start + 3, end, '"""')
        ending = self._end(start, kind, form)
        self.doubtful = ending.inner and ending.net > 0
        if ending.fit == NO:
            return self._torn(start)
        if not ending.closed:
            self.edit("unclosed", ending.at)
        if ending.inner:
            first = p.STRING.match(text, start)
            self.edit("inner", first.end() - 1 if first else start)
        self.pos = ending.at + ending.closed
        return self.decoded(start + 1, ending.at, quote)

    def _end(self, start: int, kind: type, form: Shape | None) -> _End:
        text = self.text
        quote = text[start]
        find = p.string_end(quote, kind).match
        texts = form.texts if form is not None else None
        best = _End(NO, start)
        inner = False
        at, net, quotes = start + 1, 0, 0
        while found := find(text, at):
            end = found.end() - 1
            self.work += end - at
            net += _net(text, at, end)
            quotes += text.count(quote, at, end) - text.count("\\" + quote, at, end)
            inner = inner or found[1] is not None
            paired = kind is dict or quote != '"' or not quotes & 1
            fit = self.fits(end + 1, kind)
            if kind is list:
                fit = min(fit, GOOD)
            if texts is not None and text[start + 1 : end] in texts:
                fit = SURE
            if fit == SURE or (fit >= WEAK and not inner):
                return _End(fit, end, inner=inner)
            if fit == GOOD and net <= 0 and paired:
                opened = _BARE_OPENED.search(text, start, end) if kind is dict else None
                behind = self.peek(end + 1)
                bare = text[behind : behind + 1] == "," and p.BARE_KEY.match(
                    text, self.peek(behind + 1)
                )
                if opened and (bare or "bare_key" in self.rules):
                    return _End(WEAK, _trimmed(text, start + 1, opened.start()), closed=False)
                return _End(fit, end, inner=inner)
            if fit <= POOR and kind is dict and (missed := self._missed(start, end, net, inner)):
                if best.fit > NO and not text[best.at + 1 : missed].strip():
                    return best
                return _End(WEAK, missed, closed=False, inner=inner)
            if fit > best.fit:
                best = _End(fit, end, inner=inner, net=net)
            inner = True
            quotes += 1
            self.looks -= 1 + (end - at >> 6 if best.fit > NO else 0)
            if self.looks < 0:
                break
            at = end + 1
        if best.fit > NO:
            self.looks -= len(text) - at >> 6 if found is None else 0
            # `["a, "b", "c"]`: one quote too few, and a string opens behind the last comma.
            if kind is list and quote == '"' and best.inner:
                opened = _LAST_OPENED.search(text, max(start, best.at - 1_000), best.at)
                if opened:
                    end = opened.end(1) if opened[1] else opened.start()
                    end = _trimmed(text, start + 1, end)
                    return _End(WEAK, end, closed=False)
        return best

    def _missed(self, start: int, quote: int, net: int, inner: bool) -> int:
        """Where a string ends whose own quote is missing, if a key opens at a quote, else 0.

        `"a": "x, "b": 1`: the key behind the comma shows it, unless there is JSON inside.
        """
        text = self.text
        key = None if inner and net > 0 else p.STRING.match(text, quote)
        if key is None:
            return 0
        at = self.peek(key.end())
        if not text.startswith((":", "："), at):
            return 0
        if not p.VALUE_START.match(text, self.peek(at + 1)):
            return 0
        if self._known(key[0][1:-1], len(self.stack) - 1) == POOR:
            return 0
        head = text[max(start + 1, quote - 200) : quote]
        if reopened := _REOPENED.search(head):
            return _trimmed(text, start + 1, quote - len(head) + reopened.end(1))
        body = head.rstrip()
        if body.endswith(","):
            body = body.rstrip(", \n")
        elif "\n" not in head[len(body) :]:
            return 0
        return _trimmed(text, start + 1, quote - len(head) + len(body))

    def _torn(self, start: int) -> str:
        """Read a string without an end.

        Closing brackets at the very end of the text are not the string's where they stand on
        lines of their own, or close all that is open in a text that is faulty anyway: without
        either it may be the beginning of valid JSON.
        """
        text = self.text
        inner = p.STRING.match(text, start)
        if inner:
            self.edit("inner", inner.end() - 1)
        fence = p.FENCE_END.search(text, max(start, len(text) - 200))
        end = fence.start() if fence else len(text)
        last = start + len(text[start:end].rstrip("}], \t\r\n"))
        tail = text[last:end]
        closing = [char for char in tail if char in "}]"]
        alone = bool(closing) and "\n" in tail
        if closing and not alone and self.faulty():
            opened = ["}" if isinstance(items, dict) else "]" for items in reversed(self.stack)]
            alone = closing == opened and not tail.strip("}]")
        if last > start and alone:
            self.pos = last + tail.index("\n") if "\n" in tail else last
            self.edit("unclosed")
        else:
            self.pos = len(text)
            self.torn = True
        return self.decoded(start + 1, self.pos, text[start])

    def key_string(self) -> str:
        """Read a key in quotes: it ends at its first quote, as good as always."""
        text, start = self.text, self.pos
        self.torn = False
        if text[start] != '"':
            self.edit("quotes")
        string = p.STRING.match(text, start)
        if string is None:
            lost = p.LOST_COLON.search(text, start + 2, start + 200)
            # Else it may be the beginning of a key in valid JSON.
            faulty = text[start] != '"' or p.CONTROL.search(text, start) or self.faulty()
            if lost and faulty and text[start + 1].isalnum():
                return self._unclosed_key(lost.start())
            self.torn = True
            self.pos = len(text)
            return ""
        end = string.end()
        at = self.peek(end)
        char = text[at : at + 1]
        raw = text[start + 1 : end - 1]
        form = self.form()
        if (char and char in ":：=") or (form is not None and raw in form.known):
            return self._key_until(end)
        # `{"a: "x"`: the quote that opens the value has ended the key.
        lost = p.LOST_QUOTE.search(raw)
        if char and lost and lost.start() and "\n" not in raw[: lost.start()]:
            return self._unclosed_key(start + 1 + lost.start())
        if raw[-1:] == " " and text[end : end + 1].isalpha():
            # `{"a "x"}`: neither its quote nor its colon is there.
            self.edit("unclosed", end - 1)
            self._key_until(end)
            self.pos = end - 1
            return raw.rstrip()
        if char and char not in ",}" and text[start] == '"':
            # An inner quote, if one with a colon behind it follows on the same line.
            more = p.STRING.match(text, end - 1)
            if more is not None and "\n" not in more[0] and len(more[0]) < 200:
                at = self.peek(more.end())
                if text.startswith(":", at) and not p.VALUE_START.match(text, self.peek(end)):
                    self.edit("inner", end - 1)
                    return self._key_until(more.end())
        return self._key_until(end)

    def _key_until(self, end: int) -> str:
        start, self.pos = self.pos, end
        return self.decoded(start + 1, end - 1, self.text[start])

    def _unclosed_key(self, colon: int) -> str:
        start, self.pos = self.pos, colon
        self.edit("unclosed")
        return self.decoded(start + 1, colon, self.text[start])

    def decoded(self, start: int, end: int, quote: str) -> str:
        """The contents between two offsets with their escapes resolved, else unchanged."""
        raw = self.text[start:end]
        if control := p.CONTROL.search(raw):
            self.edit("newline", start + control.start())
        if "\\" not in raw:
            return raw
        if quote == '"' and not self.torn:
            try:
                found: tuple[str, int] = scanstring(self.text, start, False)
            except ValueError:
                pass
            else:
                if found[1] == end + 1:
                    return found[0]
        return self._resolved(raw, start, quote)

    def _resolved(self, raw: str, start: int, quote: str) -> str:
        """The same for contents with faulty escapes, cut ones or quotes inside."""
        others = {escape[5] for escape in p.ESCAPE.finditer(raw)} - {None, "'", "`"}
        # In a pattern whose backslashes are not escaped, \\b is no backspace.
        literal = "bf" if others & _REGEX_ESCAPES else ""
        if others and p.PATH.match(raw) and "\\\\" not in raw[2:]:
            literal = "\\/bfnrtu"

        def resolve(escape: re.Match[str]) -> str:
            known, code, cut, byte, other = escape.groups()
            if cut is not None and self.torn:
                return ""
            if known is not None and known not in literal:
                return _KNOWN[known]
            if code is not None and "u" not in literal:
                return chr(int(code, 16))
            self.edit("escape", start + escape.start())
            if byte is not None and quote == "'":
                return chr(int(byte, 16))
            return _KNOWN[other] if other in ("'", "`") else escape[0]

        plain = p.ESCAPE.sub(resolve, raw)
        plain = _PAIR.sub(_joined, plain)
        return _HIGH_END.sub("", plain) if self.torn else plain


def _joined(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def _trimmed(text: str, start: int, end: int) -> int:
    """The end of contents without the brackets behind them that close what is outside."""
    net = _net(text, start, end)
    at = end
    while net < 0 and (last := len(text[start:at].rstrip())) and text[start + last - 1] in "}]":
        at = start + last - 1
        net += 1
    body = text[start:at]
    shorter = body.rstrip()
    return start + len(shorter) if "\n" in body[len(shorter) :] else at


def _net(text: str, start: int, end: int) -> int:
    """How many more brackets open than close between two offsets."""
    count: Any = text.count
    opened = count("{", start, end) + count("[", start, end)
    return int(opened - count("}", start, end) - count("]", start, end))
