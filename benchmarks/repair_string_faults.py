"""Faults in the strings of a JSON value: how they are quoted, and what stands in them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

from benchmarks import repair_readings as readings
from benchmarks.repair_tokens import Doc, Token, get_at, index, set_at


def _requote(doc: Doc, opener: str, closer: str) -> bool:
    strings = [t for t in doc.tokens if t.kind in ("key", "string")]
    if "quotes" in doc.used or not strings:
        return False
    doc.used.add("quotes")

    def inner(match: re.Match[str]) -> str:
        if match[0] == '\\"':
            return '"'
        return "\\" + match[0] if match[0] == closer else match[0]

    for token in strings:
        if token.text[:1] == '"' and token.text[-1:] == '"':
            body = token.text[1:-1]
            if opener == "'":
                body = re.sub(r"\\.|'", inner, body, flags=re.DOTALL)
            elif closer in body or opener in body:
                return False
            token.text, token.clean = opener + body + closer, False
    return True


def single_quotes(doc: Doc, rng: random.Random) -> bool:
    return _requote(doc, "'", "'")


def smart_quotes(doc: Doc, rng: random.Random) -> bool:
    return _requote(doc, "“", "”")


def escaped(doc: Doc, rng: random.Random) -> bool:
    """The whole text once more escaped, as in a string."""
    body = "".join(token.text for token in doc.tokens)
    if doc.tokens[0].kind != "open" or not any(t.kind in ("key", "string") for t in doc.tokens):
        return False
    if not all(token.clean for token in doc.tokens) or doc.head or doc.tail:
        return False
    if not re.match(r'[{\[]\s*"', body):
        return False
    text = json.dumps(body, ensure_ascii=False)[1:-1]
    doc.tokens = [Token("escaped", text, clean=False)]
    return True


def _spoil(doc: Doc, rng: random.Random, change: Callable[[str], tuple[str, str] | None]) -> bool:
    """Change the contents of a string value: to (raw text, expected value)."""
    strings = [t for t in doc.of("string") if t.text.startswith('"')]
    rng.shuffle(strings)
    for token in strings:
        changed = change(get_at(doc, token.path))
        if changed is not None:
            token.text, token.clean = f'"{changed[0]}"', False
            set_at(doc, token.path, changed[1])
            return True
    return False


def _escape(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def raw_control(doc: Doc, rng: random.Random) -> bool:
    def change(value: str) -> tuple[str, str]:
        at = rng.randrange(len(value) + 1)
        mark = rng.choice(("\n", "\n\n", "\t", "\r\n", "\x0b"))
        return _escape(value[:at]) + mark + _escape(value[at:]), value[:at] + mark + value[at:]

    return _spoil(doc, rng, change)


def bad_escape(doc: Doc, rng: random.Random) -> bool:
    """Backslashes that are not escaped, none of which happens to be a valid escape; or \\'."""

    def change(value: str) -> tuple[str, str] | None:
        if "\\" in value and not re.search(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}|$)', value):
            return _escape(value).replace("\\\\", "\\"), value
        if len(value) < 2 or "\\" in value or '"' in value:
            return None
        at = rng.randrange(1, len(value))
        if rng.random() < 0.5:
            return f"{_escape(value[:at])}\\'{_escape(value[at:])}", f"{value[:at]}'{value[at:]}"
        mark = "\\" + rng.choice("dwsqc%-.(")
        return _escape(value[:at]) + mark + _escape(value[at:]), value[:at] + mark + value[at:]

    return _spoil(doc, rng, change)


def inner_quotes(doc: Doc, rng: random.Random) -> bool:
    """Quotes around a part of a string, not escaped; or those that are in it, not escaped."""

    def change(value: str) -> tuple[str, str] | None:
        if '"' in value:
            raw = _escape(value).replace('\\"', '"')
            return None if "\\" in raw else (raw, value)
        words = [m.span() for m in re.finditer(r"[^\s]+(?: [^\s]+){0,2}", value)]
        if not words:
            return None
        start, end = rng.choice(words)
        if rng.random() < 0.3:  # code and speech, with what looks like structure in it
            mark = rng.choice(('print("a", "b")', '"yes", "no"', 'd["k"]', '{"x": "y"}', '"5"" x'))
            spoilt = f"{value[:end]} {mark}{value[end:]}"
        else:
            spoilt = f'{value[:start]}"{value[start:end]}"{value[end:]}'
        return _escape(spoilt).replace('\\"', '"'), spoilt

    if _spoil(doc, rng, change):
        doc.readings = readings.fewer_quotes
        return True
    return False


def lost_quote(doc: Doc, rng: random.Random) -> bool:
    """A string without its opening or its closing quote."""
    strings = [
        t
        for t in doc.of("string", "key")
        if t.path and re.fullmatch(r'"[A-Za-z0-9](?:[^"\\\n]*[A-Za-z0-9])?"', t.text)
        if t.kind == "string" or doc.tokens[index(doc, t) + 1].kind == "colon"
    ]
    if not strings:
        return False
    token = rng.choice(strings)
    token.text = token.text[1:] if rng.random() < 0.5 else token.text[:-1]
    token.clean = False
    doc.readings, doc.cuts = readings.more_quotes, readings.cut
    return True
