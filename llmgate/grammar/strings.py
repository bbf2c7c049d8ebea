"""GBNF for JSON strings: lengths, formats, fixed values, and keys that are not certain others."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from llmgate.errors import GrammarError
from llmgate.grammar.builder import MOST_REPETITIONS, Builder, json_text, quote
from llmgate.grammar.facts import Facts

# Values from this many on share their beginnings, so that an engine follows few of them at once.
_MANY: Final = 16
_DEEPEST_TRIE: Final = 50
_QUOTING: Final = '"\\'
# Keys are told apart character by character; more than this would make the grammar too long.
_MOST_KEY_CHARACTERS: Final = 600

_YEAR: Final = "[0-9] [0-9] [0-9] [0-9]"
_LEAP: Final = '"0" [48] | [2468] [048] | [13579] [26]'
_DATE: Final = (
    f'{_YEAR} "-" (("0" [13578] | "1" [02]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])'
    ' | ("0" [469] | "11") "-" ("0" [1-9] | [12] [0-9] | "30")'
    ' | "02-" ("0" [1-9] | "1" [0-9] | "2" [0-8]))'
    f' | ([0-9] [0-9] ({_LEAP}) | ("00" | {_LEAP}) "00") "-02-29"'
)
_CLOCK: Final = '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9]'
_TIME: Final = f'{_CLOCK} ":" [0-5] [0-9] ("." [0-9]{{1,9}})? ("Z" | [-+] {_CLOCK})'
_OCTET: Final = '("25" [0-5] | "2" [0-4] [0-9] | "1" [0-9] [0-9] | [1-9]? [0-9])'

# The text between the quotes, and how long it is at least and at most.
_FORMATS: Final[dict[str, tuple[str, int, int]]] = {
    "date": (_DATE, 10, 10),
    "time": (_TIME, 9, 24),
    "date-time": (f'({_DATE}) "T" {_TIME}', 20, 35),
    "uuid": (' "-" '.join(f"[0-9a-fA-F]{{{count}}}" for count in (8, 4, 4, 4, 12)), 36, 36),
    "ipv4": (' "." '.join([_OCTET] * 4), 7, 15),
}


def string(builder: Builder, facts: Facts, hint: str) -> str | None:
    """A rule for the strings that the facts allow; None if there are none."""
    least, most = facts.least.get("Length", 0), facts.most.get("Length")
    if most is not None and most < least:
        return None
    for name in facts.formats:
        known = _FORMATS.get(name)
        if known is None:
            facts.relax("format", f"{name!r} is not enforced")
            continue
        body, shortest, longest = known
        for other in facts.formats:
            if other != name:
                facts.relax("format", f"{other!r} is not enforced beside {name!r}")
        if least > longest or (most is not None and most < shortest):
            return None
        if least > shortest:
            facts.relax("minLength", f"the length of {name!r} is not limited")
        if most is not None and most < longest:
            facts.relax("maxLength", f"the length of {name!r} is not limited")
        return builder.rule(name, f'"\\"" ({body}) "\\""')
    if least > MOST_REPETITIONS:
        facts.relax("minLength", f"enforced up to {MOST_REPETITIONS}")
        least = MOST_REPETITIONS
    if most is not None and most > MOST_REPETITIONS:
        facts.relax("maxLength", f"not enforced above {MOST_REPETITIONS}")
        most = None
    if not least and most is None:
        return builder.use("string")
    if most == 0:
        return quote('""')
    chars = builder.repeat(builder.use("char"), least, most)
    return builder.rule(hint, f'"\\"" {chars} "\\""')


def key(text: str) -> str:
    """An expression for a key with its colon."""
    return _either([quote(f"{form}:") for form in json_text(text)])


def constant(builder: Builder, value: Any) -> str:
    """An expression for one JSON value, in all the ways that json.dumps writes it."""
    if isinstance(value, str):
        return _either([quote(form) for form in json_text(value)])
    if isinstance(value, dict):
        if not value:
            return quote("{}")
        ws, sp = builder.use("ws"), builder.use("sp")
        pairs = [f"{key(str(name))} {sp} {constant(builder, one)}" for name, one in value.items()]
        return f'"{{" {ws} ' + f' "," {ws} '.join(pairs) + f' {ws} "}}"'
    if isinstance(value, list):
        if not value:
            return quote("[]")
        ws = builder.use("ws")
        items = [constant(builder, one) for one in value]
        return f'"[" {ws} ' + f' "," {ws} '.join(items) + f' {ws} "]"'
    if isinstance(value, float) and not math.isfinite(value):
        raise GrammarError(f"{value!r} is no JSON value, so no answer can be equal to it.")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"({quote(json.dumps(value))} | {quote(str(int(value)))})"
    return quote(json.dumps(value))


def enumeration(builder: Builder, values: list[Any], hint: str) -> str:
    """A rule for a choice between fixed values."""
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < _MANY:
        bodies = [constant(builder, value) for value in values]
    else:
        forms = sorted({form for text in texts for form in json_text(text)})
        bodies = [_trie(forms, 0, _DEEPEST_TRIE)]
        bodies += [constant(builder, value) for value in values if not isinstance(value, str)]
    if len(bodies) == 1 and not isinstance(values[0], dict | list):
        return bodies[0]
    return builder.rule(hint, " | ".join(dict.fromkeys(bodies)))


def other_key(builder: Builder, names: list[str]) -> str | None:
    """A rule for keys that are none of `names`; None if that would take too many rules.

    Escapes are only allowed where they can't spell one of the names.
    """
    if not names:
        return builder.use("string")
    lone = any("\ud800" <= char <= "\udfff" for name in names for char in name)
    if lone or sum(map(len, names)) > _MOST_KEY_CHARACTERS:
        return None
    # A trie of the names; each node is a rule for how a key may go on from there.
    nodes: list[dict[str, int]] = [{}]
    complete: set[int] = set()
    for name in names:
        at = 0
        for char in name:
            if char not in nodes[at]:
                nodes[at][char] = len(nodes)
                nodes.append({})
            at = nodes[at][char]
        complete.add(at)
    char = builder.use("char")
    rules: dict[int, str] = {}
    for number in range(len(nodes) - 1, -1, -1):
        node = nodes[number]
        if not node:
            rules[number] = f"{char}+"
            continue
        ways = _diverging(builder, sorted(node))
        ways += [f"{_inside(c)} {rules[below]}" for c, below in node.items()]
        body = " | ".join(ways)
        rules[number] = builder.rule("key", body if number in complete else f"({body})?")
    return builder.rule("other-key", f'"\\"" {rules[0]} "\\""')


def _inside(char: str) -> str:
    """A literal for one character as it stands inside a JSON string."""
    return quote(json.dumps(char, ensure_ascii=False)[1:-1])


def _diverging(builder: Builder, taken: list[str]) -> list[str]:
    """Alternatives for any text that starts with none of the characters in `taken`."""
    digit, rest = builder.use("hex"), builder.rule("chars", f"{builder.use('char')}*")
    # The quote and the backslash never stand for themselves; '-' and brackets would be syntax.
    plain = [c for c in taken if c not in '"\\' and c >= " "]
    inside = "".join(f"\\U{ord(c):08X}" if c in "-[]^" or c > "~" else c for c in plain)
    escapes = [c for c in '"\\/bfnrt' if json.loads(f'"\\{c}"') not in taken]
    ways = [f"[{''.join(chr(92) + c if c in _QUOTING else c for c in escapes)}]"]
    if all(" " <= c <= "~" for c in taken):
        # Escapes of what is not plain ASCII.
        ways.append(f'"u" ("00" [0189a-fA-F] {digit} | "0" [1-9a-fA-F] {digit} {digit})')
        ways.append(f'"u" {builder.use("beyond")}')
    escape = builder.rule("escape", f'"\\\\" ({" | ".join(ways)}) {rest}')
    return [f'[^"\\\\\\x00-\\x1F{inside}] {rest}', escape]


def _trie(words: list[str], start: int, deepest: int) -> str:
    """An expression for sorted, different words, which are equal up to `start`."""
    if not deepest:
        return f"({' | '.join(quote(word[start:]) for word in words)})"
    groups: dict[str, list[str]] = {}
    for word in words:
        groups.setdefault(word[start : start + 1], []).append(word)
    ways = []
    for group in groups.values():
        first, last = group[0], group[-1]
        if len(group) == 1:
            ways.append(quote(first[start:]) if first[start:] else '""')
            continue
        shared = start
        while shared < min(len(first), len(last)) and first[shared] == last[shared]:
            shared += 1
        ways.append(f"{quote(first[start:shared])} {_trie(group, shared, deepest - 1)}")
    return ways[0] if len(ways) == 1 else f"({' | '.join(ways)})"


def _either(forms: list[str]) -> str:
    return forms[0] if len(forms) == 1 else f"({' | '.join(forms)})"
