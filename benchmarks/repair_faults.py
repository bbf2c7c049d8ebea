"""Faults for `benchmarks.repair`: a JSON value written as tokens, and ways to spoil that.

A fault says what it did by changing the tokens, and the expected value where the contents of a
string change with it. It leaves the original recoverable: what it does is undone by one kind of
edit, and where that edit is possible in several places with different outcomes the case is
ambiguous. `readings` finds those by trying every place, without any repairer.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
CANDIDATES = 400
END_TOKENS = ("<|im_end|>", "</s>", "<|eot_id|>", "<|>", "<|endoftext|>")
BEFORE = (
    "Sure! Here is the JSON you asked for:\n\n",
    "The result is: ",
    "Here's the answer, as requested.\n",
    "<tool_call>\n",
)
AFTER = (
    "\n\nLet me know if you need anything else.",
    "\nI hope this helps!",
    "\n</tool_call>",
    " (that's all)",
)
COMMENTS = (
    "// the user's choice\n",
    "// see note: a, b\n",
    '/* it says "this", and {that} */',
    "/* TODO */",
    "# checked [twice]\n",
)


@dataclass
class Token:
    kind: str  # open close comma colon key string number literal space
    text: str
    path: tuple[Any, ...] = ()
    clean: bool = True


@dataclass
class Doc:
    """A value as tokens, the text around it, and what a reader should make of all that."""

    tokens: list[Token]
    value: Any
    head: str = ""
    tail: str = ""
    used: set[str] = field(default_factory=set)
    # How a case may have been meant otherwise: the text with one edit of the fault's own kind.
    readings: Callable[[str], Iterator[str]] | None = None
    # And as what a text it may be that is just cut.
    cuts: Callable[[str], Iterator[str]] | None = None
    second: bool = False

    @property
    def text(self) -> str:
        return self.head + "".join(token.text for token in self.tokens) + self.tail

    def of(self, *kinds: str) -> list[Token]:
        return [token for token in self.tokens if token.kind in kinds and token.clean]

    def copy(self) -> Doc:
        return copy.deepcopy(self)


def written(value: Any, rng: random.Random) -> Doc:
    """A value as tokens, compact, tight or indented, with or without \\u escapes."""
    indent = rng.choice((None, None, 2))
    tight = rng.random() < 0.25
    ascii_only = rng.random() < 0.5
    gap = "" if tight else " "
    tokens: list[Token] = []

    def add(kind: str, text: str, path: tuple[Any, ...] = ()) -> None:
        if text:
            tokens.append(Token(kind, text, path))

    def line(depth: int, after_comma: bool) -> None:
        if indent is not None:
            add("space", "\n" + " " * indent * depth)
        elif after_comma:
            add("space", gap)

    def write(value: Any, path: tuple[Any, ...]) -> None:
        if isinstance(value, dict | list):
            add("open", "{" if isinstance(value, dict) else "[", path)
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for number, (key, child) in enumerate(items):
                if number:
                    add("comma", ",")
                line(len(path) + 1, bool(number))
                if isinstance(value, dict):
                    add("key", json.dumps(key, ensure_ascii=ascii_only), (*path, key))
                    add("colon", ":")
                    add("space", gap)
                write(child, (*path, key))
            if value:
                line(len(path), False)
            add("close", "}" if isinstance(value, dict) else "]", path)
        elif isinstance(value, str):
            add("string", json.dumps(value, ensure_ascii=ascii_only), path)
        else:
            kind = "literal" if value is None or isinstance(value, bool) else "number"
            add(kind, json.dumps(value), path)

    write(value, ())
    return Doc(tokens, value)


def set_at(doc: Doc, path: tuple[Any, ...], value: Any) -> None:
    if not path:
        doc.value = value
        return
    doc.value = copy.deepcopy(doc.value)
    place = doc.value
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value


def get_at(doc: Doc, path: tuple[Any, ...]) -> Any:
    value = doc.value
    for step in path:
        value = value[step]
    return value


def _neighbours(doc: Doc, token: Token) -> tuple[Token | None, Token | None]:
    at = next(i for i, other in enumerate(doc.tokens) if other is token)
    before = next((t for t in reversed(doc.tokens[:at]) if t.kind != "space"), None)
    after = next((t for t in doc.tokens[at + 1 :] if t.kind != "space"), None)
    return before, after


def _insert(doc: Doc, at: int, kind: str, text: str) -> None:
    doc.tokens.insert(at, Token(kind, text, clean=False))


def _index(doc: Doc, token: Token) -> int:
    return next(i for i, other in enumerate(doc.tokens) if other is token)


# The faults. Each returns whether it could be done.


def trailing_comma(doc: Doc, rng: random.Random) -> bool:
    places = [t for t in doc.of("close") if _before_kind(doc, t) not in ("open", "comma")]
    if not places:
        return False
    _insert(doc, _index(doc, rng.choice(places)), "stray", rng.choice((",", ", ")))
    return True


def _before_kind(doc: Doc, token: Token) -> str:
    before, _ = _neighbours(doc, token)
    return before.kind if before else ""


def missing_comma(doc: Doc, rng: random.Random) -> bool:
    places = []
    for token in doc.of("comma"):
        at = _index(doc, token)
        before, after = _neighbours(doc, token)
        loose = at + 1 < len(doc.tokens) and doc.tokens[at + 1].kind == "space"
        # Two tokens that would run into each other are none any more.
        apart = before and after and (before.kind == "close" or after.kind == "open")
        if loose or apart:
            places.append(token)
    return bool(places) and _drop(doc, rng.choice(places))


def _drop(doc: Doc, token: Token) -> bool:
    del doc.tokens[_index(doc, token)]
    return True


def double_comma(doc: Doc, rng: random.Random) -> bool:
    places = doc.of("comma")
    if not places:
        return False
    token = rng.choice(places)
    token.text, token.clean = rng.choice((",,", ", ,")), False
    return True


def missing_colon(doc: Doc, rng: random.Random) -> bool:
    places = []
    for token in doc.of("colon"):
        before, after = _neighbours(doc, token)
        at = _index(doc, token)
        if before is None or not before.text.endswith(('"', "'", "”")):
            continue  # its key would run into the value
        if doc.tokens[at + 1].kind == "space" or (after and after.kind in ("open", "number")):
            places.append(token)
    return bool(places) and _drop(doc, rng.choice(places))


def other_colon(doc: Doc, rng: random.Random) -> bool:
    places = doc.of("colon")
    if not places:
        return False
    token = rng.choice(places)
    token.text, token.clean = rng.choice((" =", " =>", "::")), False
    return True


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


def unquoted_keys(doc: Doc, rng: random.Random) -> bool:
    keys = [
        t
        for t in doc.of("key")
        if IDENTIFIER.fullmatch(t.text[1:-1]) and doc.tokens[_index(doc, t) + 1].kind == "colon"
    ]
    if not keys:
        return False
    for token in keys if rng.random() < 0.7 else [rng.choice(keys)]:
        token.text, token.clean = token.text[1:-1], False
    return True


def unquoted_value(doc: Doc, rng: random.Random) -> bool:
    words = {"true", "false", "null", "none", "nan", "inf", "infinity", "undefined", "nil"}
    strings = [
        t
        for t in doc.of("string")
        if t.path
        and re.fullmatch(r"[A-Za-z][A-Za-z0-9_ -]*[A-Za-z0-9]", t.text[1:-1])
        and t.text[1:-1].lower() not in words
    ]
    if not strings:
        return False
    token = rng.choice(strings)
    token.text, token.clean = token.text[1:-1], False
    return True


def python_literals(doc: Doc, rng: random.Random) -> bool:
    literals = doc.of("literal")
    for token in literals:
        token.text = {"true": "True", "false": "False", "null": "None"}[token.text]
        token.clean = False
    return bool(literals)


def undefined(doc: Doc, rng: random.Random) -> bool:
    nulls = [t for t in doc.of("literal") if t.text == "null" and t.path]
    if not nulls:
        return False
    token = rng.choice(nulls)
    token.text, token.clean = rng.choice(("undefined", "NaN")), False
    return True


def odd_number(doc: Doc, rng: random.Random) -> bool:
    numbers = [t for t in doc.of("number") if t.path]
    rng.shuffle(numbers)
    for token in numbers:
        plain = token.text
        forms = [] if plain.startswith("-") else ["+" + plain]
        if plain.startswith(("0.", "-0.")) and "e" not in plain:
            forms.append(plain.replace("0.", ".", 1))
        if plain.endswith(".0"):
            forms.append(plain[:-1])
        if plain.isdecimal() and len(plain) > 3:
            forms.append(f"{plain[:-3]}_{plain[-3:]}")
        if plain.isdecimal():
            forms.append(hex(int(plain)))
        if forms:
            token.text, token.clean = rng.choice(forms), False
            return True
    return False


def comment(doc: Doc, rng: random.Random) -> bool:
    if len(doc.tokens) < 2:
        return False
    at = rng.randrange(1, len(doc.tokens))
    _insert(doc, at, "comment", " " + rng.choice(COMMENTS) + " ")
    return True


def missing_end(doc: Doc, rng: random.Random) -> bool:
    """Take closing brackets away at the end; a number may not stand last, it could go on."""
    if doc.tail or doc.tokens[-1].kind != "close" or "restart" in doc.used:
        return False
    doc.used.add("end")
    doc.readings = _closed
    count = 0
    most = rng.choice((1, 1, 2, 3))
    while count < most and doc.tokens and doc.tokens[-1].kind in ("close", "space"):
        at = len(doc.tokens) - 1
        while doc.tokens[at].kind == "space" and at:
            at -= 1
        if doc.tokens[at].kind != "close" or not doc.tokens[at].clean:
            break
        before = doc.tokens[at - 1]
        if before.kind == "number":
            break
        del doc.tokens[at:]
        count += 1
    return count > 0


def extra_end(doc: Doc, rng: random.Random) -> bool:
    if doc.tokens[-1].kind != "close":
        return False
    _insert(doc, len(doc.tokens), "extra", rng.choice(("}", "]", "}}", "\n}")))
    return True


def wrong_end(doc: Doc, rng: random.Random) -> bool:
    closers = doc.of("close")
    if not closers:
        return False
    token = rng.choice(closers)
    token.text, token.clean = "]" if token.text == "}" else "}", False
    doc.readings = _other_closers
    return True


def lost_end(doc: Doc, rng: random.Random) -> bool:
    """Take a closing bracket away that is not at the end."""
    closers = [t for t in doc.of("close") if (n := _neighbours(doc, t)[1]) and n.kind != "close"]
    if not closers:
        return False
    _drop(doc, rng.choice(closers))
    doc.readings = _more_closers
    return True


def extra_middle(doc: Doc, rng: random.Random) -> bool:
    """Double a closing bracket that is not at the end."""
    closers = [t for t in doc.of("close") if (n := _neighbours(doc, t)[1]) and n.kind != "close"]
    if not closers:
        return False
    token = rng.choice(closers)
    token.text, token.clean = token.text * 2, False
    doc.readings = _fewer_closers
    return True


def fence(doc: Doc, rng: random.Random) -> bool:
    if "fence" in doc.used:
        return False
    doc.used.add("fence")
    doc.head = rng.choice(("```json\n", "```\n", "```JSON\n")) + doc.head
    doc.tail += "\n```"
    return True


def prose(doc: Doc, rng: random.Random) -> bool:
    # A bare string or number in prose is nothing that a reader could know for JSON.
    if not any(token.kind == "open" for token in doc.tokens[:1]) or "brace" in doc.used:
        return False
    which = rng.randrange(3)
    if which != 1:
        doc.head = rng.choice(BEFORE) + doc.head
    if which != 0:
        doc.tail += rng.choice(AFTER)
    return True


def end_token(doc: Doc, rng: random.Random) -> bool:
    doc.tail += rng.choice(("", "\n")) + rng.choice(END_TOKENS)
    return True


def doubled_brace(doc: Doc, rng: random.Random) -> bool:
    if doc.tokens[0].text != "{" or doc.head or doc.tokens[0].kind != "open":
        return False
    doc.head = rng.choice(("{ ", "{", "{\n  "))
    return True


def no_brace(doc: Doc, rng: random.Random) -> bool:
    if doc.tokens[0].text != "{" or doc.head or len(doc.tokens) < 3:
        return False
    first = next((t for t in doc.tokens[1:] if t.kind != "space"), None)
    if first is None or first.kind != "key" or not first.clean or not re.match('"[^"]', first.text):
        return False
    del doc.tokens[0]
    doc.used.add("brace")
    return True


def restart(doc: Doc, rng: random.Random) -> bool:
    """A prefix that the model was given, `{"function":`, and the whole object behind it."""
    value = doc.value
    if not isinstance(value, dict) or len(value) < 2 or doc.head or doc.tail:
        return False
    key = next(iter(value))
    # With more than its one brace missing it would just be a text that is cut.
    escaped = any(token.kind == "escaped" for token in doc.tokens)
    if not isinstance(value[key], str) or escaped or doc.used & {"quotes", "end", "brace"}:
        return False
    doc.used.add("restart")
    doc.head = "{" + rng.choice((" ", "\n  ")) + json.dumps(key) + ": "
    doc.readings = _unstarted
    return True


def echo(doc: Doc, rng: random.Random) -> bool:
    """The function's return again, and then the value: it is the second one in the text."""
    if doc.head or not isinstance(doc.value, dict) or "brace" in doc.used:
        return False
    answer = {"status": "OK", "message": "None", "time": "2023-12-01 09:00:02 AM"}
    doc.head = json.dumps(answer) + rng.choice(("\n", " ", "\n\n"))
    doc.second = True
    return True


def two_values(doc: Doc, rng: random.Random) -> bool:
    if doc.tail or not isinstance(doc.value, dict) or "second" in doc.used:
        return False
    doc.used.add("second")
    doc.tail = rng.choice(("", "\n", " ", ", ")) + '{"a second object": true}'
    return True


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
        doc.readings = _fewer_quotes
        return True
    return False


def lost_quote(doc: Doc, rng: random.Random) -> bool:
    """A string without its opening or its closing quote."""
    strings = [
        t
        for t in doc.of("string", "key")
        if t.path and re.fullmatch(r'"[A-Za-z0-9](?:[^"\\\n]*[A-Za-z0-9])?"', t.text)
        if t.kind == "string" or doc.tokens[_index(doc, t) + 1].kind == "colon"
    ]
    if not strings:
        return False
    token = rng.choice(strings)
    token.text = token.text[1:] if rng.random() < 0.5 else token.text[:-1]
    token.clean = False
    doc.readings, doc.cuts = _more_quotes, _cut
    return True


# Other readings of a spoilt text: every single edit of the kind that would mend it.


def _unstarted(text: str) -> Iterator[str]:
    """The text without the prefix that is given twice."""
    yield text[text.index("{", 1) :]


def _other_closers(text: str) -> Iterator[str]:
    for at, char in enumerate(text):
        if char in "]}":
            yield text[:at] + ("}" if char == "]" else "]") + text[at + 1 :]


def _more_closers(text: str) -> Iterator[str]:
    for at in range(1, len(text) + 1):
        if at == len(text) or text[at] in ",]} \n" or text[at - 1] in ']}"':
            yield text[:at] + "}" + text[at:]
            yield text[:at] + "]" + text[at:]


def _fewer_closers(text: str) -> Iterator[str]:
    for at, char in enumerate(text):
        if char in "]}":
            yield text[:at] + text[at + 1 :]


def _more_quotes(text: str) -> Iterator[str]:
    for at in range(1, len(text)):
        yield text[:at] + '"' + text[at:]


def _cut(text: str) -> Iterator[str]:
    """The text as one that is cut in a string or in a key."""
    yield from _closed(text + '"')
    yield from _closed(text + '": 0')


def _closed(text: str) -> Iterator[str]:
    """The text as one that is cut, with what is open closed."""
    closers: list[str] = []
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"?|[{}\[\]]', text):
        if found[0] in "{[":
            closers.append("}" if found[0] == "{" else "]")
        elif found[0] in "]}" and closers:
            closers.pop()
    yield text + "".join(reversed(closers))


def _fewer_quotes(text: str) -> Iterator[str]:
    """One, two or three of the quotes escaped; where the decoder stops says which can help."""
    yield from _escaped_before(text, 3, CANDIDATES)


def _escaped_before(text: str, most: int, tries: int) -> Iterator[str]:
    pending = [(text, 0, 0)]
    for spoilt, done, least in pending:
        try:
            json.loads(spoilt)
        except json.JSONDecodeError as error:
            if done == most or len(pending) > tries:
                continue
            stop = min(error.pos + 1, len(spoilt))
            quotes = [m.end() - 1 for m in re.finditer(r'(?<!\\)"', spoilt[:stop])]
            pending += [
                (spoilt[:at] + "\\" + spoilt[at:], done + 1, at + 2)
                for at in itertools.islice(reversed(quotes), 12)
                if at >= least
            ]
        else:
            yield spoilt


RESTART = "restarted object"
FAULTS: dict[str, Callable[[Doc, random.Random], bool]] = {
    "trailing comma": trailing_comma,
    "missing comma": missing_comma,
    "double comma": double_comma,
    "missing colon": missing_colon,
    "= or => for :": other_colon,
    "single quotes": single_quotes,
    "smart quotes": smart_quotes,
    "unquoted keys": unquoted_keys,
    "unquoted value": unquoted_value,
    "Python literals": python_literals,
    "undefined, NaN": undefined,
    "odd numbers": odd_number,
    "comment": comment,
    "missing end": missing_end,
    "extra end": extra_end,
    "wrong closer": wrong_end,
    "missing closer inside": lost_end,
    "extra closer inside": extra_middle,
    "fence": fence,
    "prose around": prose,
    "end token": end_token,
    "doubled brace": doubled_brace,
    "missing first brace": no_brace,
    RESTART: restart,
    "echoed return": echo,
    "two objects": two_values,
    "all escaped": escaped,
    "raw control chars": raw_control,
    "invalid escape": bad_escape,
    "lost quote": lost_quote,
    "inner quotes": inner_quotes,
}

# Alone these are not ambiguous: what comes first, or stands at the end, decides.
BRACKET_READINGS: dict[str, Callable[[str], Iterator[str]]] = {
    "extra end": _fewer_closers,
    "missing end": _closed,
    "doubled brace": _unstarted,
}
BRACKET_FAULTS = {
    "missing end",
    "extra end",
    "wrong closer",
    "missing closer inside",
    "extra closer inside",
}
