"""Faults for `benchmarks.repair`: a JSON value written as tokens, and ways to spoil that.

A fault says what it did by changing the tokens, and the expected value where the contents of a
string change with it. It leaves the original recoverable: what it does is undone by one kind of
edit, and where that edit is possible in several places with different outcomes the case is
ambiguous: `repair_readings.py` finds those by trying every place, without any repairer.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator

from benchmarks import repair_readings as readings
from benchmarks import repair_string_faults as strings
from benchmarks.repair_tokens import Doc, Token, index, insert, neighbours

IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
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


# The faults. Each returns whether it could be done.


def trailing_comma(doc: Doc, rng: random.Random) -> bool:
    places = [t for t in doc.of("close") if _before_kind(doc, t) not in ("open", "comma")]
    if not places:
        return False
    insert(doc, index(doc, rng.choice(places)), "stray", rng.choice((",", ", ")))
    return True


def _before_kind(doc: Doc, token: Token) -> str:
    before, _ = neighbours(doc, token)
    return before.kind if before else ""


def missing_comma(doc: Doc, rng: random.Random) -> bool:
    places = []
    for token in doc.of("comma"):
        at = index(doc, token)
        before, after = neighbours(doc, token)
        loose = at + 1 < len(doc.tokens) and doc.tokens[at + 1].kind == "space"
        # Two tokens that would run into each other are none any more.
        apart = before and after and (before.kind == "close" or after.kind == "open")
        if loose or apart:
            places.append(token)
    return bool(places) and _drop(doc, rng.choice(places))


def _drop(doc: Doc, token: Token) -> bool:
    del doc.tokens[index(doc, token)]
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
        before, after = neighbours(doc, token)
        at = index(doc, token)
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


def unquoted_keys(doc: Doc, rng: random.Random) -> bool:
    keys = [
        t
        for t in doc.of("key")
        if IDENTIFIER.fullmatch(t.text[1:-1]) and doc.tokens[index(doc, t) + 1].kind == "colon"
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
    insert(doc, at, "comment", " " + rng.choice(COMMENTS) + " ")
    return True


def missing_end(doc: Doc, rng: random.Random) -> bool:
    """Take closing brackets away at the end; a number may not stand last, it could go on."""
    if doc.tail or doc.tokens[-1].kind != "close" or "restart" in doc.used:
        return False
    doc.used.add("end")
    doc.readings = readings.closed
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
    insert(doc, len(doc.tokens), "extra", rng.choice(("}", "]", "}}", "\n}")))
    return True


def wrong_end(doc: Doc, rng: random.Random) -> bool:
    closers = doc.of("close")
    if not closers:
        return False
    token = rng.choice(closers)
    token.text, token.clean = "]" if token.text == "}" else "}", False
    doc.readings = readings.other_closers
    return True


def lost_end(doc: Doc, rng: random.Random) -> bool:
    """Take a closing bracket away that is not at the end."""
    closers = [t for t in doc.of("close") if (n := neighbours(doc, t)[1]) and n.kind != "close"]
    if not closers:
        return False
    _drop(doc, rng.choice(closers))
    doc.readings = readings.more_closers
    return True


def extra_middle(doc: Doc, rng: random.Random) -> bool:
    """Double a closing bracket that is not at the end."""
    closers = [t for t in doc.of("close") if (n := neighbours(doc, t)[1]) and n.kind != "close"]
    if not closers:
        return False
    token = rng.choice(closers)
    token.text, token.clean = token.text * 2, False
    doc.readings = readings.fewer_closers
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
    doc.readings = readings.unstarted
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


RESTART = "restarted object"
FAULTS: dict[str, Callable[[Doc, random.Random], bool]] = {
    "trailing comma": trailing_comma,
    "missing comma": missing_comma,
    "double comma": double_comma,
    "missing colon": missing_colon,
    "= or => for :": other_colon,
    "single quotes": strings.single_quotes,
    "smart quotes": strings.smart_quotes,
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
    "all escaped": strings.escaped,
    "raw control chars": strings.raw_control,
    "invalid escape": strings.bad_escape,
    "lost quote": strings.lost_quote,
    "inner quotes": strings.inner_quotes,
}

# Alone these are not ambiguous: what comes first, or stands at the end, decides.
BRACKET_READINGS: dict[str, Callable[[str], Iterator[str]]] = {
    "extra end": readings.fewer_closers,
    "missing end": readings.closed,
    "doubled brace": readings.unstarted,
}
BRACKET_FAULTS = {
    "missing end",
    "extra end",
    "wrong closer",
    "missing closer inside",
    "extra closer inside",
}
