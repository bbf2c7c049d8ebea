"""GBNF for JSON objects: named properties in their order, any of the optional ones, then others."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from llmgate.grammar.builder import MOST_REPETITIONS, Builder
from llmgate.grammar.facts import Facts, Located
from llmgate.grammar.strings import key, other_key

# Compiles the conjunction of some schemas into an expression; None where nothing satisfies it.
Node = Callable[[tuple[Located, ...], str], str | None]

_ANY_KEY: Final = frozenset(("", ".*", "^.*$", "^.*", ".*$", "^", "$", "^.*?$", "(.*)"))


def object_(builder: Builder, facts: Facts, hint: str, node: Node) -> str | None:
    """A rule for the objects that the facts allow; None if there are none."""
    pairs: list[tuple[str, bool]] = []
    ordered = sorted(facts.objects, key=lambda part: part.order)
    names = list(dict.fromkeys(name for part in ordered for name in part.properties))
    names += [name for name in facts.required if name not in names]
    if facts.lead in names:
        names.remove(facts.lead)
    for name in names:
        value = node(_value_of(facts, name), name)
        required = name in facts.required
        if value is not None:
            pairs.append((f"{key(name)} {builder.use('sp')} {value}", required))
        elif required:
            return None
    taken = [*names, facts.lead] if facts.lead is not None else names
    extra = _extra(builder, facts, taken, node)
    counted = _counted(facts, pairs, extra)
    if counted is None:
        return None
    pairs, extra, empty = counted
    if facts.lead is not None:
        if extra is not None and not pairs and not empty:
            facts.relax("minProperties", "properties are not counted")
        if extra is not None and not pairs and "Properties" in facts.most:
            facts.relax("maxProperties", "properties are not counted")
        thoughts = f"{key(facts.lead)} {builder.use('sp')} {builder.use('string')}"
        pairs = [(thoughts, True), *pairs]
    if not pairs:
        return _map(builder, facts, hint, extra)
    more = ""
    if extra is not None:
        rule = builder.rule("more", f'"," {builder.use("ws")} {extra}')
        more = f"{rule}*"
    return builder.rule(hint, _body(builder, hint, pairs, extra, more, empty))


def _value_of(facts: Facts, name: str) -> tuple[Located, ...]:
    """All schemas that the value of the named property must satisfy."""
    out: list[Located] = []
    named = False
    for part in facts.objects:
        matched = [part.properties[name]] if name in part.properties else []
        for pattern, schema in part.patterns.items():
            hit = _search(pattern, name)
            if hit is None:
                facts.relax("patternProperties", f"{pattern!r} can't be read")
            elif hit:
                matched.append(schema)
        named = named or bool(matched)
        if not matched and part.additional is not None:
            matched.append(part.additional)
        out += matched
    if not named:
        out += facts.unevaluated
    return tuple(out) or ((True, facts.path),)


def _search(pattern: str, name: str) -> bool | None:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return None


def _extra(builder: Builder, facts: Facts, names: list[str], node: Node) -> str | None:
    """A rule for a pair with another key; None where there may be none."""
    patterns = {pattern: one for part in facts.objects for pattern, one in part.patterns.items()}
    limits = [part.additional for part in facts.objects if part.additional is not None]
    limits += facts.unevaluated
    closed = any(schema is False for schema, _ in limits)
    if closed or not limits:
        if patterns and all(part.patterns or part.additional is None for part in facts.objects):
            return _patterned(builder, facts, names, patterns, node)
        # Where properties are listed and nothing is said about others, a model should not
        # invent any.
        if closed or any(part.listed for part in facts.objects):
            return None
    elif patterns:
        facts.relax("patternProperties", "keys are not compared with the expressions")
    value = node(tuple(limits) or ((True, facts.path),), "value")
    return _pair(builder, facts, names, value)


def _patterned(
    builder: Builder, facts: Facts, names: list[str], patterns: dict[str, Located], node: Node
) -> str | None:
    if len(patterns) > 1 or not _ANY_KEY.issuperset(patterns):
        facts.relax("patternProperties", "keys are not compared with the expressions")
    values = [node((one,), "value") for one in patterns.values()]
    found = list(dict.fromkeys(value for value in values if value is not None))
    if not found:
        return None
    value = found[0] if len(found) == 1 else builder.rule("value", " | ".join(found))
    return _pair(builder, facts, names, value)


def _pair(builder: Builder, facts: Facts, names: list[str], value: str | None) -> str | None:
    if value is None:
        return None
    name = other_key(builder, names)
    if name is None:
        facts.relax("additionalProperties", "further keys may repeat one of the many named ones")
        name = builder.use("string")
    if name == "string" and value == "value":
        return builder.use("member")
    return builder.rule("pair", f'{name} ":" {builder.use("sp")} {value}')


def _counted(
    facts: Facts, pairs: list[tuple[str, bool]], extra: str | None
) -> tuple[list[tuple[str, bool]], str | None, bool] | None:
    """Apply minProperties and maxProperties: the pairs, the extra one, whether none may be there.

    None if no object has so many properties.
    """
    least, most = facts.least.get("Properties", 0), facts.most.get("Properties")
    needed = sum(required for _, required in pairs)
    if most is not None and (most < needed or most < least):
        return None
    if extra is None and least > len(pairs):
        return None
    if most is not None and pairs and (extra is not None or most < len(pairs)):
        if most == needed:
            return [pair for pair in pairs if pair[1]], None, least == 0
        facts.relax("maxProperties", "properties are not counted")
    if least <= needed or not pairs:
        return pairs, extra, least == 0
    if extra is None and least == len(pairs):
        return [(pair, True) for pair, _ in pairs], None, False
    if least > 1:
        facts.relax("minProperties", "properties are not counted")
    return pairs, extra, False


def _map(builder: Builder, facts: Facts, hint: str, extra: str | None) -> str | None:
    """An object without named properties."""
    least, most = facts.least.get("Properties", 0), facts.most.get("Properties")
    ws = builder.use("ws")
    if extra is None or most == 0:
        return builder.rule(hint, f'"{{" {ws} "}}"')
    if least > 1:
        facts.relax("minProperties", "the same key may come twice")
    if max(least, most or 0) > MOST_REPETITIONS:
        facts.relax("maxProperties", "so many properties are not counted")
        least, most = min(least, MOST_REPETITIONS), None
    if not least and most is None and extra == "member":
        return builder.use("object")
    rule = builder.rule("more", f'"," {ws} {extra}')
    rest = builder.repeat(rule, max(least - 1, 0), None if most is None else most - 1)
    inside = f"{extra} {rest} {ws}"
    return builder.rule(hint, f'"{{" {ws} {inside if least else f"({inside})?"} "}}"')


def _body(
    builder: Builder,
    hint: str,
    pairs: list[tuple[str, bool]],
    extra: str | None,
    more: str,
    empty: bool,
) -> str:
    ws = builder.use("ws")
    first = next((number for number, (_, required) in enumerate(pairs) if required), None)
    if first is not None:
        # What stands before a property that is always there brings its own comma.
        parts = [f'({pair} "," {ws})?' for pair, _ in pairs[:first]]
        parts.append(pairs[first][0])
        for pair, required in pairs[first + 1 :]:
            parts.append(f'"," {ws} {pair}' if required else f'("," {ws} {pair})?')
        if more:
            parts.append(more)
        return f'"{{" {ws} {" ".join(parts)} {ws} "}}"'
    # Nothing is certain to be there: one alternative for each property that may come first,
    # and a chain of rules for what may follow it.
    ways = [f"{extra} {more}"] if extra is not None else []
    tail = more
    for number in range(len(pairs) - 1, -1, -1):
        pair = pairs[number][0]
        ways.insert(0, f"{pair} {tail}".rstrip())
        if number:
            tail = builder.rule(f"{hint}-rest", f'("," {ws} {pair})? {tail}'.rstrip())
    inside = f"({' | '.join(ways)}) {ws}" if len(ways) > 1 else f"{ways[0]} {ws}"
    return f'"{{" {ws} {f"({inside})?" if empty else inside} "}}"'
